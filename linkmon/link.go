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
	gw := f.gatewayIn(s, family, lost).withoutOwn(s)
	return failover.FamilyLink{
		Addresses:    usable(s.addresses, f.device.index, ipv6, gw),
		Gateway:      gw.addr,
		PointToPoint: gw.pointToPoint,
		Source:       gw.from,
	}
}

// gatewayIn is the configured gateway, or else the one that is learnt.
func (f *follower) gatewayIn(s state, family failover.Family, lost bool) gateway {
	switch spec := f.uplink.Gateway[family]; {
	case spec.None:
		return gateway{pointToPoint: true, from: "config"}
	case spec.Addr.IsValid():
		return gateway{addr: spec.Addr.WithZone(""), from: "config"}
	}
	ipv6 := family == failover.IPv6
	now := learn(s.defaults, f.device, ipv6)
	addresses := usable(s.addresses, f.device.index, ipv6, gateway{})
	f.memory[family] = f.memory[family].next(now, addresses, lost)
	return f.memory[family].gateway
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
