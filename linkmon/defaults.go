package linkmon

import (
	"cmp"
	"sort"

	"swerve/failover"
)

// Default is an interface that holds a default route of another program in table
// main. `uplinks: auto` makes an uplink of it.
type Default struct {
	Interface string
	Index     int
	Family    failover.Family
	// Metric of the interface's best default of the family; lower is better.
	Metric uint32
	// Preference is the router's own (RFC 4191), which decides between equal metrics: -1
	// high, 0 medium and of IPv4, 1 low.
	Preference int
	// Tunnel: the device leads through another interface, as a VPN's does.
	Tunnel bool
	// Source names who made the route, as in [failover.FamilyLink].
	Source string
	// Weight is the interface's share of a default that several interfaces share, 1 to
	// 255; 0 where the default is the interface's alone. Those that share one have the
	// same metric.
	Weight int
	// Encapsulates: the interface's default has a program put packets into a tunnel header,
	// which our routes cannot, so that no gateway is learnt. Metric and Source are not set.
	Encapsulates bool
	// Gatewayless: the interface's default has no gateway, although the device is an
	// Ethernet or another one with ARP, and no address that it could be used with. Metric and Source are
	// not set.
	Gatewayless bool
}

// lacksAddress reports whether a hop without a gateway cannot be used on a device that
// has neighbours, since it has no address there.
func (b routeHop) lacksAddress(s state, d device, ipv6 bool) bool {
	return !b.hop.gateway.IsValid() && !d.needsNoGateway() && !b.route.shape.Source.IsValid() &&
		len(usable(s.addresses, d.index, ipv6, gateway{})) == 0
}

// defaultsOf lists each interface once per family, in the order of metric, family
// and index, those of a shared default in its order. Defaults from which no gateway can be learnt are left out, but
// for those that encapsulate or lack a gateway.
func defaultsOf(s state) []Default {
	var found []Default
	turn := map[int]int{} // of the devices in shared defaults
	for _, r := range s.defaults {
		for n, h := range r.hops {
			if r.shares() {
				turn[h.index] = max(turn[h.index], n)
			}
		}
	}
	for _, d := range s.devices {
		for _, family := range failover.Families {
			if best, ok := bestNextHop(s.defaults, d, family == failover.IPv6); ok && !best.lacksAddress(s, d, family == failover.IPv6) {
				weight := 0
				if best.route.shares() {
					weight = min(best.hop.weight, 255)
				}
				found = append(found, Default{
					Interface:  d.name,
					Index:      d.index,
					Family:     family,
					Metric:     best.route.metric,
					Preference: preferenceRank(best.route.preference) - 1,
					Tunnel:     d.tunnel(),
					Source:     protocolName(best.route.protocol),
					Weight:     weight,
				})
			} else if encapsulates(s.defaults, d, family == failover.IPv6) {
				found = append(found, Default{Interface: d.name, Index: d.index, Family: family, Encapsulates: true})
			} else if gatewayless(s.defaults, d, family == failover.IPv6) {
				found = append(found, Default{Interface: d.name, Index: d.index, Family: family, Gatewayless: true})
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { // not by package slices, whose code for this is 15 KB
		a, b := found[i], found[j]
		return cmp.Or(
			cmp.Compare(a.Metric, b.Metric),
			cmp.Compare(a.Family, b.Family),
			cmp.Compare(turn[a.Index], turn[b.Index]),
			cmp.Compare(a.Index, b.Index),
		) < 0
	})
	return found
}
