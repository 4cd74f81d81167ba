package linkmon

import (
	"cmp"
	"slices"

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
	// Ethernet or another one with ARP, so that none is learnt. Metric and Source are
	// not set.
	Gatewayless bool
}

// defaultsOf lists each interface once per family, in the order of metric, family
// and index. Defaults from which no gateway can be learnt are left out, but
// for those that encapsulate or lack a gateway.
func defaultsOf(s state) []Default {
	var found []Default
	for _, d := range s.devices {
		for _, family := range failover.Families {
			if best, ok := bestNextHop(s.defaults, d, family == failover.IPv6); ok {
				weight := 0
				if best.route.shares() {
					weight = min(best.hop.weight, 255)
				}
				found = append(found, Default{
					Interface: d.name,
					Index:     d.index,
					Family:    family,
					Metric:    best.route.metric,
					Tunnel:    d.tunnel(),
					Source:    protocolName(best.route.protocol),
					Weight:    weight,
				})
			} else if encapsulates(s.defaults, d, family == failover.IPv6) {
				found = append(found, Default{Interface: d.name, Index: d.index, Family: family, Encapsulates: true})
			} else if gatewayless(s.defaults, d, family == failover.IPv6) {
				found = append(found, Default{Interface: d.name, Index: d.index, Family: family, Gatewayless: true})
			}
		}
	}
	slices.SortFunc(found, func(a, b Default) int {
		return cmp.Or(
			cmp.Compare(a.Metric, b.Metric),
			cmp.Compare(a.Family, b.Family),
			cmp.Compare(a.Index, b.Index),
		)
	})
	return found
}
