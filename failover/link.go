package failover

import "net/netip"

// Link is what the kernel reports of an uplink's interface.
type Link struct {
	// Interface is the kernel's present name, Index its number; empty and 0
	// while there is no such interface.
	Interface string
	Index     int
	// Present: the interface exists. AdminUp: it is switched on (IFF_UP).
	// Carrier: the driver reports a signal (IFF_LOWER_UP).
	Present, AdminUp, Carrier bool
	Family                    [2]FamilyLink
}

// FamilyLink is a link's addressing in one family.
type FamilyLink struct {
	// Addresses are the usable global ones with their prefix lengths, sorted:
	// no link-local, tentative, failed, or deprecated ones.
	Addresses []netip.Prefix
	// Gateway is the next hop; invalid while unknown, or where there is none.
	Gateway netip.Addr
	// PointToPoint: there is no next hop, the route names the device alone.
	PointToPoint bool
	// Source is where the gateway is known from, such as "dhcp", "ra", "static"
	// or "config"; empty while unknown.
	Source string
	// Shape is what the route that the gateway was learnt from says of its packets,
	// and the configuration's overrides. Uncarried is what else that route, or the
	// configuration, says and our routes cannot have; empty for nothing.
	Shape     Shape
	Uncarried string
}

// Offered reports whether the family has all that a default route needs:
// an address, and a gateway where it needs one.
func (f *FamilyLink) Offered() bool {
	return len(f.Addresses) > 0 && (f.Gateway.IsValid() || f.PointToPoint)
}

// Routable reports whether the kernel accepts a default route by this link: the
// interface is there and switched on, and the family is offered.
func (l *Link) Routable(f Family) bool {
	return l.Present && l.AdminUp && l.Family[f].Offered()
}

// Equal reports whether two links are the same in all fields.
func (l Link) Equal(o Link) bool {
	if l.Interface != o.Interface || l.Index != o.Index || l.Present != o.Present ||
		l.AdminUp != o.AdminUp || l.Carrier != o.Carrier {
		return false
	}
	for _, f := range Families {
		if !l.Family[f].equal(o.Family[f]) {
			return false
		}
	}
	return true
}

func (f FamilyLink) equal(o FamilyLink) bool {
	return f.Shape == o.Shape && f.Uncarried == o.Uncarried && f.leadsAs(o)
}

// leadsAs reports whether packets go the same way by both, whatever their shape.
func (f FamilyLink) leadsAs(o FamilyLink) bool {
	if f.Gateway != o.Gateway || f.PointToPoint != o.PointToPoint || f.Source != o.Source ||
		len(f.Addresses) != len(o.Addresses) {
		return false
	}
	for i, a := range f.Addresses {
		if a != o.Addresses[i] {
			return false
		}
	}
	return true
}
