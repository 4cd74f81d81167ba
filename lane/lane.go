// Package lane has the numbers by which the kernel knows uplinks and policies:
// the lane itself, and where it stands in packet marks, conntrack marks, routing
// tables and rule priorities. The decision engine never names any of them.
package lane

import "math/bits"

// Protocol is the rtnetlink protocol of every route and rule of ours. It is not
// among those that rtnetlink.h or iproute2 name.
const Protocol = 83

// Lane is the small number by which the kernel knows an uplink or a policy: in
// packet marks, conntrack marks, routing tables and rule priorities. A name
// keeps its lane for as long as it is configured, also across restarts.
type Lane uint8

// The ranges of lanes.
const (
	// FirstUplink to LastUplink are the uplinks'.
	FirstUplink Lane = 1
	LastUplink  Lane = 63
	// DefaultPolicy is the default policy's; the other policies follow it, to LastPolicy.
	DefaultPolicy Lane = 64
	LastPolicy    Lane = 126
	// Nobody, in the place of a policy, says that a flow came in by its uplink.
	Nobody Lane = 127
)

// IsUplink reports whether the lane is an uplink's.
func (l Lane) IsUplink() bool { return l >= FirstUplink && l <= LastUplink }

// IsPolicy reports whether the lane is a policy's.
func (l Lane) IsPolicy() bool { return l >= DefaultPolicy && l <= LastPolicy }

// Layout says which bits and numbers of the kernel are ours.
type Layout struct {
	// MarkMask covers seven neighbouring bits of the packet mark: a lane.
	MarkMask uint32
	// CTMask covers fifteen neighbouring bits of the conntrack mark, the upper
	// seven those of MarkMask: from above the uplink's lane, one bit that says
	// that TCP's handshake is over, and the policy's lane.
	CTMask uint32
	// FirstPriority is the base of our rules' priorities, FirstTable that of
	// our tables: lane n has table FirstTable+n.
	FirstPriority, FirstTable int
}

// DefaultLayout is the layout unless the configuration says otherwise.
var DefaultLayout = Layout{MarkMask: 0x7f000000, CTMask: 0x7fff0000, FirstPriority: 5300, FirstTable: 5300}

// Offsets from [Layout.FirstPriority], to which the lane is added.
const (
	fromOffset           = 150
	oifOffset            = 250
	oifUnreachableOffset = 350
)

// Priorities of the two rules that stand before those of main and default
// (32766, 32767), whatever the layout.
const (
	MainAgainPriority  = 32764
	LastResortPriority = 32765
)

// PrioritySpan is how far the highest priority of a lane's rules lies above
// [Layout.FirstPriority].
const PrioritySpan = oifUnreachableOffset + int(LastUplink)

// MarkPriority is the priority of the rule for packets that bear the lane's mark.
func (l Layout) MarkPriority(n Lane) int { return l.FirstPriority + int(n) }

// FromPriority is the priority of the rule for sources on an uplink.
func (l Layout) FromPriority(n Lane) int { return l.FirstPriority + fromOffset + int(n) }

// OIFPriority is the priority of the rule for sockets bound to an uplink's device.
func (l Layout) OIFPriority(n Lane) int { return l.FirstPriority + oifOffset + int(n) }

// OIFUnreachablePriority is that of the rule by which such sockets find no other way.
func (l Layout) OIFUnreachablePriority(n Lane) int {
	return l.FirstPriority + oifUnreachableOffset + int(n)
}

// Mark is the packet mark of a lane.
func (l Layout) Mark(n Lane) uint32 { return uint32(n) << bits.TrailingZeros32(l.MarkMask) }

// Table is the routing table of a lane.
func (l Layout) Table(n Lane) int { return l.FirstTable + int(n) }

// LaneOf is the lane whose table it is; 0, nobody's, where there is none.
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

// CTEstablished is the bit of a conntrack mark that says that TCP's handshake is complete.
func (l Layout) CTEstablished() uint32 { return 0x80 << bits.TrailingZeros32(l.CTMask) }

// CTPair is the conntrack mark of a flow's uplink and policy, either 0 for none.
func (l Layout) CTPair(uplink, policy Lane) uint32 {
	return l.Mark(uplink) | uint32(policy)<<bits.TrailingZeros32(l.CTMask)
}

// CTLanes returns the two lanes of a conntrack mark.
func (l Layout) CTLanes(mark uint32) (uplink, policy Lane) {
	return Lane(mark & l.MarkMask >> bits.TrailingZeros32(l.MarkMask)),
		Lane(mark & l.CTPolicyMask() >> bits.TrailingZeros32(l.CTMask))
}
