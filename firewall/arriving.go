package firewall

import (
	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// mangleLater is directly after other programs' mangle rules: we see their marks,
// and they do not overwrite ours.
const mangleLater = -150 + 5

// arriving returns the chains before routing, in which packets get their lane.
func (b builder) arriving() []chain {
	var out []chain
	for _, u := range b.Uplinks {
		if u.Interface != "" {
			out = append(out, b.came(u), b.in(u))
		}
	}
	if len(out) > 0 {
		out[0].about = "A new flow that comes in by this uplink is always answered by it (policy 127).\n" +
			"Packets to an address that is no longer ours would be forwarded: they are dropped."
	}
	return append(out, b.prerouting(), b.output())
}

func (b builder) in(u Uplink) chain {
	c := chain{name: of("in", u.Lane)}
	if u.MarkArrivals {
		c.rules = append(c.rules, newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(u.Lane))).
			because("for strict reverse path filtering"))
	}
	pair := b.pairMask()
	c.rules = append(c.rules, newRule(ctMark(pair).is(0), goTo(of("came", u.Lane))))
	return c
}

// came is for packets that come in by an uplink and whose flow has no lanes. When
// an uplink's address is removed, so are the entries of its flows, and late
// answers then look like new flows to forward: the kernel would send them back,
// masqueraded as another uplink, since this one no longer has an address. The same
// applies to answers to probes.
func (b builder) came(u Uplink) chain {
	c := chain{name: of("came", u.Lane)}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		if own := ownAddresses(u, a.family); len(own) > 0 {
			c.rules = append(c.rules, newRule(a.in(own), foreignDestination, count(strayCounter), drop))
		}
	}
	lanes := b.Layout.CTPair(u.Lane, lane.Nobody)
	c.rules = append(c.rules, newRule(ctStateNew, setCTMark(b.Layout.CTMask, lanes)))
	return c
}

// prerouting gives forwarded packets their lane.
func (b builder) prerouting() chain {
	c := chain{
		name:  "prerouting",
		about: "Forwarded packets take the lane of their flow; a new flow goes through the rules.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, "prerouting", "mangle + 5", mangleLater),
		rules: []rule{newRule(arrivesVmap(arrivals))},
	}
	c.rules = append(c.rules, b.laneOfFlow()...)
	// Bits that no lane's chain has replaced came with the packet, or from another
	// program that uses our bits. They must not select a table.
	c.rules = append(c.rules, newRule(packetMark(b.Layout.MarkMask).isNot(0), setPacketMark(b.Layout.MarkMask, 0)))
	c.rules = append(c.rules, b.newFlow()...)
	return c
}

// output gives this machine's own packets their lane. Its type, route, makes the
// kernel look up the route again.
func (b builder) output() chain {
	c := chain{
		name:  "output",
		about: "The gateway's own packets. Those of a socket with a mark (WireGuard, tailscale, our probes) keep it.",
		base:  hooked(nftables.ChainTypeRoute, nftables.ChainHookOutput, "output", "mangle + 5", mangleLater),
		rules: append(b.lanesOfProbes(), newRule(anyPacketMark, returns)),
	}
	c.rules = append(c.rules, b.laneOfFlow()...)
	c.rules = append(c.rules, b.newFlow()...)
	return c
}

// laneOfFlow leads to the lane of the flow's uplink or, if that is lost, to that of
// its policy.
func (b builder) laneOfFlow() []rule {
	pair := b.pairMask()
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(nfproto(f), ctMark(pair).vmap(restoreMap(f))))
	}
	return append(out, newRule(ctMark(b.Layout.CTPolicyMask()).vmap(againMap)))
}

// newFlow sends flows without lanes through the user's rules. Answers are excluded:
// those of a flow that came in elsewhere, such as from a VPN, would match too.
func (b builder) newFlow() []rule {
	pair := b.pairMask()
	return []rule{
		newRule(ctMark(pair).isNot(0), returns),
		newRule(ctReply, returns),
		newRule(jump("by_rules")),
	}
}
