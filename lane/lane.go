// Package lane defines the numbers that identify uplinks and policies in the kernel:
// the lane itself, and its encoding in packet marks, conntrack marks, routing tables
// and rule priorities. The decision engine does not use them.
package lane

import "math/bits"

// Protocol is the rtnetlink protocol of every route and rule of ours. Neither
// rtnetlink.h nor iproute2 assigns it.
const Protocol = 83

// Lane is the small number that identifies an uplink or a policy in packet marks,
// conntrack marks, routing tables and rule priorities. A name keeps its lane for as
// long as it is configured, also across restarts.
type Lane uint8

// The ranges of lanes.
const (
	// FirstUplink to LastUplink are the lanes of uplinks.
	FirstUplink Lane = 1
	LastUplink  Lane = 63
	// DefaultPolicy is the lane of the default policy. Those of the other policies
	// follow it, up to LastPolicy.
	DefaultPolicy Lane = 64
	LastPolicy    Lane = 126
	// Nobody, in the place of a policy, means that a flow came in by its uplink.
	Nobody Lane = 127
)

// IsUplink reports whether the lane is an uplink's.
func (l Lane) IsUplink() bool { return l >= FirstUplink && l <= LastUplink }

// IsPolicy reports whether the lane is a policy's.
func (l Lane) IsPolicy() bool { return l >= DefaultPolicy && l <= LastPolicy }

// Layout defines which bits of marks, tables and priorities are ours.
type Layout struct {
	// MarkMask covers seven contiguous bits of the packet mark, for a lane.
	MarkMask uint32
	// CTMask covers fifteen contiguous bits of the conntrack mark, the upper seven of
	// them those of MarkMask. From the top they are the uplink's lane, a bit that is
	// set once TCP's handshake is complete, and the policy's lane.
	CTMask uint32
	// FirstPriority is the base of the priorities of our rules, FirstTable that of our
	// tables: lane n has the table FirstTable+n.
	FirstPriority, FirstTable int
}

// DefaultLayout is the layout unless the configuration overrides it.
var DefaultLayout = Layout{MarkMask: 0x7f000000, CTMask: 0x7fff0000, FirstPriority: 5300, FirstTable: 5300}

// Offsets from [Layout.FirstPriority], to which the lane is added.
const (
	fromOffset           = 150
	oifOffset            = 250
	oifUnreachableOffset = 350
)

// Priorities of the two rules directly before those for main and default (32766,
// 32767), whatever the layout.
const (
	MainAgainPriority  = 32764
	LastResortPriority = 32765
)

// PrioritySpan is the difference between the highest priority of a lane's rules and
// [Layout.FirstPriority].
const PrioritySpan = oifUnreachableOffset + int(LastUplink)

// MarkPriority returns the priority of the rule for packets with the lane's mark.
func (l Layout) MarkPriority(n Lane) int { return l.FirstPriority + int(n) }

// FromPriority returns the priority of the rules for source addresses on an uplink.
func (l Layout) FromPriority(n Lane) int { return l.FirstPriority + fromOffset + int(n) }

// OIFPriority returns the priority of the rule for sockets bound to an uplink's
// device.
func (l Layout) OIFPriority(n Lane) int { return l.FirstPriority + oifOffset + int(n) }

// OIFUnreachablePriority returns the priority of the rule that keeps such sockets off
// other uplinks.
func (l Layout) OIFUnreachablePriority(n Lane) int {
	return l.FirstPriority + oifUnreachableOffset + int(n)
}

// Mark returns the packet mark of a lane.
func (l Layout) Mark(n Lane) uint32 { return uint32(n) << bits.TrailingZeros32(l.MarkMask) }

// Table returns the routing table of a lane.
func (l Layout) Table(n Lane) int { return l.FirstTable + int(n) }

// LaneOf returns the lane that a table belongs to, 0 if it belongs to none.
func (l Layout) LaneOf(table int) Lane {
	n := table - l.FirstTable
	if n < int(FirstUplink) || n > int(LastPolicy) {
		return 0
	}
	return Lane(n)
}

// CTUplinkMask covers the uplink's lane in a conntrack mark.
func (l Layout) CTUplinkMask() uint32 { return l.MarkMask }

// CTPolicyMask covers the policy's lane in a conntrack mark.
func (l Layout) CTPolicyMask() uint32 { return 0x7f << bits.TrailingZeros32(l.CTMask) }

// CTEstablished is the bit of a conntrack mark that is set once TCP's handshake is
// complete.
func (l Layout) CTEstablished() uint32 { return 0x80 << bits.TrailingZeros32(l.CTMask) }

// CTRetried is the uppermost bit of CTUplinkMask, which no uplink's lane has. It is set
// while a TCP handshake is under way whose first segment was sent more than once.
func (l Layout) CTRetried() uint32 { return l.Mark(DefaultPolicy) }

// CTPair returns the conntrack mark of a flow's uplink and policy, either 0 for none.
func (l Layout) CTPair(uplink, policy Lane) uint32 {
	return l.Mark(uplink) | uint32(policy)<<bits.TrailingZeros32(l.CTMask)
}

// CTLanes returns the two lanes of a conntrack mark.
func (l Layout) CTLanes(mark uint32) (uplink, policy Lane) {
	return Lane(mark & l.MarkMask >> bits.TrailingZeros32(l.MarkMask)),
		Lane(mark & l.CTPolicyMask() >> bits.TrailingZeros32(l.CTMask))
}
