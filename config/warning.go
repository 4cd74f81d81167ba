package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"swerve/failover"
	"swerve/target"
)

// Warnings returns what is allowed but probably not intended, in a fixed order. own
// are the addresses of this machine, nil if they are not known.
func (c *Config) Warnings(uplinks []Uplink, own []netip.Addr) []string {
	var list []string
	enabled := slices.DeleteFunc(slices.Clone(uplinks), func(u Uplink) bool { return !u.Enabled })
	switch len(enabled) {
	case 0:
		list = append(list, "there is no uplink now: Swerve only watches until there is one")
	case 1:
		list = append(list, "there is only one uplink: there is nothing to fail over to")
	}
	list = append(list, c.meteredFirst(enabled)...)
	list = append(list, sameGateways(enabled)...)
	list = append(list, grouped(enabled, uplinkWarnings)...)
	list = append(list, grouped(enabled, func(u Uplink) []string { return ownWarnings(u, own) })...)
	list = append(list, c.overflowWarnings(enabled)...)
	list = append(list, c.unbuiltWarnings()...)
	list = append(list, c.idleRules()...)
	for _, p := range c.Policies[1:] {
		if !slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Use == p.Name }) {
			list = append(list, fmt.Sprintf("no rule uses policy %s", p.Name))
		}
	}
	return list
}

// meteredFirst warns about metered uplinks in the first tier of the default policy.
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

// sameGateways warns about uplinks to which the file gives the same gateway: they
// are then usually in one network. Link-local addresses are no sign of that.
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
					"its hosts are reached through only one of the two", uplinks[j].Name, u.Name, g.Addr))
			}
		}
	}
	return list
}

// grouped returns the warnings of all uplinks, each once, with the names of the
// uplinks that it applies to.
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

// uplinkWarnings returns the warnings about one uplink by itself.
func uplinkWarnings(u Uplink) []string {
	var list []string
	for _, f := range u.families() {
		list = append(list, targetWarnings(u, f)...)
	}
	list = append(list, off6Warnings(u)...)
	list = append(list, exceptWarnings(u)...)
	list = append(list, paceWarnings(u)...)
	p, h := u.Probe, u.Health
	if p.LostAfter < slowPath {
		list = append(list, fmt.Sprintf("a path slower than lost_after %s counts as dead", FormatDuration(p.LostAfter)))
	}
	if !h.Latency.Never && h.Latency.Degraded >= p.LostAfter.Seconds() {
		list = append(list, fmt.Sprintf("latency over %s is never seen: a probe is lost after %s",
			times.show(h.Latency.Degraded), FormatDuration(p.LostAfter)))
	}
	if h.Patience < longStall {
		list = append(list, fmt.Sprintf("patience %s is shorter than the stalls of many links: sessions are moved needlessly",
			FormatDuration(h.Patience)))
	}
	return list
}

// off6Warnings returns the warning about keys for IPv6 that others leave without effect.
func off6Warnings(u Uplink) []string {
	var keys []string
	if u.Gateway6 != (Gateway{}) {
		keys = append(keys, "gateway6")
	}
	if u.Route[failover.IPv6] != (failover.Override{}) {
		keys = append(keys, "route6")
	}
	if len(u.NPT) > 0 {
		keys = append(keys, "npt")
	}
	if slices.ContainsFunc(u.DNS, netip.Addr.Is6) {
		keys = append(keys, "dns")
	}
	if len(u.Prefix6.Prefixes) > 0 {
		keys = append(keys, "prefix6")
	}
	switch {
	case u.IPv6 && u.SNAT6 == Masquerade && len(u.Prefix6.Prefixes) > 0:
		return []string{"prefix6 says which sources are not masqueraded, but snat6: masquerade masquerades all"}
	case u.IPv6 || keys == nil:
		return nil
	}
	return []string{and(keys) + " without effect, since ipv6: false turns IPv6 off"}
}

// exceptWarnings returns the warnings about exceptions that leave nothing to masquerade.
func exceptWarnings(u Uplink) []string {
	wide := func(p netip.Prefix) bool { return p.Bits() <= 1 }
	if u.SNAT == NoSNAT || !slices.ContainsFunc(u.SNATExcept, wide) {
		return nil
	}
	return []string{"snat_except covers half of all IPv4 addresses or more, as sources and as destinations: what it covers leaves with " +
		"the LAN's addresses, which a provider drops; snat: none says so for all"}
}

const (
	// mostOutstanding is how many probes of a target may wait for an answer on a dead
	// line before that is a warning.
	mostOutstanding = 100
	// leastSamples of widestWindow are needed for figures to be known.
	leastSamples = 30
	widestWindow = 10 * time.Minute
)

// paceWarnings returns the warnings about how often an uplink is probed.
func paceWarnings(u Uplink) []string {
	var list []string
	p, h := u.Probe, u.Health
	if n := p.LostAfter / p.Interval; n > mostOutstanding {
		list = append(list, fmt.Sprintf("lost_after %s is %d times the interval %s: so many probes of each target wait for an answer while the line is dead",
			FormatDuration(p.LostAfter), n, FormatDuration(p.Interval)))
	}
	if h.Loss.Never && h.Latency.Never && h.Jitter.Never {
		return list
	}
	for _, f := range u.families() {
		if n := len(u.TargetsIn(f)); n > 0 && time.Duration(n)*widestWindow/p.Interval < leastSamples {
			return append(list, fmt.Sprintf("with an interval of %s loss, latency and jitter are never known, so nothing is degraded by them: they take %d probes in %s",
				FormatDuration(p.Interval), leastSamples, FormatDuration(widestWindow)))
		}
	}
	return list
}

// idleRules warns about rules that match all traffic and send it where it goes anyway.
func (c *Config) idleRules() []string {
	var list []string
	for i, r := range c.Rules {
		m := r.Match
		all := len(m.From)+len(m.To)+len(m.In)+len(m.Ports) == 0 && r.Set == "" && m.Proto == 0 && !m.HasDSCP && m.Mark.Mask == 0
		if all && r.Use == DefaultPolicy {
			list = append(list, fmt.Sprintf("rules[%d] matches all traffic, and what no rule matches goes by %s as well: it has no effect", i, DefaultPolicy))
		}
	}
	return list
}

// ownWarnings returns the warnings about targets and gateways that are addresses of
// this machine.
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

// NetworksWithout returns the networks of an interface's addresses if a gateway is in
// none of them. Where it may be outside by intent it returns nothing: for a
// link-local gateway, one of another family than the addresses, and beside an address
// that is a network of its own, as of providers that route single addresses.
func NetworksWithout(gateway netip.Addr, addresses []netip.Prefix) []string {
	if !gateway.IsValid() || gateway.IsLinkLocalUnicast() {
		return nil
	}
	var list []string
	for _, p := range addresses {
		if p.Addr().Is4() != gateway.Is4() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Contains(gateway) || p.IsSingleIP() {
			return nil
		}
		list = append(list, p.Masked().String())
	}
	return list
}

// OutsideWarnings warns about gateways of the file that are in no network of their
// uplink's interface; addresses returns the interface's, none where it is not there.
func OutsideWarnings(uplinks []Uplink, addresses func(Uplink) []netip.Prefix) []string {
	var list []string
	for _, u := range uplinks {
		if !u.Enabled {
			continue
		}
		for _, g := range []struct {
			key     string
			gateway Gateway
		}{{"gateway", u.Gateway}, {"gateway6", u.Gateway6}} {
			if networks := NetworksWithout(g.gateway.Addr, addresses(u)); len(networks) > 0 {
				list = append(list, fmt.Sprintf("uplink %s: %s %s is in none of the networks of %s (%s): it may never answer there",
					u.Name, g.key, g.gateway, u.Interface, strings.Join(networks, ", ")))
			}
		}
	}
	return list
}

// reserved are the addresses of RFC 1112, 4.
var reserved = netip.MustParsePrefix("240.0.0.0/4")

const (
	// slowPath is the round trip time of a satellite link, or of a cellular one under
	// poor conditions.
	slowPath = 700 * time.Millisecond
	// longStall is the stall of an LTE handover, with some margin.
	longStall = 200 * time.Millisecond
)

// targetWarnings returns the warnings about an uplink's targets in one family.
func targetWarnings(u Uplink, f failover.Family) []string {
	n := len(u.TargetsIn(f))
	switch {
	case n == 0:
		return []string{fmt.Sprintf("no %s target: only carrier and gateway are checked there", familyName(f))}
	case slices.ContainsFunc(u.TargetsIn(f), func(t target.Target) bool { return reserved.Contains(t.Addr) }):
		return []string{"a target is in 240.0.0.0/4, which is reserved: no host of the internet has such an address"}
	case n == 1 && u.TargetsIn(f)[0].Method == target.Gateway:
		return []string{fmt.Sprintf("only the gateway is asked in %s: an outage beyond it is not seen", familyName(f))}
	case n == 1:
		return []string{fmt.Sprintf("only one %s target: when it fails, the uplink looks dead", familyName(f))}
	case u.Probe.Quorum >= n:
		return []string{fmt.Sprintf("the quorum needs all %d %s targets: when one fails, the uplink looks dead", n, familyName(f))}
	}
	return nil
}
