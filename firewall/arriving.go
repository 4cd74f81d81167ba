package firewall

import (
	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// mangleLater is right after other programs' mangle rules: what they mark is
// seen, and what we mark is not overwritten.
const mangleLater = -150 + 5

// arriving are the chains before routing, where a packet gets its lane.
func (b builder) arriving() []chain {
	var out []chain
	for _, u := range b.Uplinks {
		if u.Interface != "" {
			out = append(out, b.came(u), b.in(u))
		}
	}
	if len(out) > 0 {
		out[0].about = "A new flow that came in by this uplink is answered by it, for ever (policy 127).\n" +
			"What still comes for an address of ours that is gone would be forwarded: it is not."
	}
	return append(out, b.prerouting(), b.output())
}

func (b builder) in(u Uplink) chain {
	c := chain{name: of("in", u.Lane)}
	if u.MarkArrivals {
		c.rules = append(c.rules, newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(u.Lane))).
			because("for strict reverse path filtering"))
	}
	pair := b.Layout.CTUplinkMask() | b.Layout.CTPolicyMask()
	c.rules = append(c.rules, newRule(ctMark(pair).is(0), goTo(of("came", u.Lane))))
	return c
}

// came is for packets by an uplink whose flow has no lanes. When an uplink's
// address goes, so do the entries of its flows, and their late answers look like
// new flows that are to be forwarded: the kernel would send them back, masqueraded
// as another uplink, since this one has no address any more. Probes' answers
// likewise.
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
		about: "Forwarded packets: the lane of their flow; a new flow goes by the rules.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, "prerouting", "mangle + 5", mangleLater),
		rules: []rule{newRule(arrivesVmap(arrivals))},
	}
	c.rules = append(c.rules, b.laneOfFlow()...)
	// What a lane's chain did not replace came with the packet, or from another
	// program that uses our bits. It must not choose a table.
	c.rules = append(c.rules, newRule(packetMark(b.Layout.MarkMask).isNot(0), setPacketMark(b.Layout.MarkMask, 0)))
	c.rules = append(c.rules, b.newFlow()...)
	return c
}

// output gives this machine's own packets their lane. As a chain of type route
// it makes the kernel look up the route again.
func (b builder) output() chain {
	c := chain{
		name:  "output",
		about: "The gateway's own packets. A socket with a mark of its own (WireGuard, tailscale, our probes) keeps it.",
		base:  hooked(nftables.ChainTypeRoute, nftables.ChainHookOutput, "output", "mangle + 5", mangleLater),
		rules: []rule{newRule(anyPacketMark, returns)},
	}
	c.rules = append(c.rules, b.laneOfFlow()...)
	c.rules = append(c.rules, b.newFlow()...)
	return c
}

// laneOfFlow ends in the lane of the flow's uplink or, where that one is lost,
// of its policy.
func (b builder) laneOfFlow() []rule {
	pair := b.Layout.CTUplinkMask() | b.Layout.CTPolicyMask()
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(nfproto(f), ctMark(pair).vmap(restoreMap(f))))
	}
	return append(out, newRule(ctMark(b.Layout.CTPolicyMask()).vmap(againMap)))
}

// newFlow sends flows without lanes through the user's rules. Answers are left
// out: those of a flow that came in elsewhere, from a VPN, match them as well.
func (b builder) newFlow() []rule {
	pair := b.Layout.CTUplinkMask() | b.Layout.CTPolicyMask()
	return []rule{
		newRule(ctMark(pair).isNot(0), returns),
		newRule(ctReply, returns),
		newRule(jump("by_rules")),
	}
}
