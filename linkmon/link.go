package linkmon

import "swerve/failover"

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

// locate finds the uplink's device in a new state, and reports whether there is one.
func (f *follower) locate(s state) bool {
	d, ok := f.uplink.find(s.devices, f.device)
	if !ok || d.index != f.device.index {
		f.memory = [2]memory{} // another device is another network
	}
	f.device = d
	return ok
}

// linkIn returns the link of the device that was located. isUplink says of a
// device's index whether it is an uplink's.
func (f *follower) linkIn(s state, isUplink func(index int) bool) failover.Link {
	d := f.device
	if d.index == 0 {
		return failover.Link{}
	}
	link := failover.Link{
		Interface: d.name,
		Index:     d.index,
		Present:   true,
		AdminUp:   d.adminUp(),
		Carrier:   d.carrier(),
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
	gw = gw.withoutOwn(s)
	link := failover.FamilyLink{
		Addresses:    usable(s.addresses, f.device.index, ipv6, gw),
		Gateway:      gw.addr,
		PointToPoint: gw.pointToPoint,
		Withdrawn:    withdrawn && gw.known(),
		Source:       gw.from,
	}
	if len(link.Addresses) == 0 {
		link.Pending = pending(s.addresses, f.device.index, ipv6)
		if gw.known() {
			link.Elsewhere = borrowed(s, ipv6, isUplink)
		}
	}
	return link
}

// gatewayIn is the configured gateway, or else the one that is learnt, and whether
// the route that it was learnt from is gone.
func (f *follower) gatewayIn(s state, family failover.Family) (g gateway, withdrawn bool) {
	switch spec := f.uplink.Gateway[family]; {
	case spec.None:
		return gateway{pointToPoint: true, from: "config"}, false
	case spec.Addr.IsValid():
		return gateway{addr: spec.Addr.WithZone(""), from: "config"}, false
	}
	ipv6 := family == failover.IPv6
	now := learn(s.defaults, f.device, ipv6)
	addresses := usable(s.addresses, f.device.index, ipv6, gateway{})
	m := f.memory[family].next(now, addresses)
	f.memory[family] = m
	return m.gateway, m.withdrawn
}

// gatewayFamily returns the family whose gateway a neighbour is.
func (f *follower) gatewayFamily(hop nextHop) (failover.Family, bool) {
	for _, family := range failover.Families {
		if f.link.Present && f.link.Index == hop.index && f.link.Family[family].Gateway == hop.ip {
			return family, true
		}
	}
	return 0, false
}
