package routing

import (
	"net/netip"

	"swerve/failover"
	"swerve/lane"
)

// Goal is everything that determines which of our routes and rules the kernel
// should hold.
type Goal struct {
	Layout lane.Layout
	// Mirror puts the default policy's ladder into the main table as well, for
	// programs that look only there.
	Mirror bool
	// NoIPv6: IPv6 is off on this machine, so it gets no IPv6 routes and rules.
	NoIPv6 bool
	// Uplinks and Policies in any order; the default policy is the one with its lane.
	Uplinks  []Uplink
	Policies []Policy
	// Foreign are the default routes of other programs, see [Netlink.ReadOthers]. Their
	// slots are not used.
	Foreign []Route
	// Pins are host routes of other programs, see [Netlink.Pins].
	Pins []Route
	// ForeignRules are the rules of other programs that ours have to heed, see
	// [Netlink.ReadOthers].
	ForeignRules []ForeignRule
	// KeepForeign leaves defaults of main in force that are on no uplink of ours and
	// better than those of all uplinks; see [Goal.ForeignDefault].
	KeepForeign bool
	// Strangers are devices, by index, whose default routes never take the traffic
	// from the uplinks: nothing masquerades there, and nothing shows that the machine's
	// traffic went by them before.
	Strangers []int
	// Unused are the devices, by index, of uplinks that are switched off: they are
	// ours too.
	Unused []int
	// Former are addresses of devices that were uplinks'.
	Former []Former
}

// Former is an address of a device that was an uplink's. What has it as its source leaves by
// that device if main's default does.
type Former struct {
	Address netip.Addr
	Index   int
}

// Uplink is what routing needs to know about one uplink.
type Uplink struct {
	// Lane is 1 to 63.
	Lane lane.Lane
	// Interface is the device's present name, or its last known name while it is
	// absent: its rules match the name, and stay. Empty: never seen, no such rules.
	Interface string
	// Index is the device's number; 0 while it is absent.
	Index int
	// Strict: reverse path filtering of IPv4 is strict on the device, and the packet
	// filter gives what comes in by it the lane's mark.
	Strict bool
	Family [2]Path
}

// Path is an uplink's path to the internet in one family.
type Path struct {
	// Routable: the kernel accepts a default route by the uplink. Otherwise the path
	// has no routes.
	Routable bool
	// Gateway is the next hop; invalid where routes name only the device. IPv4 may
	// have an IPv6 gateway (RFC 5549).
	Gateway netip.Addr
	// Addresses of this machine from which packets leave by the uplink.
	Addresses []netip.Addr
	// Shape is what the routes say of the packets that take them.
	Shape failover.Shape
	// MainMetric is that of the uplink's own default in main, as last seen while the
	// path was routable; nil where there was none.
	MainMetric *uint32
	// Lost: a policy's sessions have left the uplink as it is lost. What else leads to it
	// is overruled.
	Lost bool
	// Avoided: new flows go elsewhere, since the operator drains the uplink, or since
	// it is silent and another one is not.
	Avoided bool
	// FromRule: packets of local sockets bound to one of the addresses leave by this
	// uplink. False while it is lost, or once its drain after a failback is over.
	FromRule bool
}

// PathOf returns the path of a link in a family.
func PathOf(l failover.Link, f failover.Family, fromRule bool) Path {
	p := Path{Routable: l.Routable(f), Shape: l.Family[f].Shape, FromRule: fromRule}
	if !l.Family[f].PointToPoint {
		p.Gateway = l.Family[f].Gateway.WithZone("")
	}
	for _, a := range l.Family[f].Sources() {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// Policy is the ladder of one policy, by family.
type Policy struct {
	// Lane is 64, the default policy's, to 126.
	Lane   lane.Lane
	Family [2]Ladder
}

// Ladder is a policy's order of uplinks. Shares whose uplink is not routable are
// skipped.
type Ladder struct {
	// Rungs, best first.
	Rungs []Rung
	// Block ends the ladder with an unreachable route.
	Block bool
}

// Rung is one uplink, or several that share the load.
type Rung []Share

// Share is an uplink's part of a rung.
type Share struct {
	Uplink lane.Lane
	// Weight is 1 to 255, relative to the other shares of the rung.
	Weight int
}
