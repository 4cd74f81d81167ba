package firewall

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"swerve/failover"
	match "swerve/rule"
)

const (
	// tracked is directly after connection tracking (-200) and before any other
	// program's mangle rules in the output hook.
	tracked = -200 + 1
	// lastInOutput is after the chains of other programs in the output hook, when
	// the packet's output device is final.
	lastInOutput = 300
)

// Names of the maps and chains for probes.
const (
	askingMap  = "asking"
	askedMap   = "asked"
	probeChain = "probe"
	askedChain = "asked"
)

// asking and asked dispatch to the chains for an uplink's probes by its lane:
// asking by the packet's mark, which the prober's socket sets, asked by the flow's.
func (b builder) asking() verdictMap {
	m := verdictMap{name: askingMap, keys: markKeys, about: "Probes by uplink: by the mark of their socket, then by that of their flow."}
	for _, u := range b.Uplinks {
		m.elements = append(m.elements, markEntry(b.Layout.Mark(u.Lane), of(probeChain, u.Lane)))
	}
	return m
}

func (b builder) asked() verdictMap {
	m := verdictMap{name: askedMap, keys: markKeys}
	for _, u := range b.Uplinks {
		if u.Interface != "" {
			m.elements = append(m.elements, markEntry(b.Layout.CTPair(u.Lane, 0), of(askedChain, u.Lane)))
		}
	}
	return m
}

// probing returns the chains for probes, which are not in the forwarding path. A
// probe's flow has its uplink's lane and no policy's, from before other programs'
// mangle rules run: `meta mark set ct mark`, with or without a mask, then restores
// the mark that the socket had set. Only echo requests, and what goes to a target of
// another method, are treated as probes: packets that IPsec makes from others also pass
// the output hook, and keep the original packet's mark.
//
// Probes that leave by their uplink are counted, of a connection its first packet; those
// that would leave by any other device, an uplink's or not, are counted and dropped, since
// their answers would be no evidence about the uplink. The sockets of connections are
// bound to the device, so that their later packets leave as the first one does.
func (b builder) probing() []chain {
	var out []chain
	for _, u := range b.Uplinks {
		out = append(out, chain{name: of(probeChain, u.Lane), rules: []rule{
			newRule(setCTMark(b.Layout.CTMask, b.Layout.CTPair(u.Lane, 0))).because("probe of " + u.Name),
		}})
	}
	for _, u := range b.Uplinks {
		if u.Interface == "" {
			continue
		}
		out = append(out, chain{name: of(askedChain, u.Lane), rules: []rule{
			newRule(leavesBy(u.Interface), nfproto(failover.IPv6), count(of("probes6", u.Lane))),
			newRule(leavesBy(u.Interface), count(of("probes", u.Lane)), accept),
			newRule(count(of("elsewhere", u.Lane)), drop).because("a probe of " + u.Name + " that leaves elsewhere"),
		}})
	}
	mark := packetMark(b.Layout.MarkMask)
	var trials []rule
	if len(b.Trials) > 0 {
		trials = append(trials, newRule(append(trial(b), mark.isNot(0), returns)...).because("asks whether it is native"))
	}
	return append(out,
		chain{
			name:  "probing",
			about: "A probe's flow has its lane before other programs' mangle rules, so that the mark they restore is right.",
			base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookOutput, "output", "-199", tracked),
			rules: append(trials, eachProbe(b, mark.vmap(askingMap))...),
		},
		chain{
			name:  "probed",
			about: "After all others in output: a probe leaves by its uplink or not at all.",
			base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookOutput, "output", "300", lastInOutput),
			rules: append(echoProbes(ctMark(b.pairMask()).vmap(askedMap)),
				askedEnds(b, ctStatusFirst, ctMark(b.pairMask()).vmap(askedMap))...),
		})
}

// eachProbe returns rules that apply pieces to the packets of probes, of whatever method.
func eachProbe(b builder, pieces ...piece) []rule {
	return append(echoProbes(pieces...), askedEnds(b, pieces...)...)
}

// echoProbes does that for echo requests, in either family.
func echoProbes(pieces ...piece) []rule {
	return []rule{newRule(append([]piece{echoRequest4}, pieces...)...), newRule(append([]piece{echoRequest6}, pieces...)...)}
}

// askedEnds does it for what goes to the targets of other methods: one rule for those of a
// family with the same protocol and port.
func askedEnds(b builder, pieces ...piece) []rule {
	var out []rule
	for rest := b.Asked; len(rest) > 0; {
		first := rest[0]
		like := func(e Endpoint) bool {
			return e.UDP == first.UDP && e.At.Port() == first.At.Port() && e.At.Addr().BitLen() == first.At.Addr().BitLen()
		}
		var to []netip.Prefix
		for len(rest) > 0 && like(rest[0]) {
			to = append(to, netip.PrefixFrom(rest[0].At.Addr(), rest[0].At.Addr().BitLen()))
			rest = rest[1:]
		}
		by, address := tcp, ipDaddr
		if first.UDP {
			by = udp
		}
		if first.At.Addr().Is6() {
			address = ip6Daddr
		}
		port := toPorts([]match.PortRange{{First: first.At.Port(), Last: first.At.Port()}})
		out = append(out, newRule(append([]piece{address.in(distinct(to)), by, port}, pieces...)...))
	}
	return out
}

func (b builder) pairMask() uint32 { return b.Layout.CTUplinkMask() | b.Layout.CTPolicyMask() }

// trial matches this machine's echo requests from an address of the LAN.
func trial(b builder) []piece {
	var from []netip.Prefix
	for _, a := range b.Trials {
		from = append(from, netip.PrefixFrom(a, a.BitLen()))
	}
	return []piece{ownPacket, echoRequest6, ip6Saddr.in(distinct(from))}
}

// lanesOfProbes returns the rules that restore the uplink's lane on a probe,
// whatever mark other programs left on its packet.
func (b builder) lanesOfProbes() []rule {
	probe := ctMark(b.Layout.CTPolicyMask()).is(0)
	out := []rule{
		newRule(echoRequest4, probe, ctMark(b.pairMask()).vmap(restoreMap(failover.IPv4))).because("a probe"),
		newRule(echoRequest6, probe, ctMark(b.pairMask()).vmap(restoreMap(failover.IPv6))).because("a probe"),
	}
	for _, f := range failover.Families {
		of := builder{Goal{Asked: slices.DeleteFunc(slices.Clone(b.Asked), func(e Endpoint) bool { return failover.FamilyOf(e.At.Addr()) != f })}}
		for _, r := range askedEnds(of, probe, ctMark(b.pairMask()).vmap(restoreMap(f))) {
			out = append(out, r.because("a probe"))
		}
	}
	return out
}

// markOfProbes returns the entry of the restore maps for an uplink's probes. It
// remains when the uplink is lost.
func (b builder) markOfProbes(u Uplink) entry {
	return markEntry(b.Layout.CTPair(u.Lane, 0), of("lane", u.Lane))
}
