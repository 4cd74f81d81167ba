package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// PrefixPair maps IPv6 sources inside one prefix to another of the same length, bit by
// bit, and destinations back.
type PrefixPair struct{ Inside, Outside netip.Prefix }

// isValid reports whether the kernel can apply it.
func (t PrefixPair) isValid() bool {
	return t.Inside.IsValid() && t.Outside.IsValid() && t.Inside.Addr().Is6() && t.Outside.Addr().Is6() &&
		t.Inside.Bits() == t.Outside.Bits() && !t.Inside.Overlaps(t.Outside)
}

// sortedTranslations returns those that can be applied, sorted, without later ones of
// prefixes that overlap with an earlier one's.
func sortedTranslations(in []PrefixPair) []PrefixPair {
	var out []PrefixPair
	for _, t := range in {
		clashes := func(o PrefixPair) bool { return o.Inside.Overlaps(t.Inside) || o.Outside.Overlaps(t.Outside) }
		if t.isValid() && !slices.ContainsFunc(out, clashes) {
			out = append(out, PrefixPair{t.Inside.Masked(), t.Outside.Masked()})
		}
	}
	slices.SortFunc(out, func(a, b PrefixPair) int { return a.Inside.Compare(b.Inside) })
	return out
}

// insides returns the prefixes that the uplink translates.
func (u Uplink) insides() []netip.Prefix {
	var out []netip.Prefix
	for _, t := range u.NPT {
		out = append(out, t.Inside)
	}
	return distinct(out)
}

// outward returns the rules that translate sources. A flow keeps its translation for as
// long as it lasts, as with static source NAT.
func (u Uplink) outward() []rule {
	var out []rule
	for _, t := range u.NPT {
		out = append(out, newRule(ip6Saddr.in([]netip.Prefix{t.Inside}), prefixTo(expr.NATTypeSourceNAT, t.Outside)))
	}
	return out
}

// inward returns the chains that translate destinations of what comes in, far after those
// of other programs, so that a user's port forwards take precedence. Addresses of this
// machine are left alone.
func inward(b builder) []chain {
	var out []chain
	dispatch := chain{
		name:  "dstnat",
		about: "Prefix translation of what comes in.",
		base:  hooked(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, "prerouting", "dstnat + 1000", -100+1000),
	}
	for _, u := range b.Uplinks {
		if u.Interface == "" || len(u.NPT) == 0 {
			continue
		}
		c := chain{name: of("npt", u.Lane)}
		for _, t := range u.NPT {
			c.rules = append(c.rules, newRule(ip6Daddr.in([]netip.Prefix{t.Outside}), foreignDestination, prefixTo(expr.NATTypeDestNAT, t.Inside)))
		}
		out = append(out, c)
		for _, device := range []string{u.Interface, u.Former} {
			if device != "" {
				dispatch.rules = append(dispatch.rules, newRule(arrivesBy(device), goTo(c.name)).because("uplink "+u.Name))
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return append(out, dispatch)
}

// netmapped returns an address with the prefix in which a range's first and last one agree.
func netmapped(a, first netip.Addr, last []byte) netip.Addr {
	from, to := a.As16(), first.As16()
	for i := range to {
		host := to[i] ^ last[i]
		to[i] = to[i]&^host | from[i]&host
	}
	return netip.AddrFrom16(to)
}

// prefixTo replaces the prefix of an address, and leaves the bits after it
// (NF_NAT_RANGE_NETMAP).
func prefixTo(kind expr.NATType, to netip.Prefix) piece {
	word := map[expr.NATType]string{expr.NATTypeSourceNAT: "snat", expr.NATTypeDestNAT: "dnat"}[kind]
	return piece{text: fmt.Sprintf("%s ip6 prefix to %s", word, to), exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: lastAddr(to).AsSlice()},
		&expr.NAT{Type: kind, Family: unix.NFPROTO_IPV6, RegAddrMin: 1, RegAddrMax: 2, Prefix: true},
	}}
}
