package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	match "swerve/rule"
)

// Rule assigns the flows that it matches to a policy. It matches packets of a flow's
// original direction before any translation of their source.
type Rule struct {
	match.Match
	// Set, if not empty, is the name of a set that the destination has to be in.
	Set    string
	Policy lane.Lane
	// Number is the rule's place in the configuration, from 0.
	Number int
}

// rulesChain has the user's rules.
const rulesChain = "by_rules"

// userRules returns the chains with the user's rules, of which the first that matches
// wins, and the maps of many. Rules of policies that do not exist are omitted.
func userRules(b builder) ([]chain, []verdictMap) {
	if len(b.Rules) >= mappedFrom {
		return mappedRules(b)
	}
	c := chain{name: rulesChain, about: "The user's rules, first match wins."}
	for _, r := range b.Rules {
		end, ok := b.leadTo(r.Policy)
		if !ok {
			continue
		}
		for _, match := range r.alternatives(b.Goal, failover.Families[:]...) {
			c.rules = append(c.rules, newRule(append(match, end)...).numbered(r.Number))
		}
	}
	return []chain{c}, nil
}

// leadTo returns the verdict for new flows of a policy. Those of the default policy have
// no mark.
func (g Goal) leadTo(p lane.Lane) (end piece, ok bool) {
	if p == lane.DefaultPolicy {
		return returns, true
	}
	return goTo(of("new", p)), slices.ContainsFunc(g.Policies, func(q Policy) bool { return q.Lane == p })
}

// alternatives returns what the rule matches, as matches of which one has to apply: for
// each family and interface its own.
func (r Rule) alternatives(g Goal, families ...failover.Family) [][]piece {
	devices := []piece{{}}
	if len(r.In) > 0 {
		devices = nil
		for _, name := range r.In {
			if name != "" && writable(name) {
				devices = append(devices, arrivesBy(name))
			}
		}
	}
	var out [][]piece
	for _, device := range devices {
		for _, addresses := range r.addresses(g, families) {
			out = append(out, slices.Concat([]piece{device}, r.fields(), addresses))
		}
	}
	return out
}

// fields returns the matches that do not depend on the family.
func (r Rule) fields() []piece {
	var out []piece
	if r.Mark.Mask != 0 {
		out = append(out, packetMark(r.Mark.Mask).is(r.Mark.Value))
	}
	if r.Proto != 0 {
		out = append(out, protocol("meta l4proto "+protocolName(r.Proto), expr.CmpOpEq, r.Proto))
	}
	if len(r.Ports) > 0 {
		out = append(out, toPorts(r.Ports))
	}
	return out
}

// addresses returns the matches of each family to which the rule applies; one for both
// if it does not depend on the family.
func (r Rule) addresses(g Goal, of []failover.Family) [][]piece {
	families := r.Families()
	if len(r.From) == 0 && len(r.To) == 0 && r.Set == "" && !r.HasDSCP {
		if len(of) == 1 {
			return [][]piece{nil} // which one it is is known
		}
		p, ok := whereFamilies(families)
		if !ok {
			return nil
		}
		return [][]piece{{p}}
	}
	var out [][]piece
	for _, f := range of {
		if !families[f] {
			continue
		}
		var match []piece
		if r.HasDSCP {
			match = append(match, dscp(f, r.DSCP))
		}
		for _, side := range []struct {
			address  address
			prefixes []netip.Prefix
		}{{[2]address{ipSaddr, ip6Saddr}[f], r.From}, {[2]address{ipDaddr, ip6Daddr}[f], r.To}} {
			if len(side.prefixes) > 0 {
				match = append(match, side.address.within(distinct(ofFamily(side.prefixes, f))))
			}
		}
		if r.Set != "" {
			if !g.hasSet(r.Set) {
				continue
			}
			match = append(match, [2]address{ipDaddr, ip6Daddr}[f].inSet(setName(r.Set, f)))
		}
		out = append(out, match)
	}
	return out
}

// within is in, also for all addresses of the family.
func (a address) within(prefixes []netip.Prefix) piece {
	if prefixes[0].Bits() == 0 {
		return nfproto(a.family)
	}
	return a.in(prefixes)
}

// protocolName returns an IP protocol as nft(8) writes it.
func protocolName(number uint8) string {
	switch number {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "ipv6-icmp"
	}
	return fmt.Sprint(number)
}

// dscp matches the differentiated services code point, RFC 2474: the upper six bits of
// the second byte in IPv4, bits 4 to 9 in IPv6.
func dscp(f failover.Family, value uint8) piece {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 1, Len: 1}
	mask, want, text := []byte{0xfc}, []byte{value << 2}, "ip dscp"
	if f == failover.IPv6 {
		load.Offset, load.Len, text = 0, 2, "ip6 dscp"
		mask, want = []byte{0x0f, 0xc0}, binary.BigEndian.AppendUint16(nil, uint16(value)<<6)
	}
	return piece{text: fmt.Sprintf("%s 0x%02x", text, value), exprs: append(nfproto(f).exprs,
		load,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	)}
}

// toPorts matches destination ports, of which there is at least one; the protocol must
// have been matched before.
func toPorts(ports []match.PortRange) piece {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	texts := make([]string, len(ports))
	for i, r := range ports {
		texts[i] = fmt.Sprint(r.First)
		if r.Last != r.First {
			texts[i] = fmt.Sprintf("%d-%d", r.First, r.Last)
		}
	}
	first, last := portBytes(ports[0].First), portBytes(ports[0].Last)
	switch {
	case len(ports) > 1:
		return piece{
			text: "th dport { " + strings.Join(texts, ", ") + " }", exprs: []expr.Any{load},
			set: &anonymousSet{keyType: nftables.TypeInetService, elements: portIntervals(ports)},
		}
	case slices.Equal(first, last):
		return piece{text: "th dport " + texts[0], exprs: []expr.Any{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: first}}}
	}
	return piece{text: "th dport " + texts[0], exprs: []expr.Any{load, &expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: first, ToData: last}}}
}

func portBytes(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// portIntervals converts sorted ranges that do not overlap to the kernel's half-open
// intervals.
func portIntervals(ports []match.PortRange) []nftables.SetElement {
	var out []nftables.SetElement
	if ports[0].First != 0 {
		out = append(out, nftables.SetElement{Key: portBytes(0), IntervalEnd: true})
	}
	for i, r := range ports {
		if i == 0 || ports[i-1].Last+1 != r.First {
			out = append(out, nftables.SetElement{Key: portBytes(r.First)})
		}
		touched := i+1 < len(ports) && ports[i+1].First == r.Last+1
		if r.Last != 0xffff && !touched {
			out = append(out, nftables.SetElement{Key: portBytes(r.Last + 1), IntervalEnd: true})
		}
	}
	return out
}
