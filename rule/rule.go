// Package rule defines what a policy rule matches, and when one match covers another.
// The configuration reads rules, the packet filter applies them and `swerve explain`
// evaluates them; all three must interpret them in the same way.
package rule

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"swerve/failover"
)

// Match defines which packets a rule applies to. Empty fields match all packets.
type Match struct {
	// From and To are sources and destinations, of either family.
	From, To []netip.Prefix
	// In are the interfaces by which the traffic enters.
	In []string
	// Proto is an IP protocol number, 0 for any.
	Proto uint8
	// Ports of the destination, sorted and without overlap.
	Ports []PortRange
	// DSCP is matched, 0 to 63, where HasDSCP is set.
	HasDSCP bool
	DSCP    uint8
	// Mark is matched where its mask is not 0.
	Mark Mark
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// Mark matches a packet mark: mark & Mask == Value. The mask never covers the bits
// that Swerve sets itself.
type Mark struct{ Value, Mask uint32 }

// Families reports, by family, whether the match can apply to any packet of it.
func (m Match) Families() [2]bool {
	both := [2]bool{true, true}
	for _, list := range [][]netip.Prefix{m.From, m.To} {
		if len(list) > 0 {
			in := FamiliesOf(list)
			both = [2]bool{both[0] && in[0], both[1] && in[1]}
		}
	}
	switch m.Proto {
	case ICMP:
		both[failover.IPv6] = false
	case ICMPv6:
		both[failover.IPv4] = false
	}
	return both
}

// FamiliesOf reports, by family, whether any of the prefixes belongs to it.
func FamiliesOf(list []netip.Prefix) (has [2]bool) {
	for _, p := range list {
		has[failover.FamilyOf(p.Addr())] = true
	}
	return has
}

// IP protocol numbers that belong to one family.
const (
	ICMP   = 1
	ICMPv6 = 58
)

// protocols are IP protocols by name, from IANA's registry of protocol numbers.
var protocols = map[string]uint8{
	"icmp": ICMP, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47,
	"esp": 50, "ah": 51, "icmpv6": ICMPv6, "ospf": 89, "pim": 103, "l2tp": 115, "sctp": 132, "udplite": 136,
}

// withPorts are the protocols that have ports.
var withPorts = []uint8{protocols["tcp"], protocols["udp"], protocols["dccp"], protocols["sctp"], protocols["udplite"]}

// HasPorts reports whether an IP protocol has ports.
func HasPorts(protocol uint8) bool { return slices.Contains(withPorts, protocol) }

// ParseProtocol parses an IP protocol: its IANA name in lower case, or its number, 1
// to 255.
func ParseProtocol(s string) (uint8, bool) {
	if p, ok := protocols[s]; ok {
		return p, true
	}
	p, err := strconv.ParseUint(s, 10, 8)
	return uint8(p), err == nil && p != 0
}

// MaxDSCP is the highest code point: the field has six bits (RFC 2474).
const MaxDSCP = 63

// dscps are the code points by name: RFC 2474 (CS), RFC 2597 (AF), RFC 3246 (EF),
// RFC 5865 (VOICE-ADMIT), RFC 8622 (LE).
var dscps = map[string]uint8{
	"be": 0, "le": 1, "ef": 46, "va": 44,
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
}

// WantDSCP says what ParseDSCP takes.
const WantDSCP = "ef, af11 to af43, cs0 to cs7, be, le, va or a number from 0 to 63"

// ParseDSCP parses a code point: a name such as ef or af11, in any case, or a number,
// decimal or 0x….
func ParseDSCP(s string) (uint8, bool) {
	s = strings.ToLower(s)
	if v, ok := dscps[s]; ok {
		return v, true
	}
	digits, base := s, 10
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		digits, base = hex, 16
	}
	v, err := strconv.ParseUint(digits, base, 8)
	return uint8(v), err == nil && v <= MaxDSCP
}

// DSCPNames are the names of code points, sorted.
func DSCPNames() []string { return slices.Sorted(maps.Keys(dscps)) }
