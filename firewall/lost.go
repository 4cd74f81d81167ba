package firewall

import (
	"slices"

	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// filterEarlier is directly before other programs' filter rules, which might drop
// packets that we have to answer with a reset.
const filterEarlier = 0 - 5

// lost returns the chains that end TCP flows which cannot keep their address.
func (b builder) lost() []chain {
	var out []chain
	for _, u := range b.Uplinks {
		out = append(out, resets(u), leavesLost(u), onward(u), beganElsewhere(u), b.deadFlow(u))
	}
	if len(out) > 0 {
		out[0].about = "Of a lost uplink: answered, counting a connection once; and counted where a flow goes on.\n" +
			"Of one that is shunned: a new flow that begins elsewhere."
		out[4].about = "Established TCP of a lost uplink. Flows that can keep their address pass, and continue elsewhere.\n" +
			"What begins anew loses the mark of the established, so that its entry can be deleted."
	}
	for i, u := range b.Uplinks {
		if u.Interface == "" {
			continue
		}
		c := b.ends(u)
		if i == 0 {
			c.about = "TCP without NAT of a lost uplink that now leaves by this one, which would not carry its source."
		}
		out = append(out, c)
	}
	return slices.Concat(out, unsettled(b), []chain{b.forward(), b.local()}, b.rawOut())
}

// resets answers a packet with a reset. The first of a connection counts: from Linux 6.3 on
// its entry ends with the reset.
func resets(u Uplink) chain {
	return chain{name: of("reset", u.Lane), rules: []rule{
		newRule(ctLasts, count(of("resets", u.Lane))),
		newRule(tcp, count(resetsCounter), resetTCP),
	}}
}

// leavesLost counts flows of a lost uplink that are masqueraded, and end with this packet, to
// begin anew by another one. With a fixed source they wait for the deletion of their entry.
func leavesLost(u Uplink) chain {
	c := chain{name: of("leaves", u.Lane)}
	if u.Interface != "" {
		c.rules = append(c.rules, newRule(leavesBy(u.Interface), returns).because("to a neighbour"))
	}
	if p, ok := whereFamilies([2]bool{!u.Source[failover.IPv4].IsValid(), !u.Source[failover.IPv6].IsValid()}); ok {
		c.rules = append(c.rules, newRule(p, ctStatusSNAT, count(of("moved", u.Lane))))
	}
	return c
}

// onward counts flows of an uplink that keep their address and go on by another one.
func onward(u Uplink) chain {
	return chain{name: of("onward", u.Lane), rules: []rule{newRule(count(of("moved", u.Lane)))}}
}

// beganElsewhere counts new flows by other uplinks that this one would have if it were not
// shunned.
func beganElsewhere(u Uplink) chain {
	c := chain{name: of("shunned", u.Lane)}
	if u.Interface != "" {
		c.rules = append(c.rules, newRule(leavesBy(u.Interface), returns))
	}
	c.rules = append(c.rules,
		newRule(nfproto(failover.IPv4), count(of("began", u.Lane))),
		newRule(nfproto(failover.IPv6), count(of("began6", u.Lane))))
	return c
}

// deadFlow answers the packets of a lost uplink's flows with a reset: translated ones,
// the gateway's own with an address of that uplink, and those whose source does not
// belong on the uplink that they now leave by. Packets that still leave by the uplink
// are for a neighbour there, such as the modem, whose status page must stay reachable.
//
// A segment that begins a connection is never answered. Its entry may be that of an
// older one between the same ports: before Linux 6.3 an entry stays established when
// its flow is reset, for five days. Without our bit for the established, the next
// deletion of the pair's flows ends it. The same applies to what a helper expects
// (FTP's data, the voice of SIP): it begins with its master's mark, that bit included,
// and is reset with it if it is TCP, or else deleted. Each such flow is counted once, so
// that a deletion can follow.
func (b builder) deadFlow(u Uplink) chain {
	reset := func(match ...piece) rule {
		return newRule(append(append([]piece{tcp}, match...), goTo(of("reset", u.Lane)))...)
	}
	c := chain{name: of("dead", u.Lane)}
	if u.Interface != "" {
		c.rules = append(c.rules, newRule(leavesBy(u.Interface), returns).because("to a neighbour"))
	}
	forget := setCTMark(b.Layout.CTEstablished(), 0)
	c.rules = append(c.rules,
		newRule(notTCP, forget, count(anewCounter), returns),
		newRule(tcp, beginning, forget, count(anewCounter), returns),
		reset(ctStatusSNAT))
	alone := Uplink{Addresses: u.exclusive()}
	for _, a := range []address{ipSaddr, ip6Saddr} {
		if own := ownAddresses(alone, a.family); len(own) > 0 {
			c.rules = append(c.rules, reset(ownPacket, a.in(own)))
		}
	}
	c.rules = append(c.rules, newRule(leavesVmap(endings)))
	return c
}

// ends answers TCP without NAT with a reset that an uplink would masquerade if it
// began now, or whose IPv6 source is native elsewhere: the strays of leaving.go.
func (b builder) ends(u Uplink) chain {
	reset := func(match ...piece) rule {
		return newRule(append(append([]piece{tcp}, match...), ctMark(b.Layout.CTUplinkMask()).vmap(resettingMap))...)
	}
	c := chain{name: of("ends", u.Lane)}
	c.rules = u.exceptions(returns)
	if u.SNAT {
		c.rules = append(c.rules, reset(nfproto(failover.IPv4), ipsecMissing))
	}
	p, ok := u.masqueraded6()
	if foreign := b.nativeElsewhere(u); !ok && len(foreign) > 0 {
		p, ok = ip6Saddr.in(foreign), true
	}
	if ok {
		c.rules = append(c.rules, reset(p, ipsecMissing))
	}
	return c
}

func (b builder) forward() chain {
	return chain{
		name:  "forward",
		about: "Only in the client's direction: a reset to a server would leave by the wrong uplink.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookForward, "forward", "filter - 5", filterEarlier),
		rules: slices.Concat(answersBlocked(b), []rule{
			newRule(append(b.onUplink(), returns)...).because("of a flow whose uplink is not lost"),
		}, ending(b), []rule{settling(b)}),
	}
}

// settling leads TCP whose handshake is not over to its chain. There a server's reset is
// dropped to a segment that left by another uplink in the moment before its flow was held:
// the connection is alive, and the kernel itself deletes an entry whose only answer is a
// reset.
func settling(b builder) rule {
	return newRule(ctMark(b.Layout.CTEstablished()).is(0), tcp, jump(unsettledChain))
}

// ending returns the rules for what is not on an uplink's lane: flows that the kernel
// has forgotten, and those of lost uplinks.
func ending(b builder) []rule {
	return append([]rule{
		newRule(ctStateNew, leavesOnHold, tcp, midFlow, drop).
			because("its uplink may be back in a moment"),
		newRule(ctStateNew, leavesInGrace, tcp, midFlow, count(resetsCounter), count(gracedCounter), resetTCP).
			because("its entry is gone, so it cannot continue"),
	}, append(b.deadFlows(), refusesResolvers(b)...)...)
}

// onUplink matches packets with an uplink's lane, not a policy's.
func (b builder) onUplink() []piece {
	return []piece{packetMark(b.Layout.MarkMask &^ b.policyBit()).isNot(0), packetMark(b.policyBit()).is(0)}
}

func (b builder) local() chain {
	probe := newRule(append(b.onUplink(), returns)...).because("probes pass")
	return chain{
		name:  "local",
		about: "The same for local sockets.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookOutput, "output", "filter - 5", filterEarlier),
		rules: append([]rule{probe}, ending(b)...),
	}
}

func (b builder) deadFlows() []rule {
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(ctOriginal, nfproto(f), ctMark(b.Layout.CTMask).vmap(deadMap(f))))
	}
	if len(b.Barred()) > 0 {
		out = append(out, newRule(ctOriginal, ctMark(b.Layout.CTMask).vmap(barredMap)))
	}
	return out
}

// barredMap has what the dead have, of policies that block and have the uplink no more. No
// verdict of an uplink does that, so that a later run must not take it for one.
const barredMap = "barred"

func barred(b builder) []verdictMap {
	m := verdictMap{name: barredMap, keys: markKeys, about: "The same of policies that block, and uplinks that are not theirs."}
	for _, p := range b.Barred() {
		m.elements = append(m.elements, markEntry(b.Layout.CTPair(p.Uplink, p.Policy)|b.Layout.CTEstablished(), of("dead", p.Uplink)))
	}
	if len(m.elements) == 0 {
		return nil
	}
	return []verdictMap{m}
}

func (b builder) rawOut() []chain {
	pokes := chain{name: "pokes", about: "Pokes (lane 127) are not flows, and for the LAN alone."}
	for _, u := range b.Uplinks {
		if u.Interface != "" {
			pokes.rules = append(pokes.rules, newRule(leavesBy(u.Interface), drop))
		}
	}
	pokes.rules = append(pokes.rules, newRule(notrack))
	return []chain{pokes, {
		name:  "raw_out",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookOutput, "output", "raw", -300),
		rules: []rule{newRule(packetMark(b.Layout.MarkMask).is(b.Layout.Mark(lane.Nobody)), goTo(pokes.name))},
	}}
}
