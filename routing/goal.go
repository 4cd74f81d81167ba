package routing

import (
	"net/netip"

	"swerve/failover"
	"swerve/lane"
)

// Goal is all that decides what the kernel should hold of ours.
type Goal struct {
	Layout lane.Layout
	// Mirror puts the default policy's ladder into the main table as well, for
	// programs that look only there.
	Mirror bool
	// NoIPv6: this machine speaks no IPv6, so it gets no IPv6 rules.
	NoIPv6 bool
	// Uplinks and Policies in any order; the default policy is the one with its lane.
	Uplinks  []Uplink
	Policies []Policy
	// Foreign are the default routes of others, see [Netlink.Foreign]. Their slots
	// are left alone.
	Foreign []Route
}

// Uplink is one uplink as the kernel has to know it.
type Uplink struct {
	// Lane is 1 to 63.
	Lane lane.Lane
	// Interface is the device's present name, or the last one known while it is
	// absent: its rules go by the name and stay. Empty: never seen, no such rules.
	Interface string
	// Index is the device's number; 0 while it is absent.
	Index  int
	Family [2]Path
}

// Path is an uplink's way out in one family.
type Path struct {
	// Routable: the kernel takes a default route by it. Only then it has routes.
	Routable bool
	// Gateway is the next hop; invalid where the device alone is the way. IPv4
	// may go by an IPv6 gateway (RFC 5549).
	Gateway netip.Addr
	// Addresses of this machine on the uplink.
	Addresses []netip.Addr
	// FromRule: local sockets bound to one of the addresses leave by this uplink.
	// False while it is lost, or drained for good.
	FromRule bool
}

// PathOf takes from a link what a Path needs.
func PathOf(l failover.Link, f failover.Family, fromRule bool) Path {
	p := Path{Routable: l.Routable(f), FromRule: fromRule}
	if !l.Family[f].PointToPoint {
		p.Gateway = l.Family[f].Gateway.WithZone("")
	}
	for _, a := range l.Family[f].Addresses {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// Policy is one policy's way out, by family.
type Policy struct {
	// Lane is 64, the default policy's, to 126.
	Lane   lane.Lane
	Family [2]Ladder
}

// Ladder is a policy's order of uplinks. Shares whose uplink is not routable are
// passed over.
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
	// Weight is 1 to 255, relative to the rung's other shares.
	Weight int
}
