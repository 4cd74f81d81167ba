package firewall

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// New flows of a policy whose first rung is shared are distributed by a hash of what the
// policy spreads by. Its range is divided between the members by weight. A member that is
// absent leaves its part to the others, whose own parts stay. Established flows have
// their lane, so a change concerns new ones alone.
const (
	hashRange    = 1 << 16
	hashSeed     = 0x53 // any; fixed, so that a restart changes nothing
	spreadingMap = "spreading"
)

func pickMap(n lane.Lane, f failover.Family) string { return of("pick", n) + "_" + f.String() }

// hashKeys has parts of the hash's range, as big-endian numbers. nft(8) knows no name for
// their type, and lists them as marks.
var hashKeys = keyKind{
	text: fmt.Sprintf("typeof numgen inc mod %d", hashRange), datatype: nftables.TypeMark, interval: true,
}

// spreading returns the policies that may have several members.
func (g Goal) spreading() []Policy {
	var out []Policy
	for _, p := range g.Policies {
		if p.Spread != NoSpread {
			out = append(out, p)
		}
	}
	return out
}

// span is a part of the hash's range: from, and up to before to.
type span struct {
	from, to uint32
	uplink   lane.Lane
}

// spans divides the hash's range between the members. There are none for fewer than two.
func (p Policy) spans(f failover.Family) []span {
	members := p.Members[f]
	if len(members) < 2 {
		return nil
	}
	tier := p.Tier[f]
	if slices.ContainsFunc(members, func(m Member) bool { return !slices.Contains(tier, m) }) {
		tier = members
	}
	var out []span
	for _, s := range divide(span{to: hashRange}, tier) {
		if slices.ContainsFunc(members, func(m Member) bool { return m.Uplink == s.uplink }) {
			out = append(out, s)
		} else {
			out = append(out, divide(s, members)...)
		}
	}
	merged := out[:1]
	for _, s := range out[1:] {
		if last := &merged[len(merged)-1]; last.uplink == s.uplink {
			last.to = s.to
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// divide divides a part of the range by weight.
func divide(s span, members []Member) []span {
	var total, before uint64
	for _, m := range members {
		total += uint64(max(m.Weight, 1))
	}
	var out []span
	from := s.from
	for _, m := range members {
		before += uint64(max(m.Weight, 1))
		to := s.from + uint32(uint64(s.to-s.from)*before/total)
		if to > from {
			out = append(out, span{from, to, m.Uplink})
		}
		from = to
	}
	return out
}

// pick has the members' parts; it is empty where the routes decide.
func pick(p Policy, f failover.Family) verdictMap {
	m := verdictMap{name: pickMap(p.Lane, f), keys: hashKeys}
	key := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	for _, s := range p.spans(f) {
		text := fmt.Sprintf("%d-%d", s.from, s.to-1)
		if s.to == s.from+1 {
			text = fmt.Sprint(s.from)
		}
		m.elements = append(m.elements, entry{key: key(s.from), text: text, chain: of("lane", s.uplink)}, entry{key: key(s.to), end: true})
	}
	return m
}

// picks returns the rules that lead a new flow to the lane of a member.
func picks(p Policy) []rule {
	if p.Spread == NoSpread {
		return nil
	}
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(hash(f, p.Spread).vmap(pickMap(p.Lane, f))))
	}
	return out
}

// hash is computed over the addresses, and for flows over the protocol and the ports too.
// The first field is loaded into the registers after the result's, each to a whole word.
func hash(f failover.Family, s Spread) field {
	saddr, daddr := [2]address{ipSaddr, ip6Saddr}[f], [2]address{ipDaddr, ip6Daddr}[f]
	load := nfproto(f).exprs
	register := uint32(unix.NFT_REG32_04)
	payload := func(base expr.PayloadBase, offset, length uint32) {
		load = append(load, &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length})
		register += (length + 3) / 4
	}
	text := saddr.text
	payload(expr.PayloadBaseNetworkHeader, saddr.offset, saddr.length)
	if s != Clients {
		text += " . " + daddr.text
		payload(expr.PayloadBaseNetworkHeader, daddr.offset, daddr.length)
	}
	if s == Flows {
		text += " . meta l4proto . th sport . th dport"
		load = append(load, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register})
		register++
		payload(expr.PayloadBaseTransportHeader, 0, 2)
		payload(expr.PayloadBaseTransportHeader, 2, 2)
	}
	return field{
		text: fmt.Sprintf("jhash %s mod %d seed 0x%x", text, hashRange, hashSeed),
		load: append(load,
			&expr.Hash{
				SourceRegister: unix.NFT_REG32_04, DestRegister: 1, Length: (register - unix.NFT_REG32_04) * 4,
				Modulus: hashRange, Seed: hashSeed, Type: expr.HashTypeJenkins,
			},
			// Intervals are compared byte by byte.
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4}),
	}
}

// spreadDefault returns the rules of prerouting, after the user's, for new flows of the
// default policy. Those of this machine itself follow the routes: their source is that
// of the uplink that was looked up for them.
func spreadDefault(b builder) []rule {
	if !slices.ContainsFunc(b.spreading(), isDefault) {
		return nil
	}
	return []rule{newRule(ctMark(b.pairMask()).is(0), waysVmap(spreadingMap)).because("leaves by an uplink")}
}

func isDefault(p Policy) bool { return p.Lane == lane.DefaultPolicy }

// wayOut is what waysVmap looks up; nft(8) takes it for another type than other names.
const wayOut = "fib daddr . mark oifname"

// waysVmap applies the verdict that the named map has for the device to which the
// routes lead, as they are for the packet's mark: the rules and routes of others have
// their turn before the default policy's.
func waysVmap(name string) piece {
	return field{wayOut, []expr.Any{&expr.Fib{Register: 1, ResultOIFNAME: true, FlagDADDR: true, FlagMARK: true}}}.vmap(name)
}

// waysBy matches packets that the routes lead to a device, likewise.
func waysBy(device string) piece {
	return piece{text: fmt.Sprintf("%s %q", wayOut, device), exprs: []expr.Any{
		&expr.Fib{Register: 1, ResultOIFNAME: true, FlagDADDR: true, FlagMARK: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(device)},
	}}
}

// defaultMaps and defaultChains are those of spreadDefault.
func defaultMaps(b builder) []verdictMap {
	if !slices.ContainsFunc(b.spreading(), isDefault) {
		return nil
	}
	m := b.devices(spreadingMap, "", every)
	m.keys.text = "typeof " + wayOut
	m.about = "Uplinks by device, to one of which the routes lead a new flow of the default policy."
	for i := range m.elements {
		m.elements[i].chain = of("new", lane.DefaultPolicy)
	}
	return []verdictMap{m}
}

func defaultChains(b builder) []chain {
	var out []chain
	for _, p := range b.spreading() {
		if isDefault(p) {
			out = append(out, chain{name: of("new", p.Lane), about: "The default policy's members.", rules: picks(p)})
		}
	}
	return out
}
