package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// MainTable is the table to which network managers and people add their routes.
const MainTable = unix.RT_TABLE_MAIN

// BlockMetric is the metric of the unreachable route that ends the ladder of a
// policy without a last resort.
const BlockMetric = 9999

// Slot is a place in a routing table. A replace puts a new route in the place of
// another one of the same slot.
type Slot struct {
	Family failover.Family
	Table  int
	// Dst is 0.0.0.0/0 or ::/0 for all routes that are wanted, except for those that
	// overrule pins in main.
	Dst netip.Prefix
	// Src is the source that an IPv6 route is for (RTA_SRC), invalid for any. It is
	// invalid for all routes that are wanted. Among routes to the same destination
	// those for a source come first, whatever their metrics.
	Src netip.Prefix
	// TOS is the type of service; 0 for all routes that are wanted.
	TOS uint8
	// Metric: lower is preferred. It is never 0 in IPv6.
	Metric uint32
}

// Type is a route's RTN_ value.
type Type uint8

// The types of routes that are wanted.
const (
	Unicast     Type = unix.RTN_UNICAST
	Unreachable Type = unix.RTN_UNREACHABLE
)

// String returns the keyword of ip(8), empty for a unicast route.
func (t Type) String() string {
	switch t {
	case Unicast:
		return ""
	case Unreachable:
		return "unreachable"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	case unix.RTN_THROW:
		return "throw"
	}
	return fmt.Sprintf("type %d", uint8(t)) // never wanted; read only from others
}

// Route is one route of a table.
type Route struct {
	Slot
	// Protocol is ours in every State, and the owner's in a list of foreign routes.
	Protocol uint8
	Type     Type
	// Hops of a unicast route; several share the load. Which of them a flow takes
	// follows from their order, which is that of the shares: the same order as in
	// another program's route means the same hops. Routes whose hops differ in their
	// order alone are the same.
	Hops []Hop
	// Shape is what the route says of the packets that take it; its Realm and Encap
	// are unused, since each hop has its own.
	Shape failover.Shape
	// object is the number of the nexthop object that a route of others uses.
	object uint32
}

// Hop is one next hop of a route.
type Hop struct {
	// Device is the interface's name for the text of a command. It is empty in
	// routes that were read, since the kernel reports only numbers.
	Device string
	// Index is the interface's number.
	Index int
	// Gateway is the gateway's address, of either family; invalid where the route
	// names only the device.
	Gateway netip.Addr
	// OnLink: the gateway counts as a neighbour whatever the addresses say.
	OnLink bool
	// Weight is the share of a route with several hops, 1 to 256; 1 with one hop.
	Weight int
	// Realm of a hop of IPv4; 0 for none.
	Realm uint32
	// Encap is the header that packets are put into.
	Encap failover.Encap
}

// key returns the part of a hop that the kernel knows.
func (h Hop) key() Hop {
	h.Device = ""
	return h
}

func compareHops(a, b Hop) int {
	return cmp.Or(cmp.Compare(a.Index, b.Index), a.Gateway.Compare(b.Gateway), cmp.Compare(a.Weight, b.Weight),
		cmp.Compare(a.Realm, b.Realm), cmp.Compare(a.Encap.Type, b.Encap.Type), cmp.Compare(a.Encap.Data, b.Encap.Data))
}

// sameAs reports whether both routes have the same effect in the same slot.
func (r Route) sameAs(o Route) bool {
	return r.Slot == o.Slot && r.Protocol == o.Protocol && r.Type == o.Type && r.Shape == o.Shape &&
		slices.EqualFunc(r.sortedHops(), o.sortedHops(), func(a, b Hop) bool { return a.key() == b.key() })
}

func compareSlots(a, b Slot) int {
	if c := cmp.Or(cmp.Compare(a.Family, b.Family), compareTables(a.Table, b.Table)); c != 0 {
		return c // as mostly
	}
	return cmp.Or(
		a.Dst.Addr().Compare(b.Dst.Addr()),
		cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
		cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(a.TOS, b.TOS),
		a.Src.Addr().Compare(b.Src.Addr()),
		cmp.Compare(a.Src.Bits(), b.Src.Bits()),
	)
}

// compareTables orders main last: our own tables carry the traffic.
func compareTables(a, b int) int {
	if (a == MainTable) != (b == MainTable) {
		if a == MainTable {
			return 1
		}
		return -1
	}
	return cmp.Compare(a, b)
}

func compareRoutes(a, b Route) int {
	if c := compareSlots(a.Slot, b.Slot); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Type, b.Type), slices.CompareFunc(a.sortedHops(), b.sortedHops(), compareHops))
}

// sortedHops are the hops by device.
func (r Route) sortedHops() []Hop {
	if len(r.Hops) < 2 {
		return r.Hops
	}
	return slices.SortedFunc(slices.Values(r.Hops), compareHops)
}

// anywhere returns the destination of a default route.
func anywhere(f failover.Family) netip.Prefix {
	if f == failover.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// where returns the route's slot in the syntax of ip(8).
func (r Route) where() string {
	var b strings.Builder
	if t := r.Type.String(); t != "" {
		b.WriteString(t + " ")
	}
	if r.Dst.Bits() == 0 {
		b.WriteString("default")
	} else {
		b.WriteString(r.Dst.String())
	}
	if r.Src.IsValid() {
		b.WriteString(" from " + r.Src.String())
	}
	if r.TOS != 0 {
		fmt.Fprintf(&b, " tos %#x", r.TOS)
	}
	fmt.Fprintf(&b, " table %s proto %d metric %d", tableName(r.Table), r.Protocol, r.Metric)
	return b.String()
}

// String returns the route in the syntax of ip(8), as after "ip route replace".
func (r Route) String() string {
	switch len(r.Hops) {
	case 0:
		return r.where()
	case 1:
		return r.where() + r.Hops[0].text(r.Family) + shapeText(r.Shape)
	}
	var b strings.Builder
	b.WriteString(r.where() + shapeText(r.Shape))
	for _, h := range r.Hops {
		fmt.Fprintf(&b, " nexthop%s weight %d", h.text(r.Family), h.Weight)
	}
	return b.String()
}

func (h Hop) text(f failover.Family) string {
	var b strings.Builder
	switch {
	case !h.Gateway.IsValid():
	case h.Gateway.Is6() && f == failover.IPv4:
		fmt.Fprintf(&b, " via inet6 %s", h.Gateway)
	default:
		fmt.Fprintf(&b, " via %s", h.Gateway)
	}
	if h.Device != "" {
		b.WriteString(" dev " + shellWord(h.Device))
	}
	if h.OnLink {
		b.WriteString(" onlink")
	}
	if h.Realm != 0 {
		b.WriteString(" realm " + realmText(h.Realm))
	}
	b.WriteString(encapText(h.Encap))
	return b.String()
}

func tableName(t int) string {
	if t == MainTable {
		return "main"
	}
	return fmt.Sprint(t)
}
