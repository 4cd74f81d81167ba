package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"swerve/failover"
	"swerve/lane"
	match "swerve/rule"
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
		if b.Wildcards {
			out = append(out, heldBack())
		}
	}
	return append(append(out, b.prerouting()), b.output()...)
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
		newRule(ctStateNew, arrivesLapsed, tcp, midFlow, b.untilSent()).because("until its client has sent"),
		newRule(ctStateNew, ctMark(b.pairMask()).is(0), setCTMark(b.Layout.CTMask, lanes)))
	// A flow that a helper expects, such as FTP's data, begins with its master's mark.
	// Errors by ICMP are related as well, and belong to the flow that they are about.
	for _, p := range []piece{tcp, udp} {
		c.rules = append(c.rules, newRule(ctStateRelated, p, setCTMark(b.Layout.CTMask, lanes)))
	}
	return c
}

// untilSent drops segments that have to wait for their client. A connection of this machine
// itself goes on, where the kernel tells: nobody else answers for it, and where its program
// only listens it would never send first.
func (b builder) untilSent() piece {
	if b.Wildcards {
		return jump(heldBackChain)
	}
	return drop
}

const heldBackChain = "until_sent"

func heldBack() chain {
	return chain{
		name:  heldBackChain,
		about: "In the middle of a connection whose entry is gone: this machine's own goes on.",
		rules: []rule{newRule(boundToOne, returns), newRule(drop)},
	}
}

// prerouting gives forwarded packets their lane.
func (b builder) prerouting() chain {
	c := chain{
		name:  "prerouting",
		about: "Forwarded packets take the lane of their flow; a new flow goes through the rules.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, "prerouting", "mangle + 5", mangleLater),
		rules: []rule{newRule(arrivesVmap(arrivals))},
	}
	c.rules = slices.Concat(c.rules, b.laneOrRules(), rescuesDefaults(b, rescuesChain), spreadDefault(b))
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
	return append(rules, b.newFlow(nil)...)
}

// output returns the chains that give this machine's own packets their lane. Their type,
// route, makes the kernel look up the route again.
func (b builder) output() []chain {
	c := chain{
		name:  "output",
		about: "The gateway's own packets. Those of a socket with a mark (WireGuard, tailscale, our probes) keep it.",
		base:  hooked(nftables.ChainTypeRoute, nftables.ChainHookOutput, "output", "mangle + 5", mangleLater),
		rules: b.lanesOfProbes(),
	}
	// Before the lookup with the flow's lane, which would fail without an answer.
	rules := slices.Concat(refusals(b, "no way"), b.laneOfFlow(), movesOn(ctMark(b.pairMask()).isNot(0)),
		b.newFlow(slices.Concat(keepsFormer(b), renewsAddress(b))), rescuesDefaults(b, ownRescues), movesOn(packetMark(b.Layout.MarkMask).is(0)))
	marks := ruledMarks(b)
	if len(marks) == 0 {
		c.rules = append(append(c.rules, newRule(anyPacketMark, returns)), rules...)
		return []chain{c}
	}
	c.rules = append(c.rules, newRule(packetMark(1<<32-1).is(0), goTo(ownFlowChain)))
	for _, m := range marks {
		c.rules = append(c.rules, newRule(packetMark(m.Mask).is(m.Value), goTo(ownFlowChain)))
	}
	return []chain{{name: ownFlowChain, about: "What has no mark, or one that the user's rules ask for.", rules: rules}, c}
}

const ownFlowChain = "own_flow"

// ruledMarks returns the marks that the user's rules ask for, sorted, except for none.
func ruledMarks(b builder) []Mark {
	var out []Mark
	for _, r := range b.Rules {
		if m := Mark(r.Mark); m.Value != 0 {
			out = append(out, m)
		}
	}
	return sortedMarks(out)
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

// newFlow sends flows without lanes through the user's rules, except for these. Answers
// are excluded: those of a flow that came in elsewhere, such as from a VPN, would match
// too. What is established without lanes, such as between two networks of the LAN, has met
// the rules.
func (b builder) newFlow(except []rule) []rule {
	return slices.Concat([]rule{
		newRule(ctMark(b.pairMask()).isNot(0), returns),
		newRule(ctReply, returns),
		newRule(ctStateEstablished, returns),
	}, except, staysOnLink(b), asksResolvers(b), []rule{newRule(jump(rulesChain))}, leaveRules(b))
}

// renewsAddress returns the rules for the gateway's own DHCP clients: what keeps an
// uplink's address is for that uplink, whatever the user's rules say of its protocol.
func renewsAddress(b builder) []rule {
	if len(b.Rules) == 0 {
		return nil
	}
	ports := func(f failover.Family, client, server uint16) rule {
		return newRule(nfproto(f), udp, fromPort(client), toPorts([]match.PortRange{{First: server, Last: server}}), returns)
	}
	return []rule{ports(failover.IPv4, 68, 67).because("DHCP, RFC 2131"), ports(failover.IPv6, 546, 547).because("DHCPv6, RFC 8415")}
}

// fromPort matches a source port; the protocol must have been matched before.
func fromPort(n uint16) piece {
	return piece{text: fmt.Sprint("th sport ", n), exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: portBytes(n)},
	}}
}

// linkLocal are the addresses that never are behind a router.
var linkLocal = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// staysOnLink returns the rules for what takes no default route where a policy blocks: it
// would be kept off the links of uplinks that are not the policy's.
func staysOnLink(b builder) []rule {
	if len(b.Rules) == 0 || !b.blocks() {
		return nil
	}
	links := slices.Clone(linkLocal)
	for _, u := range b.Uplinks {
		links = append(links, u.Links...)
	}
	return onLink(links)
}

// onLink returns the rules for what goes to these networks, and takes no default route.
func onLink(networks []netip.Prefix) []rule {
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule([2]address{ipDaddr, ip6Daddr}[f].in(distinct(ofFamily(networks, f))), returns).because("on a link"))
	}
	return out
}
