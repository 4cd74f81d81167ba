package firewall

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Names of the parts that answer packets of policies that block. What leaves by a wrong
// uplink all the same, such as by a lookup in output that no rule sees, is dropped in
// postrouting: see barred.
const (
	blockingMap  = "blocking"
	refusalsMap  = "refusals"
	refusedChain = "refused"
	keptChain    = "kept_off"
)

func refuseMap(f failover.Family) string { return "refuse_" + f.String() }

// adminProhibited and noRoute answer the packet's sender with an error, RFC 792 and RFC
// 4443. The latter ends no session: UDP sockets do not report it.
var (
	adminProhibited = icmpError("admin-prohibited", unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED)
	noRoute         = icmpError("no-route", unix.NFT_REJECT_ICMPX_NO_ROUTE)
)

func icmpError(text string, code uint8) piece {
	return piece{text: "reject with icmpx type " + text, exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: code}}}
}

// blocks reports whether any policy blocks.
func (g Goal) blocks() bool { return len(g.blocking()) > 0 }

func (g Goal) blocking() []Policy {
	var out []Policy
	for _, p := range g.Policies {
		if p.Block && p.Lane != lane.DefaultPolicy {
			out = append(out, p)
		}
	}
	return out
}

// refuse has the pairs whose flows have no way: those of policies that block, while
// their uplinks are down. New flows have no uplink.
func refuse(b builder, f failover.Family) verdictMap {
	m := verdictMap{name: refuseMap(f), keys: markKeys}
	if f == failover.IPv4 {
		m.about = "(policy, uplink) of flows that are refused, as their policy blocks and its uplinks are down; no uplink: new flows."
	}
	for _, p := range b.Refused[f] {
		m.elements = append(m.elements, markEntry(b.Layout.CTPair(p.Uplink, p.Policy), "refusing"))
	}
	return m
}

// blockMaps returns the maps that lead to what refuses.
func blockMaps(b builder) []verdictMap {
	if !b.blocks() {
		return nil
	}
	blocking := verdictMap{name: blockingMap, keys: markKeys, about: "Policies that block; the uplinks by device, for what they refuse; those that are not a policy's own."}
	out := []verdictMap{{}, b.devices(refusalsMap, "", every)}
	for i := range out[1].elements {
		out[1].elements[i].chain = refusedChain
	}
	for _, p := range b.blocking() {
		e := markEntry(b.Layout.CTPair(0, p.Lane), of("blocked", p.Lane))
		e.jump = true
		blocking.elements = append(blocking.elements, e)
		foreign := b.devices(of("foreign", p.Lane), "", func(u Uplink) bool { return !p.uses(u.Lane) })
		for i := range foreign.elements {
			foreign.elements[i].chain = keptChain
		}
		out = append(out, foreign)
	}
	out[0] = blocking
	return out
}

// uses reports whether an uplink is the policy's own.
func (p Policy) uses(n lane.Lane) bool {
	for _, own := range p.Uplinks {
		if own == n {
			return true
		}
	}
	return false
}

// blockChains returns the chains that answer at once.
func blockChains(b builder) []chain {
	if !b.blocks() {
		return nil
	}
	answer := func(name, about string, other piece) chain {
		return chain{name: name, about: about, rules: []rule{
			newRule(tcp, count(guardCounter), resetTCP),
			newRule(count(guardCounter), other),
		}}
	}
	out := []chain{
		answer(refusedChain, "Of a policy that blocks and has no uplink: an answer at once.", adminProhibited),
		keptOff(b, answer(keptChain, "The kernel would send it by an uplink that its policy never uses, as its own has no carrier.", noRoute)),
		{name: "refusing", about: "Only what leaves by an uplink. Before routing that is not known: the flow is left without its\n" +
			"policy's lane, since the route there would answer for the kernel, which answers but a few.", rules: []rule{newRule(leavesVmap(refusalsMap))}},
	}
	for _, p := range b.blocking() {
		out = append(out, chain{name: of("blocked", p.Lane), rules: append(refusals(b, "no way"), newRule(leavesVmap(of("foreign", p.Lane))))})
	}
	return out
}

// keptOff has the lane remembered of what is kept off an uplink. The policy may have another
// way: so only what could not go on there has an answer at once.
func keptOff(b builder, c chain) chain {
	waits := append(b.onUplink(), count(guardCounter), drop)
	c.rules = slices.Concat([]rule{
		newRule(falls(b)...),
		newRule(tcp, midFlow, count(guardCounter), resetTCP),
		newRule(waits...),
	}, c.rules)
	return c
}

// refusals returns the rules that refuse what has no way.
func refusals(b builder, why string) []rule {
	if !b.blocks() {
		return nil
	}
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(nfproto(f), ctMark(b.pairMask()).vmap(refuseMap(f))).because(why))
	}
	return out
}

// answersBlocked returns the rule for forwarded packets; it comes first there, since
// the others are for flows of an uplink that is lost. In output, where the device is
// that of the lookup before ours, refusals stand alone.
func answersBlocked(b builder) []rule {
	if !b.blocks() {
		return nil
	}
	return []rule{newRule(ctMark(b.Layout.CTPolicyMask()).vmap(blockingMap))}
}
