package linkmon

import (
	"net/netip"
	"slices"

	"swerve/failover"
)

// A follower that begins may find its device in use: another uplink was followed by it
// until this reload, or an earlier run routed by it. That no default route stands at
// this moment says as little then as it does later.

// recall returns what is remembered of the gateways of a device that is followed for
// the first time.
func (f *follower) recall(s state, d device) (all [2]memory) {
	for _, family := range failover.Families {
		ipv6 := family == failover.IPv6
		i := slices.IndexFunc(f.former, func(o *follower) bool {
			return o.device.index == d.index && o.uplink.Gateway[family] == f.uplink.Gateway[family] && (!ipv6 || o.uplink.IPv6)
		})
		switch {
		case i >= 0:
			all[family] = f.former[i].memory[family]
		case f.uplink.Held != nil && f.uplink.Held[family].Index == d.index:
			all[family] = f.uplink.Held[family].memory(d, usable(s.addresses, d.index, ipv6, gateway{}))
		}
	}
	return all
}

// memory returns what is remembered of the next hop on its device, which has these
// addresses now: nothing if the next hop is no neighbour any more.
func (h Held) memory(d device, now []netip.Prefix) memory {
	g := gateway{addr: h.Gateway, pointToPoint: !h.Gateway.IsValid(), from: "swerve", shape: h.Shape}
	m := memory{gateway: g, withdrawn: true}
	for _, a := range h.Sources {
		m.addresses = append(m.addresses, netip.PrefixFrom(a, a.BitLen()))
	}
	switch {
	case g.pointToPoint && !d.needsNoGateway():
		return memory{}
	case g.pointToPoint || len(m.addresses) > 0:
	case len(now) == 0:
		m.addresses = []netip.Prefix{netip.PrefixFrom(g.addr.WithZone(""), g.addr.BitLen())} // its network is to be seen
	case g.addr.IsLinkLocalUnicast() || slices.ContainsFunc(now, func(p netip.Prefix) bool { return p.Contains(g.addr) }):
		m.addresses = now
	default:
		return memory{}
	}
	if m.moved(now) {
		return memory{}
	}
	return m
}
