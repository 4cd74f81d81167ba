package firewall

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// leaving returns the chains after all source NAT. A flow's final address is known
// only there: they drop what must not leave, and give the flow its lane.
func (b builder) leaving() []chain {
	dropped := func(name, about, counter string) chain {
		return chain{name: name, about: about, rules: []rule{newRule(falls(b)...), newRule(count(counter), drop)}}
	}
	out := slices.Concat(own(b), handshakes(b), rescueVerdicts(b))
	out = append(out,
		dropped(guardChain, "Flows of a policy that may never use this uplink.", guardCounter),
		dropped(astrayChain, "The gateway's own with an address of another uplink.", strayCounter))
	for _, u := range b.Uplinks {
		if u.Interface == "" {
			continue
		}
		if u.hasExceptions() {
			out = append(out, b.bare(u))
		}
		out = append(out, b.moved(u), b.out(u))
	}
	return append(out, chain{
		name:  "postrouting",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookPostrouting, "postrouting", "srcnat + 1050", 100+1050),
		rules: []rule{newRule(leavesVmap(departures))},
	})
}

// own returns the chains that accept a packet whose flow already has this uplink.
func own(b builder) []chain {
	return []chain{{
		name:  "own_tcp",
		about: "TCP on its uplink: record once that the handshake is complete.",
		rules: []rule{
			newRule(tcp, beginning, clampToPath),
			newRule(tcp, begins, ctMark(b.Layout.CTUplinkMask()).vmap(begunAgainMap)),
			newRule(ctOriginal, ctStateEstablished, ctMark(b.Layout.CTUplinkMask()).vmap(finishedMap)),
			newRule(ctStateEstablished, setCTMark(b.Layout.CTEstablished(), b.Layout.CTEstablished())),
			newRule(accept),
		},
	}, {
		name:  "own",
		about: "A flow on its uplink.",
		rules: []rule{newRule(tcp, goTo("own_tcp")), newRule(accept)},
	}}
}

const astrayChain = "astray"

// out handles packets that leave by an uplink, the most frequent cases first.
func (b builder) out(u Uplink) chain {
	uplink, established := b.Layout.CTUplinkMask(), b.Layout.CTEstablished()
	mark := b.Layout.Mark(u.Lane)
	c := chain{
		name:  of("out", u.Lane),
		about: "Leaves by uplink " + u.Name + ".",
		rules: []rule{newRule(count(of("up", u.Lane))).because("uplink " + u.Name)},
	}
	// The kernel chooses such a source in the moment after the uplink's own address
	// went: for probes, and for errors about what still comes in for it.
	for _, a := range []address{ipSaddr, ip6Saddr} {
		if others := foreignAddresses(b, u, a.family); len(others) > 0 {
			c.rules = append(c.rules, newRule(ownPacket, a.in(others), goTo(astrayChain)))
		}
	}
	if len(b.barred(u).elements) > 0 {
		c.rules = append(c.rules, newRule(ctMark(b.Layout.CTPolicyMask()).vmap(of("barred", u.Lane))))
	}
	c.rules = append(c.rules,
		newRule(ctMark(uplink|established).is(mark|established), accept),
		newRule(ctMark(uplink).is(mark), goTo("own")),
	)
	if b.steps() {
		c.rules = append(c.rules, newRule(append([]piece{packetMark(b.Layout.MarkMask).isNot(mark)}, falls(b)...)...))
	}
	c.rules = append(c.rules, b.probes(u)...)
	c.rules = append(c.rules, b.strays(u)...)
	c.rules = append(c.rules,
		newRule(tcp, beginning, clampToPath),
		newRule(ctMark(b.Layout.CTPolicyMask()).is(0),
			setCTMark(b.Layout.CTPolicyMask(), b.Layout.CTPair(0, lane.DefaultPolicy))),
		newRule(nfproto(failover.IPv4), ctMark(b.Layout.CTPolicyMask()).vmap(shunnedMap(failover.IPv4))),
		newRule(nfproto(failover.IPv6), ctMark(b.Layout.CTPolicyMask()).vmap(shunnedMap(failover.IPv6))),
		newRule(ctMark(uplink).vmap(onwardMap)),
		newRule(setCTMark(uplink|established, mark), count(of("flows", u.Lane))),
		newRule(tcp, begins, goTo(of(begunChain, u.Lane))),
	)
	return c
}

// probes returns the rules for packets of sockets that are marked with an uplink's
// lane. They are not sessions and get no lanes, so verdicts do not affect them.
// They leave by their own uplink or not at all: an answer by another one would
// prove nothing.
func (b builder) probes(u Uplink) []rule {
	mask, policyBit := b.Layout.MarkMask, b.policyBit()
	other := []piece{
		ownPacket, ctMark(b.Layout.CTUplinkMask()).is(0), packetMark(mask &^ policyBit).isNot(0), packetMark(policyBit).is(0),
	}
	for _, m := range b.Kept {
		other = append(other, packetMark(m.Mask).isNot(m.Value))
	}
	return []rule{
		newRule(slices.Concat([]piece{ownPacket, packetMark(mask).is(b.Layout.Mark(u.Lane))}, noRescue(b), []piece{accept})...).because("a probe"),
		newRule(append(other, count(guardCounter), drop)...).because("a probe of another uplink"),
		// Others' marks had it rerouted in output, where the device that a rule sees
		// stays the first one.
		newRule(ownPacket, ctMark(b.pairMask()).vmap(askedMap)).because("a rerouted probe"),
	}
}

// policyBit is set in the packet mark of every policy's lane, and in no uplink's.
func (b builder) policyBit() uint32 { return b.Layout.Mark(lane.DefaultPolicy) }

// strays returns the rules that drop packets with an address that does not belong
// on the uplink, for flows that are new to it.
func (b builder) strays(u Uplink) []rule {
	var out []rule
	out = append(out, unknown(b, u)...)
	// Packets of sockets with another program's mark go where that program sends
	// them, and are masqueraded on every uplink; but where a rule of the user's asked for
	// the mark, the flow has a policy.
	if p, ok := whereFamilies(u.masqueradesAll()); ok {
		match := []piece{ownPacket, packetMark(^b.Layout.MarkMask).isNot(0), p}
		if len(ruledMarks(b)) > 0 {
			match = append(match, ctMark(b.Layout.CTPolicyMask()).is(0))
		}
		out = append(out, newRule(append(match, accept)...))
	}
	for _, a := range []address{ipSaddr, ip6Saddr} {
		if others := foreignAddresses(b, u, a.family); len(others) > 0 {
			out = append(out, newRule(a.in(others), count(strayCounter), drop))
		}
	}
	out = append(out, newRule(ctMark(b.Layout.CTUplinkMask()).isNot(0), jump(of("moved", u.Lane))))
	// Answers of a host inside to a flow that began before us, and that a port forward led
	// to it from an address on no interface: it came in by this uplink.
	if p, ok := whereFamilies([2]bool{u.SNAT, u.SNAT6 != None}); ok {
		out = append(out, newRule(p, ctReply, ctStatusDNAT,
			setCTMark(b.pairMask(), b.Layout.CTPair(u.Lane, lane.Nobody)), accept))
	}
	// What is not translated although the uplink masquerades began elsewhere, such as
	// by a VPN's route that is gone.
	bare := func(match piece, end ...piece) rule {
		return newRule(append([]piece{match, ctStatusNoSNAT, foreignSource, ipsecMissing}, end...)...)
	}
	end := u.bareEnd()
	if u.SNAT {
		out = append(out, bare(nfproto(failover.IPv4), end...))
	}
	if p, ok := u.masqueraded6(); ok {
		out = append(out, bare(p, end...))
	}
	return out
}

// unknown returns the rules that drop packets which conntrack takes for no flow's, and
// which it does therefore not translate: those with a private source, which nobody could
// answer, and those with one that is native to another uplink. Any other may be right as
// it is: a router's error about an untracked packet, what a SYN proxy sends, one
// direction of a connection whose other one passes elsewhere.
func unknown(b builder, u Uplink) []rule {
	var out []rule
	drops := func(a address, from, own []netip.Prefix) {
		match := []piece{ctStateInvalid, a.in(distinct(from))}
		if len(own) > 0 {
			match = append(match, a.notIn(distinct(own)))
		}
		out = append(out, newRule(append(match, u.bareEnd()...)...))
	}
	if u.SNAT {
		drops(ipSaddr, privateSources[failover.IPv4], ownAddresses(u, failover.IPv4))
	}
	if u.SNAT6 != None {
		own := ownAddresses(u, failover.IPv6)
		if u.SNAT6 == Foreign {
			own = slices.Concat(own, u.Native6)
		}
		drops(ip6Saddr, slices.Concat(privateSources[failover.IPv6], b.nativeElsewhere(u), u.insides()), own)
	}
	return out
}

// privateSources are, by family, the addresses that no provider answers: RFC 1918, RFC
// 6598, RFC 3927 and RFC 4193.
var privateSources = [2][]netip.Prefix{
	failover.IPv4: {
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	},
	failover.IPv6: {netip.MustParsePrefix("fc00::/7")},
}

// masqueraded6 matches the IPv6 sources that the uplink masquerades; ok is false where
// it masquerades none.
func (u Uplink) masqueraded6() (p piece, ok bool) {
	switch {
	case u.masqueradesAll()[failover.IPv6]:
		return nfproto(failover.IPv6), true
	case u.SNAT6 == Foreign:
		return ip6Saddr.notIn(u.Native6), true
	}
	return piece{}, false
}

// bareSources are the IPv4 sources that are never masqueraded.
func (u Uplink) bareSources() []netip.Prefix { return distinct(slices.Concat(u.SNATExcept, u.Native4)) }

// moved handles flows of another uplink. Those with a fixed source would be strays:
// answers to flows that came in by the other uplink, static source NAT, and IPv6
// sources that are native there. What came in by the other uplink and is forwarded
// to this one, such as to a host in the network of the modem here, is the user's
// business and keeps its lanes, so that its answers leave by the other one. The
// others continue, and belong to this uplink from now on. Masqueraded flows need no
// rule: the kernel itself drops their entry, and this packet. The gateway's own that
// the other uplink did not translate and this one masquerades would keep an address of
// the LAN: they wait for the deletion of their entry, as forwarded ones do.
func (b builder) moved(u Uplink) chain {
	c := chain{
		name:  of("moved", u.Lane),
		about: "A flow of another uplink. Its answers, and with a fixed source or foreign IPv6 the flow, would be strays.",
		rules: []rule{newRule(ctReply, count(strayCounter), drop)},
	}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		if others := b.resolversElsewhere(u, a.family); len(others) > 0 {
			c.rules = append(c.rules, newRule(a.in(others), count(guardCounter), drop).because("to another uplink's resolver"))
		}
	}
	if foreign := b.nativeElsewhere(u); len(foreign) > 0 {
		c.rules = append(c.rules, newRule(ip6Saddr.in(foreign), count(strayCounter), drop))
	}
	c.rules = append(c.rules,
		newRule(ctMark(b.Layout.CTPolicyMask()).is(b.Layout.CTPair(0, lane.Nobody)), accept).because("forwarded from another uplink"))
	c.rules = append(c.rules, retriedRules(b, u)...)
	c.rules = append(c.rules, newRule(ctStatusSNAT, count(strayCounter), drop))
	c.rules = append(c.rules, ownBare(u)...)
	return c
}

// ownBare drops the gateway's own packets without NAT that the uplink masquerades,
// unless they have its address.
func ownBare(u Uplink) []rule {
	var out []rule
	add := func(a address, match []piece, end ...piece) {
		if own := ownAddresses(u, a.family); len(own) > 0 {
			match = append(match, a.notIn(own))
		}
		if len(match) == 0 {
			match = []piece{nfproto(a.family)}
		}
		out = append(out, newRule(slices.Concat([]piece{ownPacket, ctStatusNoSNAT, ipsecMissing}, match, end)...))
	}
	end := u.bareEnd()
	if u.SNAT {
		add(ipSaddr, nil, end...)
	}
	switch {
	case u.masqueradesAll()[failover.IPv6]:
		add(ip6Saddr, nil, end...)
	case u.SNAT6 == Foreign:
		add(ip6Saddr, []piece{ip6Saddr.notIn(u.Native6)}, end...)
	}
	return out
}

// bare handles packets without NAT on an uplink that masquerades.
func (b builder) bare(u Uplink) chain {
	return chain{
		name:  of("bare", u.Lane),
		about: "Without source NAT although the uplink masquerades: only the exceptions may pass.",
		rules: append(u.exceptions(returns), newRule(count(strayCounter), drop)),
	}
}

// bareEnd drops what is not translated although the uplink masquerades, unless there
// are exceptions to consider.
func (u Uplink) bareEnd() []piece {
	if u.hasExceptions() {
		return []piece{jump(of("bare", u.Lane))}
	}
	return []piece{count(strayCounter), drop}
}

// hasExceptions reports whether there are flows that are not masqueraded in a family
// that is.
func (u Uplink) hasExceptions() bool { return len(u.exceptions(returns)) > 0 }

// exceptions returns the rules that apply a verdict to what is never masqueraded in
// the families that are; IPv6 sources that are native are not among them.
func (u Uplink) exceptions(verdict piece) []rule {
	var out []rule
	if u.SNAT {
		if sources := u.bareSources(); len(sources) > 0 {
			out = append(out, newRule(ipSaddr.in(sources), verdict))
		}
		if len(u.Beside) > 0 {
			out = append(out, newRule(arrivesBy(u.Interface), ipSaddr.in(u.Beside), verdict).because("a neighbour's"))
		}
		if len(u.SNATExcept) > 0 {
			out = append(out, newRule(ipDaddr.in(u.SNATExcept), verdict))
		}
		for _, e := range u.plain(failover.IPv4) {
			out = append(out, newRule(ipSaddr.in([]netip.Prefix{e.From}), ipDaddr.in([]netip.Prefix{e.To}), verdict))
		}
	}
	if _, ok := u.masqueraded6(); ok {
		for _, e := range u.plain(failover.IPv6) {
			out = append(out, newRule(ip6Saddr.in([]netip.Prefix{e.From}), ip6Daddr.in([]netip.Prefix{e.To}), verdict))
		}
	}
	return out
}

// exclusive returns the addresses that are the uplink's alone, but for twins.
func (u Uplink) exclusive() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(u.Addresses), func(a netip.Addr) bool { return slices.Contains(u.Borrowed, a) })
}

// ownAddresses returns the gateway's addresses on an uplink, in a family.
func ownAddresses(u Uplink, f failover.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range u.Addresses {
		if a.Is4() == (f == failover.IPv4) {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return distinct(out)
}

// othersAddresses returns the gateway's addresses on other uplinks, except those that
// this uplink has too, borrowed ones, and preferred sources in a network that is native
// here.
func (b builder) othersAddresses(u Uplink, f failover.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range b.Uplinks {
		for _, a := range o.exclusive() {
			shared := slices.Contains(u.Addresses, a) || a == o.Source[f] && u.isNative(a)
			if a.Is4() == (f == failover.IPv4) && o.Lane != u.Lane && !shared {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return distinct(out)
}

// foreignAddresses are othersAddresses and those of former uplinks.
func foreignAddresses(b builder, u Uplink, f failover.Family) []netip.Prefix {
	return distinct(append(b.othersAddresses(u, f), formerAddresses(b, f)...))
}

// formerAddresses are those of former uplinks, but for those that an uplink has.
func formerAddresses(b builder, f failover.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range b.Former {
		has := slices.ContainsFunc(b.Uplinks, func(u Uplink) bool { return slices.Contains(u.Addresses, a) })
		if failover.FamilyOf(a) == f && !has {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// keepsFormer returns the rules for what has the address of a former uplink as its source: it
// goes on by that one's device or, where main does not lead there, is masqueraded.
func keepsFormer(b builder) []rule {
	var out []rule
	for _, a := range []address{ipSaddr, ip6Saddr} {
		if former := formerAddresses(b, a.family); len(former) > 0 {
			out = append(out, newRule(a.in(distinct(former)), returns).because("of a former uplink"))
		}
	}
	return out
}

// isNative reports whether an address is in a network that is native to the uplink.
func (u Uplink) isNative(a netip.Addr) bool {
	return slices.ContainsFunc(slices.Concat(u.Native4, u.Native6), func(p netip.Prefix) bool { return p.Contains(a) })
}

// nativeElsewhere returns the prefixes that are native to other uplinks and not to
// this one.
func (b builder) nativeElsewhere(u Uplink) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range b.Uplinks {
		for _, p := range o.Native6 {
			native := slices.ContainsFunc(u.Native6, func(q netip.Prefix) bool { return covers(q, p) })
			if o.Lane != u.Lane && !native {
				out = append(out, p)
			}
		}
	}
	return distinct(out)
}

// srcnat returns the chains for source NAT, far after those of other programs, so that
// a user's static NAT takes precedence: firewalld's is ten after the usual priority,
// others' are wherever their authors liked.
func (b builder) srcnat() []chain {
	var out []chain
	for _, u := range b.Uplinks {
		if u.Interface != "" && translates(u) {
			out = append(out, b.snat(u))
		}
	}
	return append(out, chain{
		name:  "srcnat",
		about: "Source NAT of each uplink.",
		base:  hooked(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, "postrouting", "srcnat + 1000", 100+1000),
		rules: []rule{newRule(leavesVmap(translated))},
	})
}

func (b builder) snat(u Uplink) chain {
	c := chain{name: of("snat", u.Lane), rules: []rule{newRule(ipsecExists, accept).because("never NAT what IPsec protects")}}
	if _, ok := u.masqueraded6(); ok && len(b.Trials) > 0 {
		c.rules = append(c.rules, newRule(append(trial(b), packetMark(b.Layout.MarkMask).is(b.Layout.Mark(u.Lane)), accept)...).because("asks whether it is native"))
	}
	c.rules = slices.Concat(c.rules, deafSockets(b, u), translatesAskers(b, u), u.own(accept), u.outward(), u.exceptions(accept))
	if u.SNAT {
		c.rules = append(c.rules, u.translation(failover.IPv4, nfproto(failover.IPv4))...)
	}
	if p, ok := u.masqueraded6(); ok {
		c.rules = append(c.rules, u.translation(failover.IPv6, p)...)
	}
	return c
}

// deafSockets drops what sockets of this machine send from an IPv6 address of another uplink
// that is no longer there: nothing would hear the answers. Their programs are told by an
// error, as the kernel itself tells those with such an IPv4 address.
func deafSockets(b builder, u Uplink) []rule {
	others := b.othersAddresses(u, failover.IPv6)
	if len(others) == 0 {
		return nil
	}
	return []rule{newRule(ownPacket, ip6Saddr.in(others), foreignSource, count(strayCounter), drop).because("nobody hears the answers")}
}

// translation returns the rules that translate the sources that match: to the one that
// the uplink's packets should have, or to the one that the kernel chooses.
func (u Uplink) translation(f failover.Family, match piece) []rule {
	to := u.Source[f]
	if !to.IsValid() {
		return []rule{newRule(match, masquerade)}
	}
	var out []rule
	if near := ofFamily(u.Links, f); len(near) > 0 {
		out = append(out, newRule(match, []address{ipDaddr, ip6Daddr}[f].in(near), masquerade))
	}
	return append(out, newRule(match, translateTo(to)))
}

// own returns the rules that apply a verdict to the uplink's own addresses where it
// has several: translation takes one of them, whichever a socket was bound to.
func (u Uplink) own(verdict piece) []rule {
	var out []rule
	if own := ownAddresses(u, failover.IPv4); u.SNAT && (len(own) > 1 || len(own) == 1 && u.Source[failover.IPv4].IsValid()) {
		out = append(out, newRule(ipSaddr.in(own), verdict))
	}
	own := slices.DeleteFunc(ownAddresses(u, failover.IPv6), func(p netip.Prefix) bool {
		return u.SNAT6 == Foreign && slices.ContainsFunc(u.Native6, func(q netip.Prefix) bool { return covers(q, p) })
	})
	if _, ok := u.masqueraded6(); ok && (len(own) > 1 || len(own) == 1 && u.Source[failover.IPv6].IsValid()) {
		out = append(out, newRule(ip6Saddr.in(own), verdict))
	}
	return out
}
