package firewall

import (
	"slices"

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
		out = append(out, b.inner())
	}
	return append(out, b.prerouting(), b.output())
}

func (b builder) in(u Uplink) chain {
	c := chain{name: of("in", u.Lane)}
	if u.MarkArrivals {
		match := []piece{nfproto(failover.IPv4)}
		for _, m := range b.Exempt {
			match = append(match, packetMark(m.Mask).isNot(m.Value))
		}
		c.rules = append(c.rules, newRule(append(match, setPacketMark(b.Layout.MarkMask, b.Layout.Mark(u.Lane)))...).
			because("for strict reverse path filtering"))
		if clampsAny(u) { // with that mark it passes the forward chain
			c.rules = append(c.rules, newRule(ctMark(b.Layout.CTEstablished()).is(0), tcp, beginning, jump(of(clampChain, u.Lane))))
		}
	}
	c.rules = append(c.rules,
		newRule(ctReply, ctMark(b.Layout.CTUplinkMask()).is(b.Layout.Mark(u.Lane)), accept),
		newRule(ctMark(b.pairMask()).is(b.Layout.CTPair(u.Lane, lane.Nobody)), accept),
		newRule(goTo(of("came", u.Lane))))
	return c
}

// inner gives packets their lane that come in by an uplink without belonging to it:
// what IPsec has decrypted bears the uplink's device, and is the LAN's traffic; and
// the answers of a host behind this uplink to a flow that came in by another one
// leave by that one.
func (b builder) inner() chain {
	return chain{name: "inner", about: "Came in by an uplink's device and is not its traffic.", rules: b.laneOrRules()}
}

// came is for packets that come in by an uplink and do not yet belong to it. When
// an uplink's address is removed, so are the entries of its flows, and late
// answers then look like new flows to forward: the kernel would send them back,
// masqueraded as another uplink, since this one no longer has an address. The same
// applies to answers to probes.
func (b builder) came(u Uplink) chain {
	c := chain{name: of("came", u.Lane), rules: []rule{
		newRule(decrypted, goTo("inner")).because("by IPsec"),
		newRule(ctReply, ctMark(b.Layout.CTPolicyMask()).is(b.Layout.CTPair(0, lane.Nobody)), goTo("inner")).
			because("an answer to another uplink"),
	}}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		if own := ownAddresses(u, a.family); len(own) > 0 {
			c.rules = append(c.rules, newRule(a.in(own), foreignDestination, count(strayCounter), drop))
		}
	}
	c.rules = append(c.rules, newRule(ctReply, ctStateEstablished, ctMark(b.Layout.CTPolicyMask()).isNot(0), ctMark(b.Layout.CTUplinkMask()).vmap(returnedMap)).
		because("an answer to another uplink's flow"))
	lanes := b.Layout.CTPair(u.Lane, lane.Nobody)
	c.rules = append(c.rules,
		newRule(ctStateNew, arrivesLapsed, tcp, midFlow, drop).because("until its client has sent"),
		newRule(ctStateNew, ctMark(b.pairMask()).is(0), setCTMark(b.Layout.CTMask, lanes)))
	// A flow that a helper expects, such as FTP's data, begins with its master's mark.
	// Errors by ICMP are related as well, and belong to the flow that they are about.
	for _, p := range []piece{tcp, udp} {
		c.rules = append(c.rules, newRule(ctStateRelated, p, setCTMark(b.Layout.CTMask, lanes)))
	}
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
	c.rules = slices.Concat(c.rules, b.laneOrRules(), spreadDefault(b))
	return c
}

func (b builder) laneOrRules() []rule {
	rules := b.laneOfFlow()
	for _, m := range b.Kept {
		rules = append(rules, newRule(ctMark(b.pairMask()).is(0), packetMark(m.Mask).is(m.Value), returns).
			because("a rule of another program"))
	}
	// Bits that no lane's chain has replaced came with the packet, or from another
	// program that uses our bits. They must not select a table.
	rules = append(rules, newRule(packetMark(b.Layout.MarkMask).isNot(0), setPacketMark(b.Layout.MarkMask, 0)))
	return append(rules, b.newFlow()...)
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
	// Before the lookup with the flow's lane, which would fail without an answer.
	c.rules = slices.Concat(c.rules, refusals(b, "no way"), b.laneOfFlow(), b.newFlow())
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
// those of a flow that came in elsewhere, such as from a VPN, would match too. What is
// established without lanes, such as between two networks of the LAN, has met the rules.
func (b builder) newFlow() []rule {
	pair := b.pairMask()
	return append([]rule{
		newRule(ctMark(pair).isNot(0), returns),
		newRule(ctReply, returns),
		newRule(ctStateEstablished, returns),
	}, slices.Concat(asksResolvers(b), []rule{newRule(jump(rulesChain))}, leaveRules(b))...)
}
