package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"swerve/failover"
)

// IP protocol numbers that rules treat in a way of their own.
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// protocols by name, as in IANA's registry of protocol numbers.
var protocols = map[string]uint8{
	"icmp": protoICMP, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47,
	"esp": 50, "ah": 51, "icmpv6": protoICMPv6, "ospf": 89, "pim": 103, "l2tp": 115, "sctp": 132, "udplite": 136,
}

// withPorts are the protocols that have ports.
var withPorts = []uint8{protocols["tcp"], protocols["udp"], protocols["dccp"], protocols["sctp"], protocols["udplite"]}

const wantProto = "tcp, udp, icmp, icmpv6, esp, gre or another protocol's name or number"

// protocol reads an IP protocol.
func protocol(d *decoder, n node) (uint8, bool) {
	s, ok := d.text(n, wantProto)
	if !ok {
		return 0, false
	}
	if p, ok := protocols[s]; ok {
		return p, true
	}
	p, err := strconv.ParseUint(s, 10, 8)
	if err != nil || p == 0 {
		d.wrong(n, show(s)+" is no protocol", wantProto)
		return 0, false
	}
	return uint8(p), true
}

// ports reads one port or a range.
func ports(d *decoder, n node) (PortRange, bool) {
	const want = "a port from 1 to 65535, or a range such as 8000-8100"
	s, ok := d.text(n, want)
	if !ok {
		return PortRange{}, false
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, ok1 := failover.ParsePort(strings.TrimSpace(from))
	last, ok2 := failover.ParsePort(strings.TrimSpace(to))
	switch {
	case !ok1 || !ok2:
		d.wrong(n, show(s)+" is no port or range", want)
	case first > last:
		d.wrong(n, show(s)+" ends before it begins", fmt.Sprintf("%d-%d", last, first))
	default:
		return PortRange{first, last}, true
	}
	return PortRange{}, false
}

// portSet reads ports and joins those that overlap or touch.
func portSet(d *decoder, n node) ([]PortRange, bool) {
	list, ok := oneOrMany(maxList, ports)(d, n)
	if !ok {
		return nil, false
	}
	slices.SortFunc(list, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var set []PortRange
	for _, r := range list {
		if n := len(set); n > 0 && int(r.First) <= int(set[n-1].Last)+1 {
			set[n-1].Last = max(set[n-1].Last, r.Last)
			continue
		}
		set = append(set, r)
	}
	return set, true
}

// dscps are the code points by name: RFC 2474 (CS), 2597 (AF), 3246 (EF),
// 5865 (VOICE-ADMIT), 8622 (LE).
var dscps = map[string]uint8{
	"be": 0, "le": 1, "ef": 46, "va": 44,
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
}

const maxDSCP = 63

func dscp(d *decoder, n node) (uint8, bool) {
	const want = "ef, af11 to af43, cs0 to cs7, be, le, va or a number from 0 to 63"
	s, ok := d.text(n, want)
	if !ok {
		return 0, false
	}
	if v, ok := dscps[strings.ToLower(s)]; ok {
		return v, true
	}
	v, err := parseInt(s)
	if err != nil || v < 0 || v > maxDSCP {
		d.wrong(n, show(s)+" is no code point", want)
		return 0, false
	}
	return uint8(v), true
}

// mark reads value or value/mask.
func mark(d *decoder, n node) (Mark, bool) {
	const want = "a mark such as 0x1/0xff, each part of 32 bits"
	s, ok := d.text(n, want)
	if !ok {
		return Mark{}, false
	}
	value, mask, hasMask := strings.Cut(s, "/")
	m := Mark{Mask: ^uint32(0)}
	v, ok := parseBits(value)
	if m.Value = v; hasMask && ok {
		m.Mask, ok = parseBits(mask)
	}
	switch {
	case !ok:
		d.wrong(n, show(s)+" is no mark", want)
	case m.Mask == 0:
		d.wrong(n, show(s)+" has an empty mask and matches all", "a mask, or no mark")
	case m.Value&^m.Mask != 0:
		d.wrong(n, show(s)+" has bits outside its mask and never matches",
			fmt.Sprintf("%#x/%#x", m.Value&m.Mask, m.Mask))
	default:
		return m, true
	}
	return Mark{}, false
}

func parseBits(s string) (uint32, bool) {
	v, err := parseInt(strings.TrimSpace(s))
	return uint32(v), err == nil && v >= 0 && v <= 1<<32-1
}

// bits reads a mask of 32 bits.
func bits(d *decoder, n node) (uint32, bool) {
	const want = "a mask such as 0x7f000000"
	s, ok := d.text(n, want)
	if !ok {
		return 0, false
	}
	v, ok := parseBits(s)
	if !ok {
		d.wrong(n, show(s)+" is no mask of 32 bits", want)
	}
	return v, ok
}
