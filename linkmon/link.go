package linkmon

import (
	"fmt"
	"net"
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
	// found: there was a device at some time.
	found bool
	// memory of the gateways that are learnt.
	memory [2]memory
	// former are the uplinks that were followed before this one was.
	former []*follower
	// link as it was last reported; reported is false before the first time.
	link     failover.Link
	reported bool
}

// locate finds the uplink's device in a new state, and reports whether there is one.
func (f *follower) locate(s state) bool {
	d, ok := f.uplink.find(s.devices, f.device)
	if !ok || d.index != f.device.index {
		f.memory = [2]memory{} // another device is another network
		if ok && !f.reported {
			f.memory = f.recall(s, d)
		}
	}
	f.device, f.former, f.found = d, nil, f.found || ok
	return ok
}

// missing returns the link of an uplink without a device. Until there was one, it is
// named as the configuration has it: an earlier one by which this uplink went is not
// the one that is missing.
func (f *follower) missing() failover.Link {
	if _, err := net.ParseMAC(f.uplink.Interface); f.found || err == nil {
		return failover.Link{}
	}
	return failover.Link{Interface: f.uplink.Interface}
}

// linkIn returns the link of the device that was located. isUplink says of a
// device's index whether it is an uplink's.
func (f *follower) linkIn(s state, isUplink func(index int) bool) failover.Link {
	d := f.device
	if d.index == 0 {
		return f.missing()
	}
	link := failover.Link{
		Interface: d.name,
		Index:     d.index,
		Present:   true,
		AdminUp:   d.adminUp(),
		Carrier:   d.carrier(),
		VRF:       s.vrfOf(d),
	}
	if link.VRF != "" {
		return link
	}
	for _, family := range failover.Families {
		link.Family[family] = f.familyIn(s, family, isUplink)
	}
	return link
}

func (f *follower) familyIn(s state, family failover.Family, isUplink func(index int) bool) failover.FamilyLink {
	ipv6 := family == failover.IPv6
	if ipv6 && !f.uplink.IPv6 {
		return failover.FamilyLink{}
	}
	gw, withdrawn := f.gatewayIn(s, family)
	lapsed := withdrawn && gw.lacksSource(s, f.memory[family].addresses)
	gw = gw.withoutOwn(s, f.device.index).overridden(f.uplink.Route[family]).withSourceOf(s)
	link := failover.FamilyLink{
		Addresses:    usable(s.addresses, f.device.index, ipv6, gw),
		Gateway:      gw.addr,
		PointToPoint: gw.pointToPoint,
		Direct:       gw.pointToPoint && !f.device.needsNoGateway(),
		Withdrawn:    withdrawn && gw.known(),
		Source:       gw.from,
		Shape:        gw.shape,
		Uncarried:    gw.uncarried,
		Prefixes:     sourcesOf(s.defaults, f.device, ipv6),
	}
	if !ipv6 {
		link.Inside = insideOf(s, f.device.index, gw.addr, isUplink)
	}
	if lapsed && !f.uplink.Route[family].Shape.Source.IsValid() {
		link.Addresses = nil // the kernel has no route by any of them
		return link
	}
	if gw.known() && !s.isPort(f.device) {
		link.Elsewhere = gw.preferredElsewhere(s, link.Addresses)
	}
	if len(link.Addresses) == 0 {
		link.Pending = pending(s.addresses, f.device.index, ipv6)
		if gw.known() && !s.isPort(f.device) {
			link.Elsewhere = append(link.Elsewhere, slices.DeleteFunc(borrowed(s, ipv6, isUplink), func(p netip.Prefix) bool {
				return slices.Contains(link.Elsewhere, p)
			})...)
		}
	}
	return link
}

// gatewayIn is the configured gateway, or else the one that is learnt, and whether
// the route that it was learnt from is gone. What shapes the packets is learnt in
// either case.
func (f *follower) gatewayIn(s state, family failover.Family) (g gateway, withdrawn bool) {
	spec := f.uplink.Gateway[family]
	g, withdrawn = f.learntIn(s, family)
	switch {
	case spec.None:
		g.addr, g.pointToPoint, g.from = netip.Addr{}, true, "config"
		return g, false
	case spec.Addr.IsValid():
		g.addr, g.pointToPoint, g.from = spec.Addr.WithZone(""), false, "config"
		return g, false
	}
	return g, withdrawn
}

// learntIn is what is learnt from the default routes, or remembered of them.
func (f *follower) learntIn(s state, family failover.Family) (g gateway, withdrawn bool) {
	ipv6, device, spec := family == failover.IPv6, f.device, f.uplink.Gateway[family]
	if spec.None {
		device.flags |= unix.IFF_POINTOPOINT // so that a default without a gateway counts
	}
	now := learnBy(s.defaults, device, ipv6, spec.Addr)
	addresses := usable(s.addresses, f.device.index, ipv6, gateway{})
	if now.direct && len(addresses) == 0 && !now.shape.Source.IsValid() {
		now = gateway{}
	}
	m := f.memory[family].next(now, addresses)
	f.memory[family] = m
	g = m.gateway
	if now.uncarried != "" {
		g.uncarried = now.uncarried // also of a default from which nothing is learnt
	}
	return g, m.withdrawn
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
	if !source.IsValid() || s.has(source) {
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

// lacksSource reports whether the preferred source was on another device, and is no
// address of this machine now. The kernel deleted the route with it. The device's own
// addresses, which it had then, are no replacement: packets never had them.
func (g gateway) lacksSource(s state, own []netip.Prefix) bool {
	source := g.shape.Source
	on := func(p netip.Prefix) bool { return p.Addr() == source }
	return source.IsValid() && !slices.ContainsFunc(own, on) && !s.has(source)
}

// has reports whether an address is this machine's, and may be a packet's source.
func (s state) has(a netip.Addr) bool {
	return slices.ContainsFunc(s.addresses, func(b address) bool {
		return b.prefix.Addr() == a && (b.flags&unix.IFA_F_TENTATIVE == 0 || b.flags&unix.IFA_F_OPTIMISTIC != 0)
	})
}

// preferredElsewhere returns the preferred source, if it is a global address of this
// machine that is not among those of the device: traffic has it as its source, and the
// provider may know no way back to any other one. It may be deprecated.
func (g gateway) preferredElsewhere(s state, addresses []netip.Prefix) []netip.Prefix {
	source := g.shape.Source
	if !source.IsGlobalUnicast() || slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr() == source }) {
		return nil
	}
	for _, a := range s.addresses {
		if a.prefix.Addr() == source && a.flags&unix.IFA_F_DADFAILED == 0 {
			return []netip.Prefix{a.prefix}
		}
	}
	return nil
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
