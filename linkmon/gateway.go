package linkmon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// How a gateway is learnt, for each uplink and family:
//
//  1. The configuration takes precedence, if it names a gateway or says that there
//     is none.
//  2. Otherwise it is learnt from the default routes of table main that lead
//     through the uplink's device and are not ours, no matter who made them: a DHCP
//     client, router advertisements, PPP, a routing daemon or a person. The lowest
//     metric wins (0 is the lowest), then the router's own preference (RFC 4191),
//     then the lowest address. Each hop of a multipath route counts by itself.
//  3. A default without a gateway means that none is needed, if the device is
//     point-to-point or has no ARP. On other devices such a route is ignored:
//     zeroconf programs leave one on every interface.
//  4. A point-to-point device without any default needs no gateway either. (pppd is
//     often configured to make no default route.)
//  5. A gateway is remembered after its route is gone, and called withdrawn then:
//     DHCP clients delete the route at each renewal and add it again, network
//     managers do when they are restarted, and the kernel removes IPv4 routes when
//     an interface is switched off and does not restore them. Whether the gateway
//     still works is for the probes to say. It is remembered until another default
//     route appears, until the device is another one, or until the device is in
//     another network: it has addresses, none of which it had before, and the
//     gateway is in the network of none.
//
// Ignored are other tables (VRFs, wg-quick), the pairs of /1 routes that VPNs make
// in place of a default, defaults for one TOS value, and IPv4 routes through an IPv6
// next hop (RFC 5549). Where those are in use, the configuration has to name the
// gateway.

// gateway is what is known of the next hop of an uplink in one family.
type gateway struct {
	addr         netip.Addr
	pointToPoint bool
	// from names who made the route that it was learnt from, or "config" or
	// "device"; empty while nothing is known.
	from string
	// source is the source address that this route prefers; often invalid.
	source netip.Addr
}

func (g gateway) known() bool { return g.from != "" }

// needsNoGateway reports whether packets can be sent on the device without a next
// hop, so that a default route without a gateway is valid.
func (d device) needsNoGateway() bool {
	return d.flags&(unix.IFF_POINTOPOINT|unix.IFF_NOARP) != 0
}

// learn returns the gateway of a device by the default routes.
func learn(defaults []route, d device, ipv6 bool) gateway {
	best, ok := bestNextHop(defaults, d, ipv6)
	switch {
	case ok:
		return gateway{
			addr:         best.hop.gateway,
			pointToPoint: !best.hop.gateway.IsValid(),
			from:         protocolName(best.route.protocol),
			source:       best.route.source,
		}
	case d.flags&unix.IFF_POINTOPOINT != 0:
		return gateway{pointToPoint: true, from: "device"}
	}
	return gateway{}
}

// routeHop is one hop of one default route.
type routeHop struct {
	route route
	hop   hop
}

// bestNextHop returns the hop that gives a device its gateway.
func bestNextHop(defaults []route, d device, ipv6 bool) (routeHop, bool) {
	var found []routeHop
	for _, r := range defaults {
		if r.ipv6 != ipv6 || r.tos != 0 {
			continue
		}
		for _, h := range r.hops {
			if h.index == d.index && h.usableOn(d, ipv6) {
				found = append(found, routeHop{r, h})
			}
		}
	}
	if len(found) == 0 {
		return routeHop{}, false
	}
	return slices.MinFunc(found, compareHops), true
}

// usableOn reports whether a gateway of the family can be learnt from a hop.
func (h hop) usableOn(d device, ipv6 bool) bool {
	if !h.gateway.IsValid() {
		return d.needsNoGateway()
	}
	return h.gateway.Is6() == ipv6
}

func compareHops(a, b routeHop) int {
	return cmp.Or(
		cmp.Compare(a.route.metric, b.route.metric),
		cmp.Compare(preferenceRank(a.route.preference), preferenceRank(b.route.preference)),
		a.hop.gateway.Compare(b.hop.gateway),
	)
}

// preferenceRank orders RFC 4191's two-bit preference: high (01), medium (00), low (11).
func preferenceRank(p uint8) int {
	switch p & 3 {
	case 1:
		return 0
	case 3:
		return 2
	}
	return 1
}

// protocolName names who made a route, as ip(8) does.
func protocolName(p uint8) string {
	switch p {
	case unix.RTPROT_REDIRECT:
		return "redirect"
	case unix.RTPROT_KERNEL:
		return "kernel"
	case unix.RTPROT_BOOT:
		return "boot"
	case unix.RTPROT_STATIC:
		return "static"
	case unix.RTPROT_RA:
		return "ra"
	case unix.RTPROT_DHCP:
		return "dhcp"
	case unix.RTPROT_ZEBRA:
		return "zebra"
	case unix.RTPROT_BIRD:
		return "bird"
	case unix.RTPROT_BGP:
		return "bgp"
	case unix.RTPROT_OSPF:
		return "ospf"
	}
	return fmt.Sprintf("protocol %d", p)
}

// memory is what is remembered of a gateway between two readings.
type memory struct {
	gateway gateway
	// withdrawn: the route that it was learnt from is gone.
	withdrawn bool
	// addresses that the device had when the gateway was learnt.
	addresses []netip.Prefix
}

// next is the memory after a reading: now is what was learnt from the routes,
// addresses are the device's of this family.
func (m memory) next(now gateway, addresses []netip.Prefix) memory {
	switch {
	case now.known():
		return memory{gateway: now, addresses: addresses}
	case m.moved(addresses):
		return memory{}
	}
	m.withdrawn = m.gateway.known()
	return m
}

// moved reports whether the device is in another network: it has addresses, none
// that it had before, and none in whose network the gateway is.
func (m memory) moved(now []netip.Prefix) bool {
	return len(now) > 0 && len(m.addresses) > 0 && !slices.ContainsFunc(now, func(p netip.Prefix) bool {
		return slices.Contains(m.addresses, p) || p.Contains(m.gateway.addr)
	})
}
