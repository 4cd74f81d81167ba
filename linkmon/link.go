package linkmon

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// follower is an uplink as the watch follows it from reading to reading.
type follower struct {
	uplink Uplink
	// device as of the last reading; index 0 while there is none.
	device device
	// memory of the gateways that are learnt.
	memory [2]memory
	// link as it was last reported; reported is false before the first time.
	link     failover.Link
	reported bool
}

// linkIn finds the uplink's link in a new state. lost says that the device was
// without carrier, or switched off, since the last reading.
func (f *follower) linkIn(s state, lost bool) failover.Link {
	d, ok := f.uplink.find(s.devices, f.device)
	if !ok || d.index != f.device.index {
		f.memory = [2]memory{} // another device is another network
	}
	f.device = d
	if !ok {
		return failover.Link{}
	}
	link := failover.Link{
		Interface: d.name,
		Index:     d.index,
		Present:   true,
		AdminUp:   d.adminUp(),
		Carrier:   d.carrier(),
	}
	lost = lost || !link.AdminUp || !link.Carrier
	for _, family := range failover.Families {
		link.Family[family] = f.familyIn(s, family, lost)
	}
	return link
}

func (f *follower) familyIn(s state, family failover.Family, lost bool) failover.FamilyLink {
	ipv6 := family == failover.IPv6
	if ipv6 && !f.uplink.IPv6 {
		return failover.FamilyLink{}
	}
	gw := f.gatewayIn(s, family, lost).withoutOwn(s).overridden(f.uplink.Route[family]).withSourceOf(s)
	return failover.FamilyLink{
		Addresses:    usable(s.addresses, f.device.index, ipv6, gw),
		Gateway:      gw.addr,
		PointToPoint: gw.pointToPoint,
		Source:       gw.from,
		Shape:        gw.shape,
		Uncarried:    gw.uncarried,
	}
}

// gatewayIn is the configured gateway, or else the one that is learnt. What shapes the
// packets is learnt in either case.
func (f *follower) gatewayIn(s state, family failover.Family, lost bool) gateway {
	spec, learnt := f.uplink.Gateway[family], f.learntIn(s, family, lost)
	switch {
	case spec.None:
		learnt.addr, learnt.pointToPoint, learnt.from = netip.Addr{}, true, "config"
	case spec.Addr.IsValid():
		learnt.addr, learnt.pointToPoint, learnt.from = spec.Addr.WithZone(""), false, "config"
	}
	return learnt
}

// learntIn is what is learnt from the default routes, or remembered of them.
func (f *follower) learntIn(s state, family failover.Family, lost bool) gateway {
	ipv6, device, spec := family == failover.IPv6, f.device, f.uplink.Gateway[family]
	if spec.None {
		device.flags |= unix.IFF_POINTOPOINT // so that a default without a gateway counts
	}
	now := learnBy(s.defaults, device, ipv6, spec.Addr)
	addresses := usable(s.addresses, f.device.index, ipv6, gateway{})
	f.memory[family] = f.memory[family].next(now, addresses, lost)
	if !f.memory[family].gateway.known() {
		return gateway{uncarried: now.uncarried}
	}
	return f.memory[family].gateway
}

// overridden replaces what the configuration tells of the shape.
func (g gateway) overridden(o failover.Override) gateway {
	g.shape = g.shape.Overridden(o)
	return g
}

// withSourceOf leaves out a preferred source that is no address of this machine: the
// kernel rejects routes with such a one.
func (g gateway) withSourceOf(s state) gateway {
	source := g.shape.Source
	if !source.IsValid() || slices.ContainsFunc(s.addresses, func(a address) bool {
		return a.prefix.Addr() == source && (a.flags&unix.IFA_F_TENTATIVE == 0 || a.flags&unix.IFA_F_OPTIMISTIC != 0)
	}) {
		return g
	}
	g.shape.Source = netip.Addr{}
	absent := fmt.Sprintf("its source %s is no address of this machine now", source)
	if g.uncarried != "" {
		absent = g.uncarried + "; " + absent
	}
	g.uncarried = absent
	return g
}

// gatewayFamilies returns the families whose gateway a neighbour is. It may be both:
// IPv4 may have an IPv6 gateway.
func (f *follower) gatewayFamilies(hop nextHop) (found []failover.Family) {
	for _, family := range failover.Families {
		if f.link.Present && f.link.Index == hop.index && f.link.Family[family].Gateway == hop.ip {
			found = append(found, family)
		}
	}
	return found
}
