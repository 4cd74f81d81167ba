package firewall

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// An uplink's own resolvers are asked through it, whichever carries and whatever the
// user's rules say, by the LAN and by the gateway itself: a new flow to one of them has the
// uplink's lane and the default policy's. While the uplink is lost, or does not offer the
// family, what would leave by another one is answered with an error at once, so that the
// asker turns to its next resolver; and what the kernel itself would send there, as the
// uplink's carrier is gone, is dropped. One that is drained after a failback is asked on.

// Names of the maps and the chain for resolvers.
func resolversMap(f failover.Family) string  { return "resolvers_" + f.String() }
func unansweredMap(f failover.Family) string { return "unanswered_" + f.String() }

const (
	askChain        = "ask"
	askOnChain      = "ask_on"
	unaskedChain    = "unasked"
	unansweredChain = "unanswered"
)

// portUnreachable is the error that a socket reports as "connection refused".
var portUnreachable = piece{text: "reject with icmpx type port-unreachable", exprs: []expr.Any{
	&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH},
}}

// hasResolvers reports whether any uplink has resolvers of its own.
func (g Goal) hasResolvers() bool {
	return slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return len(u.DNS) > 0 })
}

// resolverMaps returns the maps of what a verdict changes.
func resolverMaps(b builder) []verdictMap {
	if !b.hasResolvers() {
		return nil
	}
	var out []verdictMap
	for _, f := range failover.Families {
		ask, unanswered := verdictMap{name: resolversMap(f), keys: addressKeys[f]}, verdictMap{name: unansweredMap(f), keys: addressKeys[f]}
		if f == failover.IPv4 {
			ask.about = "The uplinks' own resolvers, for each family, and those that answer with an error as their uplink is lost."
		}
		taken := map[netip.Addr]bool{}
		for _, u := range b.Uplinks {
			for _, a := range u.DNS {
				if a.Is4() != (f == failover.IPv4) || taken[a] {
					continue
				}
				taken[a] = true
				to := of(askChain, u.Lane)
				if slices.Contains(b.Deaf[f], u.Lane) {
					to = unaskedChain
					unanswered.elements = append(unanswered.elements, addressEntry(a, of(unansweredChain, u.Lane)))
				}
				ask.elements = append(ask.elements, addressEntry(a, to))
			}
		}
		out = append(out, ask, unanswered)
	}
	return out
}

func addressEntry(a netip.Addr, chain string) entry {
	return entry{key: string(a.AsSlice()), text: a.String(), chain: chain}
}

// toResolver applies the verdict that a map has for the packet's destination.
func toResolver(a address, name string) piece {
	return piece{text: a.text + " vmap @" + name, exprs: append(slices.Clone(nfproto(a.family).exprs),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length},
		&expr.Lookup{SourceRegister: 1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: name})}
}

// asksResolvers returns the rules that lead new flows to resolvers to their uplink.
func asksResolvers(b builder) []rule {
	if !b.hasResolvers() {
		return nil
	}
	return []rule{
		newRule(toResolver(ipDaddr, resolversMap(failover.IPv4))),
		newRule(toResolver(ip6Daddr, resolversMap(failover.IPv6))),
	}
}

// refusesResolvers returns the rules that answer with an error.
func refusesResolvers(b builder) []rule {
	if !b.hasResolvers() {
		return nil
	}
	return []rule{
		newRule(ctOriginal, toResolver(ipDaddr, unansweredMap(failover.IPv4))),
		newRule(ctOriginal, toResolver(ip6Daddr, unansweredMap(failover.IPv6))),
	}
}

// resolverChains returns the chains that the maps lead to.
func resolverChains(b builder) []chain {
	if !b.hasResolvers() {
		return nil
	}
	out := []chain{{name: unaskedChain, about: "To a resolver of a lost uplink: no other uplink's lane.", rules: []rule{newRule(accept)}}}
	for _, u := range b.Uplinks {
		if len(u.DNS) == 0 {
			continue
		}
		refuse := chain{name: of(unansweredChain, u.Lane)}
		for _, o := range b.Uplinks {
			if o.Interface != "" && o.Lane != u.Lane {
				refuse.rules = append(refuse.rules,
					newRule(leavesBy(o.Interface), tcp, count(guardCounter), resetTCP),
					newRule(leavesBy(o.Interface), count(guardCounter), portUnreachable))
			}
		}
		out = append(out, chain{name: of(askChain, u.Lane), rules: []rule{
			newRule(setCTMark(b.pairMask(), b.Layout.CTPair(u.Lane, lane.DefaultPolicy))).because("resolvers of " + u.Name),
			newRule(goTo(of("lane", u.Lane))),
		}}, refuse, askedOn(u))
	}
	return out
}

// staysAsked reports whether an uplink has resolvers of its own in a family that are asked
// through it although the default policy's flows have to leave it.
func (g Goal) staysAsked(u Uplink, f failover.Family) bool {
	return slices.Contains(g.Drained[f], u.Lane) && len(u.resolvers(f)) > 0
}

// asksOn is the element of such an uplink's flows, of which those to its resolvers stay.
func asksOn(b builder, u Uplink) entry {
	e := markEntry(b.Layout.CTPair(u.Lane, lane.DefaultPolicy), of(askOnChain, u.Lane))
	e.jump = true
	return e
}

// askedOn is the chain for them.
func askedOn(u Uplink) chain {
	c := chain{name: of(askOnChain, u.Lane)}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		if own := u.resolvers(a.family); len(own) > 0 {
			c.rules = append(c.rules, newRule(ctOriginal, a.in(own), jump(of("lane", u.Lane))), newRule(ctOriginal, a.in(own), accept))
		}
	}
	return c
}

// resolvers returns those of a family.
func (u Uplink) resolvers(f failover.Family) []netip.Prefix {
	var own []netip.Prefix
	for _, r := range u.DNS {
		if r.Is4() == (f == failover.IPv4) {
			own = append(own, netip.PrefixFrom(r, r.BitLen()))
		}
	}
	return distinct(own)
}

// resolversElsewhere returns the addresses of a family that are resolvers of other uplinks,
// and not of this one.
func (g Goal) resolversElsewhere(u Uplink, f failover.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range g.Uplinks {
		for _, a := range o.DNS {
			if o.Lane != u.Lane && a.Is4() == (f == failover.IPv4) && !slices.Contains(u.DNS, a) {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return distinct(out)
}

// translatesAskers returns the rules that give the gateway's own questions the uplink's
// address, whatever else it translates: their source was chosen for another uplink.
func translatesAskers(b builder, u Uplink) []rule {
	var out []rule
	for _, a := range []struct{ from, to address }{{ipSaddr, ipDaddr}, {ip6Saddr, ip6Daddr}} {
		own := u.resolvers(a.from.family)
		if others := b.othersAddresses(u, a.from.family); len(own) > 0 && len(others) > 0 {
			out = append(out, newRule(ownPacket, a.from.in(others), a.to.in(own), masquerade))
		}
	}
	return out
}
