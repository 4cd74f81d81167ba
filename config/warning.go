package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"swerve/failover"
)

// Warnings tells what is allowed and yet probably not meant, in a fixed order. own
// are the addresses of this machine, nil where they are not known.
func (c *Config) Warnings(uplinks []Uplink, own []netip.Addr) []string {
	var list []string
	enabled := slices.DeleteFunc(slices.Clone(uplinks), func(u Uplink) bool { return !u.Enabled })
	switch len(enabled) {
	case 0:
		list = append(list, "there is no uplink now: it watches and does nothing until there is one")
	case 1:
		list = append(list, "there is one uplink only: nothing to fail over to")
	}
	list = append(list, c.meteredFirst(enabled)...)
	list = append(list, sameGateways(enabled)...)
	list = append(list, grouped(enabled, uplinkWarnings)...)
	list = append(list, grouped(enabled, func(u Uplink) []string { return ownWarnings(u, own) })...)
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

// sameGateways warns of uplinks that the file gives one gateway: they are then in
// one network, as a rule. Link-local addresses say nothing of that.
func sameGateways(uplinks []Uplink) []string {
	var list []string
	for i, u := range uplinks {
		for _, g := range []Gateway{u.Gateway, u.Gateway6} {
			if !g.Addr.IsValid() || g.Addr.IsLinkLocalUnicast() {
				continue
			}
			has := func(o Uplink) bool { return o.Gateway.Addr == g.Addr || o.Gateway6.Addr == g.Addr }
			if j := slices.IndexFunc(uplinks, has); j < i {
				list = append(list, fmt.Sprintf("uplinks %s and %s have the same gateway %s: if they are in one network, "+
					"its hosts are reached by one of the two alone", uplinks[j].Name, u.Name, g.Addr))
			}
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
	if methods := unasked(u); len(methods) > 0 {
		list = append(list, fmt.Sprintf("%s targets are not asked by this version", and(methods)))
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

// ownWarnings are those about what the uplink names and this machine is itself.
func ownWarnings(u Uplink, own []netip.Addr) []string {
	var list []string
	for _, t := range u.Probe.Targets {
		if slices.Contains(own, t.Addr) {
			list = append(list, fmt.Sprintf("target %s is an address of this machine: it would always answer, so it is left out", t))
		}
	}
	for _, g := range []Gateway{u.Gateway, u.Gateway6} {
		if slices.Contains(own, g.Addr) {
			list = append(list, fmt.Sprintf("gateway %s is an address of this machine, so it is not used", g.Addr))
		}
	}
	return list
}

// unasked are the methods of an uplink's targets that this version understands
// and does not probe by.
func unasked(u Uplink) []string {
	var list []string
	for _, t := range u.Probe.Targets {
		if !t.Method.Built() && !slices.Contains(list, string(t.Method)) {
			list = append(list, string(t.Method))
		}
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
