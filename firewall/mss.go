package firewall

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"

	"swerve/failover"
)

// The maximum segment size that TCP's SYN and SYN-ACK tell is clamped to what an uplink
// carries, in both directions: in those that leave by it to the path's, which includes what
// the kernel has learnt of the destination; in those that come in by it to what the
// interface and its route carry. The kernel only ever makes it smaller. Segments of
// established connections meet no further rule for that.

// Names of the map and the chains for what comes in.
const (
	clampedMap     = "clamped"
	clampChain     = "clamp"
	unsettledChain = "unsettled"
)

// Headers of IP and TCP without options, and the smallest MTUs (RFC 791 with room for both
// headers' options, RFC 8200).
var (
	headerSizes = [2]int{failover.IPv4: 40, failover.IPv6: 60}
	leastMTU    = [2]int{failover.IPv4: 128, failover.IPv6: 1280}
)

// clamps returns, by family, the segment size for what comes in by the uplink; 0 where it
// is not known what the uplink carries.
func (u Uplink) clamps() (sizes [2]int) {
	for _, f := range failover.Families {
		if u.MTU[f] >= leastMTU[f] && u.MTU[f]-headerSizes[f] <= 0xffff {
			sizes[f] = u.MTU[f] - headerSizes[f]
		}
	}
	return sizes
}

func clampsAny(u Uplink) bool { return u.clamps() != [2]int{} }

// clampOf returns the rules that clamp what comes in by an uplink; SYNs have been matched.
func clampOf(u Uplink) []rule {
	var out []rule
	for _, f := range failover.Families {
		if size := u.clamps()[f]; size > 0 {
			out = append(out, newRule(nfproto(f), segmentSize(uint16(size))))
		}
	}
	return out
}

// clamped maps the interfaces of uplinks to their chains.
func clamped(b builder) verdictMap {
	return b.devices(clampedMap, clampChain, clampsAny)
}

// unsettled returns the chains for forwarded TCP whose handshake is not over, or that has
// no lanes.
func unsettled(b builder) []chain {
	var out []chain
	for _, u := range b.Uplinks {
		if u.Interface != "" && clampsAny(u) {
			out = append(out, chain{name: of(clampChain, u.Lane), rules: clampOf(u)})
		}
	}
	return append(out, chain{
		name:  unsettledChain,
		about: "Forwarded TCP before the end of its handshake.",
		rules: []rule{
			newRule(tcp, bareReset, arrivesOnHold, drop).because("to a segment that left before its flow was held"),
			newRule(tcp, beginning, arrivesVmap(clampedMap)),
		},
	})
}

// clampToPath clamps to the path of the packet and of its way back.
var clampToPath = piece{text: "tcp option maxseg size set rt mtu", exprs: []expr.Any{
	&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
	&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
	writeSegmentSize,
}}

func segmentSize(n uint16) piece {
	return piece{text: fmt.Sprintf("tcp option maxseg size set %d", n), exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, n)},
		writeSegmentSize,
	}}
}

const tcpMaxSegment = 2

// writeSegmentSize writes the register to TCP's option 2 (RFC 9293), after its kind and
// length.
var writeSegmentSize = &expr.Exthdr{SourceRegister: 1, Type: tcpMaxSegment, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}
