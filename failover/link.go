package failover

import (
	"net/netip"
	"slices"
)

// Link is what the kernel reports of an uplink's interface.
type Link struct {
	// Interface is the kernel's present name, Index its number; empty and 0
	// while there is no such interface.
	Interface string
	Index     int
	// Present: the interface exists. AdminUp: it is switched on (IFF_UP).
	// Carrier: the driver reports a signal (IFF_LOWER_UP).
	Present, AdminUp, Carrier bool
	// MTU is the largest packet that the interface carries, in bytes; 0 if unknown.
	MTU int
	// VRF is the name of the VRF that the interface belongs to; empty for none. What comes
	// in by it is routed by that VRF's table then, so Family offers nothing.
	VRF    string
	Family [2]FamilyLink
}

// FamilyLink is a link's addressing in one family.
type FamilyLink struct {
	// Addresses are the usable global ones with their prefix lengths, sorted:
	// no link-local, tentative, failed, or deprecated ones.
	Addresses []netip.Prefix
	// Elsewhere are addresses of this machine that are not among Addresses and that
	// packets by the uplink have as their source. The first one is the preferred source of
	// its default route (Shape.Source), where that is such an address: the provider may
	// route a public block through a private network. Others are there only where the
	// uplink has no address of its own: those from which the kernel chooses, on devices
	// that are no uplink's. A provider that gives a link-local address alone and
	// delegates a prefix to the LAN leaves it so.
	Elsewhere []netip.Prefix
	// Pending: the kernel is checking an address for duplicates (RFC 4862), which
	// will be usable soon.
	Pending bool
	// Gateway is the next hop; invalid while unknown, or where there is none.
	Gateway netip.Addr
	// Withdrawn: the route from which the gateway was learnt is gone.
	Withdrawn bool
	// PointToPoint: there is no next hop, the route names the device alone.
	PointToPoint bool
	// Direct: PointToPoint, though the device has neighbours, as an Ethernet has: the
	// kernel looks for each destination on the link itself.
	Direct bool
	// Source is where the gateway is known from, such as "dhcp", "ra", "static"
	// or "config"; empty while unknown.
	Source string
	// Prefixes are the sources for which the link has default routes of their own
	// (IPv6 only), sorted: the public ones among them, which are native to it.
	Prefixes []netip.Prefix
	// Inside are parts of the link's own networks (IPv4 only) that table main leads to
	// devices that are no uplinks', sorted: their addresses are neighbours of the
	// provider's router, and native to the link.
	Inside []netip.Prefix
	// Shape is what the route that the gateway was learnt from says of its packets,
	// and the configuration's overrides. Uncarried is what else that route, or the
	// configuration, says and our routes cannot have; empty for nothing.
	Shape     Shape
	Uncarried string
}

// Sources are the addresses that packets by the uplink can have as their source,
// the best first: a preferred one that is elsewhere, its own, else those elsewhere.
func (f *FamilyLink) Sources() []netip.Prefix {
	if len(f.Addresses) > 0 && len(f.Elsewhere) == 0 {
		return f.Addresses
	}
	return slices.Concat(f.Elsewhere, f.Addresses)
}

// Own are the sources that are the uplink's own: those on its device, and a preferred one
// that is elsewhere.
func (f *FamilyLink) Own() []netip.Prefix {
	if len(f.Elsewhere) > 0 && f.Elsewhere[0].Addr() == f.Shape.Source {
		return slices.Concat(f.Elsewhere[:1], f.Addresses)
	}
	return f.Addresses
}

// Preferred returns the preferred source of the uplink's default route where the kernel
// does not masquerade with it, since it is not on the uplink's device, or not
// in the gateway's network as another address is; invalid where it does, or where the
// route prefers none.
func (f *FamilyLink) Preferred() netip.Addr {
	source := f.Shape.Source
	if !source.IsValid() {
		return source
	}
	near := func(p netip.Prefix) bool { return p.Contains(f.Gateway) }
	for _, p := range f.Addresses {
		if p.Addr() == source && (near(p) || !slices.ContainsFunc(f.Addresses, near)) {
			return netip.Addr{}
		}
	}
	if !slices.ContainsFunc(f.Sources(), func(p netip.Prefix) bool { return p.Addr() == source }) {
		return netip.Addr{}
	}
	return source
}

// Offered reports whether the family has all that a default route needs: a source
// for the packets that take it, and a way.
func (f *FamilyLink) Offered() bool { return f.hasSource() && f.hasWay() }

func (f *FamilyLink) hasSource() bool { return len(f.Addresses) > 0 || len(f.Elsewhere) > 0 }

// hasWay reports whether the next hop is known, or none is needed.
func (f *FamilyLink) hasWay() bool { return f.Gateway.IsValid() || f.PointToPoint }

// Routable reports whether the kernel accepts a default route by this link: the
// interface is there and switched on, and the family is offered.
func (l *Link) Routable(f Family) bool {
	return l.Present && l.AdminUp && l.Family[f].Offered()
}

// Lapsed reports whether all but a source is there. The kernel accepts a route by
// such a link, and an address that is renewed may be back in a moment.
func (l *Link) Lapsed(f Family) bool {
	family := &l.Family[f]
	return l.Present && l.AdminUp && l.Carrier && !family.hasSource() && family.hasWay()
}

// Equal reports whether two links are the same in all fields.
func (l Link) Equal(o Link) bool {
	if l.Interface != o.Interface || l.Index != o.Index || l.Present != o.Present ||
		l.AdminUp != o.AdminUp || l.Carrier != o.Carrier || l.MTU != o.MTU || l.VRF != o.VRF {
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
	return f.sameWay(o) && f.Direct == o.Direct && f.Source == o.Source && f.Withdrawn == o.Withdrawn && f.Pending == o.Pending &&
		slices.Equal(f.Prefixes, o.Prefixes) && slices.Equal(f.Inside, o.Inside) &&
		f.Shape == o.Shape && f.Uncarried == o.Uncarried
}

// sameWay reports whether packets by the one go the way of those by the other, and
// with the same source, whatever their shape.
func (f FamilyLink) sameWay(o FamilyLink) bool {
	return f.Gateway == o.Gateway && f.PointToPoint == o.PointToPoint &&
		slices.Equal(f.Addresses, o.Addresses) && slices.Equal(f.Elsewhere, o.Elsewhere)
}
