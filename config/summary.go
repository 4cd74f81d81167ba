package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"swerve/failover"
)

// Summary tells a person what a good file means: the order of preference, the
// native IPv6 prefixes, the volume of the probes, and warnings. uplinks are
// those of [Config.Engine]. The error is the writer's.
func (c *Config) Summary(w io.Writer, uplinks []Uplink) error {
	var b strings.Builder
	c.writeOrder(&b, uplinks)
	if len(uplinks) > 0 {
		b.WriteString("native IPv6 prefixes:\n")
		writeTable(&b, uplinks, nativePrefixes)
		b.WriteString("probe volume a month:\n")
		writeTable(&b, uplinks, volumeText)
	}
	for _, text := range c.Warnings(uplinks) {
		fmt.Fprintf(&b, "warning: %s\n", text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Config) writeOrder(b *strings.Builder, uplinks []Uplink) {
	if c.AutoUplinks {
		b.WriteString("uplinks: auto, every interface that holds a default route, in the order of their metrics\n")
	}
	for _, p := range c.Policies {
		tiers := p.Tiers
		if len(tiers) == 0 {
			tiers = eachAlone(uplinks)
		}
		what := "order of preference"
		if p.Name != DefaultPolicy {
			what += " of policy " + p.Name
		}
		if len(tiers) > 0 {
			fmt.Fprintf(b, "%s: %s%s\n", what, orderText(tiers), p.lastText())
		}
	}
}

// orderText is "fiber + cable (3:1), then lte".
func orderText(tiers [][]failover.Share) string {
	list := make([]string, len(tiers))
	for i, tier := range tiers {
		var names, weights []string
		for _, s := range tier {
			names, weights = append(names, s.Uplink), append(weights, fmt.Sprint(s.Weight))
		}
		list[i] = strings.Join(names, " + ")
		if len(tier) > 1 {
			list[i] += " (" + strings.Join(weights, ":") + ")"
		}
	}
	return strings.Join(list, ", then ")
}

func (p Policy) lastText() string {
	switch {
	case p.Block:
		return ", then blocked"
	case p.Name != DefaultPolicy:
		return ", then the default policy's"
	}
	return ""
}

func writeTable(b *strings.Builder, uplinks []Uplink, text func(Uplink) string) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, u := range uplinks {
		fmt.Fprintf(t, "  %s\t%s\n", u.Name, text(u))
	}
	t.Flush() // a strings.Builder takes all
}

func nativePrefixes(u Uplink) string {
	switch {
	case !u.IPv6:
		return "no IPv6"
	case u.Prefix6.Auto:
		return "found out (auto)"
	case len(u.Prefix6.Prefixes) == 0:
		return "none"
	}
	list := make([]string, len(u.Prefix6.Prefixes))
	for i, p := range u.Prefix6.Prefixes {
		list[i] = p.String()
	}
	return strings.Join(list, ", ")
}

func volumeText(u Uplink) string {
	const MB = 1e6
	busy := u.ProbeVolume(u.Probe.Interval) / MB
	if !u.IsMetered() {
		return fmt.Sprintf("%.0f MB", busy)
	}
	idle := u.ProbeVolume(u.Probe.StandbyInterval) / MB
	return fmt.Sprintf("%.0f MB while it carries nothing (metered), %.0f MB if it carried traffic all month", idle, busy)
}

// Warnings tells what is allowed and yet probably not meant, in a fixed order.
func (c *Config) Warnings(uplinks []Uplink) []string {
	var list []string
	switch len(uplinks) {
	case 0:
		list = append(list, "there is no uplink now: it watches and does nothing until there is one")
	case 1:
		list = append(list, "there is one uplink only: nothing to fail over to")
	}
	list = append(list, c.meteredFirst(uplinks)...)
	list = append(list, grouped(uplinks, uplinkWarnings)...)
	for _, p := range c.Policies[1:] {
		if !slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Use == p.Name }) {
			list = append(list, fmt.Sprintf("no rule uses policy %s", p.Name))
		}
	}
	return list
}

// meteredFirst warns of metered uplinks in the first tier of the default policy.
func (c *Config) meteredFirst(uplinks []Uplink) []string {
	tiers := c.Policies[0].Tiers
	if len(tiers) == 0 {
		tiers = eachAlone(uplinks)
	}
	var list []string
	for _, u := range uplinks {
		isShare := func(s failover.Share) bool { return s.Uplink == u.Name }
		if u.IsMetered() && slices.ContainsFunc(tiers[0], isShare) {
			list = append(list, fmt.Sprintf("uplink %s is metered and comes first: it carries all traffic while it is up", u.Name))
		}
	}
	return list
}

// grouped asks for each uplink's warnings and tells each once, with the names of
// all the uplinks that it holds for.
func grouped(uplinks []Uplink, warnings func(Uplink) []string) []string {
	var texts []string
	names := map[string][]string{}
	for _, u := range uplinks {
		for _, text := range warnings(u) {
			if names[text] == nil {
				texts = append(texts, text)
			}
			names[text] = append(names[text], u.Name)
		}
	}
	for i, text := range texts {
		word := "uplink "
		if len(names[text]) > 1 {
			word = "uplinks "
		}
		texts[i] = word + and(names[text]) + ": " + text
	}
	return texts
}

// uplinkWarnings are those of one uplink by itself.
func uplinkWarnings(u Uplink) []string {
	var list []string
	for _, f := range u.families() {
		list = append(list, targetWarnings(u, f)...)
	}
	p, h := u.Probe, u.Health
	if p.LostAfter < slowPath {
		list = append(list, fmt.Sprintf("a path slower than lost_after %s counts as dead", FormatDuration(p.LostAfter)))
	}
	if !h.Latency.Never && h.Latency.Degraded >= p.LostAfter.Seconds() {
		list = append(list, fmt.Sprintf("latency over %s is never seen: a probe is lost after %s",
			times.show(h.Latency.Degraded), FormatDuration(p.LostAfter)))
	}
	if h.Patience < longStall {
		list = append(list, fmt.Sprintf("patience %s is shorter than the stalls of many links: sessions move for nothing",
			FormatDuration(h.Patience)))
	}
	return list
}

const (
	// slowPath is the RTT of a satellite or of a cellular link on a bad day.
	slowPath = 700 * time.Millisecond
	// longStall is an LTE handover's with some room.
	longStall = 200 * time.Millisecond
)

// targetWarnings are those about an uplink's targets in one family.
func targetWarnings(u Uplink, f failover.Family) []string {
	n := len(u.TargetsIn(f))
	switch {
	case n == 0:
		return []string{fmt.Sprintf("no %s target: carrier and gateway alone are judged there", familyName(f))}
	case n == 1:
		return []string{fmt.Sprintf("one %s target only: when it fails, the uplink looks dead", familyName(f))}
	case u.Probe.Quorum >= n:
		return []string{fmt.Sprintf("the quorum needs all %d %s targets: when one fails, the uplink looks dead", n, familyName(f))}
	}
	return nil
}
