package failover

import "math/bits"

// Lane is the small number by which the kernel knows an uplink or a policy: in
// packet marks, conntrack marks, routing tables and rule priorities. A name
// keeps its lane for as long as it is configured, also across restarts.
type Lane uint8

// The ranges of lanes.
const (
	FirstUplinkLane Lane = 1
	LastUplinkLane  Lane = 63
	// DefaultPolicyLane is the default policy's.
	DefaultPolicyLane Lane = 64
	LastPolicyLane    Lane = 126
	// NobodyLane as a policy says that a flow came in by its uplink.
	NobodyLane Lane = 127
)

// IsUplink reports whether the lane is an uplink's.
func (l Lane) IsUplink() bool { return l >= FirstUplinkLane && l <= LastUplinkLane }

// IsPolicy reports whether the lane is a policy's.
func (l Lane) IsPolicy() bool { return l >= DefaultPolicyLane && l <= LastPolicyLane }

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

// Mark is the packet mark of a lane.
func (l Layout) Mark(n Lane) uint32 { return uint32(n) << bits.TrailingZeros32(l.MarkMask) }

// Table is the routing table of a lane.
func (l Layout) Table(n Lane) int { return l.FirstTable + int(n) }

// CTUplinkMask covers the uplink's lane in a conntrack mark.
func (l Layout) CTUplinkMask() uint32 { return l.MarkMask }

// CTPolicyMask covers the policy's lane in a conntrack mark.
func (l Layout) CTPolicyMask() uint32 { return 0x7f << bits.TrailingZeros32(l.CTMask) }

// CTEstablished is the bit of a conntrack mark that says that TCP's handshake is over.
func (l Layout) CTEstablished() uint32 { return 0x80 << bits.TrailingZeros32(l.CTMask) }

// CTPair is the conntrack mark of a flow's uplink and policy, either 0 for none.
func (l Layout) CTPair(uplink, policy Lane) uint32 {
	return l.Mark(uplink) | uint32(policy)<<bits.TrailingZeros32(l.CTMask)
}

// CTLanes takes a conntrack mark's two lanes apart.
func (l Layout) CTLanes(mark uint32) (uplink, policy Lane) {
	return Lane(mark & l.MarkMask >> bits.TrailingZeros32(l.MarkMask)),
		Lane(mark & l.CTPolicyMask() >> bits.TrailingZeros32(l.CTMask))
}
