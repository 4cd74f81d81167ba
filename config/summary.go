package config

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"swerve/failover"
)

// Summary describes to a person what a good file means: the order of preference,
// the native prefixes, the volume of the probes, and warnings. uplinks are those of
// [Config.Engine], own the addresses of this machine, nil if they are not known;
// found returns what a daemon found on an uplink to need no NAT, and how. The error is
// the writer's.
func (c *Config) Summary(w io.Writer, uplinks []Uplink, own []netip.Addr, found func(Uplink) []string) error {
	var b strings.Builder
	c.writeOrder(&b, uplinks)
	if text := c.rescueText(uplinks); text != "" {
		fmt.Fprintf(&b, "rescue: %s\n", text)
	}
	if len(uplinks) > 0 {
		b.WriteString("native prefixes:\n")
		writeTable(&b, uplinks, func(u Uplink) string { return nativePrefixes(u, found(u)) })
		if translating := translatingOf(uplinks); len(translating) > 0 {
			b.WriteString("prefix translation:\n")
			writeTable(&b, translating, translationText)
		}
		b.WriteString("probe volume per month:\n")
		writeTable(&b, uplinks, volumeText)
	}
	for _, text := range c.Warnings(uplinks, own) {
		fmt.Fprintf(&b, "warning: %s\n", text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Config) writeOrder(b *strings.Builder, uplinks []Uplink) {
	if c.AutoUplinks {
		b.WriteString("uplinks: auto, the interfaces with a default route through which a target answers, in the order of their metrics\n")
	}
	for _, p := range c.Policies {
		tiers, tiers6 := p.tiersOf(uplinks)
		what := "order of preference"
		if p.Name != DefaultPolicy {
			what += " of policy " + p.Name
		}
		if tiers6 != nil {
			fmt.Fprintf(b, "%s in IPv6: %s%s\n", what, orderText(tiers6), p.lastText())
			what += " in IPv4"
		}
		if len(tiers) > 0 {
			fmt.Fprintf(b, "%s: %s%s\n", what, orderText(tiers), p.lastText())
		}
		if text := c.overflowText(p, uplinks); text != "" {
			fmt.Fprintf(b, "overflow of policy %s: %s\n", p.Name, text)
		}
	}
}

// orderText writes tiers as "fiber + cable (3:1), then lte".
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
	t.Flush() // a strings.Builder returns no error
}

// nativePrefixes lists the prefixes whose sources the uplink does not masquerade: those
// of the file, and those that were found.
func nativePrefixes(u Uplink, found []string) string {
	var list []string
	for _, p := range u.Prefix6.Prefixes {
		list = append(list, p.String())
	}
	list = append(list, found...)
	if u.Prefix6.Auto && u.IPv6 {
		list = append(list, "the link's own IPv6 prefix")
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// translatingOf returns the uplinks that translate IPv6 prefixes.
func translatingOf(uplinks []Uplink) []Uplink {
	return slices.DeleteFunc(slices.Clone(uplinks), func(u Uplink) bool { return len(u.NPT) == 0 || !u.IPv6 })
}

func translationText(u Uplink) string {
	list := make([]string, len(u.NPT))
	for i, t := range u.NPT {
		list[i] = t.String()
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
