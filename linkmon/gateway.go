package linkmon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// How a gateway is learnt, for each uplink and family:
//
//  1. The configuration takes precedence, if it names a gateway or says that there
//     is none.
//  2. Otherwise it is learnt from the default routes of table main that lead
//     through the uplink's device and are not ours, no matter who made them: a DHCP
//     client, router advertisements, PPP, a routing daemon or a person. The lowest
//     metric wins (0 is the lowest), then the router's own preference (RFC 4191),
//     then the lowest address. Of a multipath route the first hop by the device
//     counts. Nexthop objects are looked up (nexthop.go).
//  3. A default without a gateway means that none is needed. On an Ethernet the
//     kernel then asks for the hardware address of each destination, which works
//     where the provider answers for all of them; whether it does is for the probes
//     to say. There it counts only if the device has an address that it can be used
//     with: zeroconf programs leave such a route on interfaces that have but a
//     link-local one.
//  4. A point-to-point device without any default needs no gateway either. (pppd is
//     often configured to make no default route.)
//  5. A gateway is remembered after its route is gone, and called withdrawn then:
//     DHCP clients delete the route at each renewal and add it again, network
//     managers do when they are restarted, and the kernel removes IPv4 routes when
//     an interface is switched off and does not restore them. Whether the gateway
//     still works is for the probes to say. It is remembered until another default
//     route appears, until the device is another one, or until the device is in
//     another network: it has addresses, none of which it had before, and the
//     gateway is in the network of none. A default without a gateway on an Ethernet
//     replaces it only if its metric is as good: a worse one stood there before. The
//     memory outlives a reload that gives the device another uplink, and the daemon:
//     the next run finds the gateway in its own routes (recall.go).
//
// An IPv6 default for one source (default from 2001:db8:1::/56 via …) gives a
// gateway where there is none for any source: the uplink can live by that source,
// and by what is masqueraded with an address of it. The package routing sees to
// it that the packets of that source go on to take that route.
//
// Ignored are other tables (VRFs, wg-quick), the pairs of /1 routes that VPNs make
// in place of a default, defaults for one TOS value, and hops that encapsulate in a way
// that the kernel does not tell in full (encap bpf).
// Where those are in use, the configuration has to name the gateway.
//
// With the gateway comes the [failover.Shape] of its route, also where the
// configuration names the gateway. What our routes cannot have of it is told.

// gateway is what is known of the next hop of an uplink in one family.
type gateway struct {
	addr         netip.Addr
	pointToPoint bool
	// direct: pointToPoint, on a device with a neighbour for each address.
	direct bool
	// metric of the route that it was learnt from.
	metric uint32
	// from names who made the route that it was learnt from, or "config" or
	// "device"; empty while nothing is known.
	from string
	// shape is what this route says of its packets, and uncarried what else it says.
	shape     failover.Shape
	uncarried string
	// source is the one that this route is for, invalid for any.
	source netip.Prefix
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
		shape := best.route.shape
		shape.Realm, shape.Encap = best.hop.realm, best.hop.encap
		return gateway{
			addr:         best.hop.gateway,
			pointToPoint: !best.hop.gateway.IsValid(),
			direct:       !best.hop.gateway.IsValid() && !d.needsNoGateway(),
			metric:       best.route.metric,
			from:         protocolName(best.route.protocol),
			shape:        shape,
			uncarried:    best.uncarried(d, ipv6),
			source:       best.route.source,
		}
	case encapsulates(defaults, d, ipv6):
		return gateway{uncarried: "it encapsulates packets by a program (encap bpf), so no gateway is learnt from it"}
	case d.flags&unix.IFF_POINTOPOINT != 0:
		return gateway{pointToPoint: true, from: "device"}
	}
	return gateway{}
}

// learnBy is learn, but by the routes through a gateway that is configured, where
// there are any.
func learnBy(defaults []route, d device, ipv6 bool, configured netip.Addr) gateway {
	var through []route
	for _, r := range defaults {
		r.hops = slices.DeleteFunc(slices.Clone(r.hops), func(h hop) bool { return h.gateway != configured })
		if len(r.hops) > 0 {
			through = append(through, r)
		}
	}
	if g := learn(through, d, ipv6); configured.IsValid() && g.from != "device" && g != (gateway{}) {
		return g
	}
	return learn(defaults, d, ipv6)
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
		if hops := r.hopsOn(d, ipv6); len(hops) > 0 {
			found = append(found, routeHop{r, hops[0]})
		}
	}
	if len(found) == 0 {
		return routeHop{}, false
	}
	if plain := slices.DeleteFunc(slices.Clone(found), func(b routeHop) bool { return b.route.source.IsValid() }); len(plain) > 0 {
		found = plain
	}
	return slices.MinFunc(found, compareHops), true
}

// hopsOn returns the hops of a default route from which a gateway of the family can be
// learnt for a device.
func (r route) hopsOn(d device, ipv6 bool) (found []hop) {
	if r.ipv6 != ipv6 || r.tos != 0 {
		return nil
	}
	for _, h := range r.hops {
		if h.index == d.index && h.usable(ipv6) {
			found = append(found, h)
		}
	}
	return found
}

// usable reports whether a gateway of the family, or that there is none, can be learnt
// from a hop.
func (h hop) usable(ipv6 bool) bool {
	return h.encap.Type != unix.LWTUNNEL_ENCAP_BPF && (!h.gateway.IsValid() || h.gateway.Is6() || !ipv6)
}

// encapsulates reports whether a default by the device encapsulates its packets in a way
// that our routes cannot.
func encapsulates(defaults []route, d device, ipv6 bool) bool {
	return slices.ContainsFunc(defaults, func(r route) bool {
		return r.ipv6 == ipv6 && slices.ContainsFunc(r.hops, func(h hop) bool { return h.index == d.index && h.encap.Type == unix.LWTUNNEL_ENCAP_BPF })
	})
}

// gatewayless reports whether a default by the device has no gateway, although the
// device needs one.
func gatewayless(defaults []route, d device, ipv6 bool) bool {
	return !d.needsNoGateway() && slices.ContainsFunc(defaults, func(r route) bool {
		return r.ipv6 == ipv6 && r.tos == 0 && slices.ContainsFunc(r.hops, func(h hop) bool {
			return h.index == d.index && h.encap.Type == 0 && !h.gateway.IsValid()
		})
	})
}

// uncarried says what of the route our routes cannot have.
func (b routeHop) uncarried(d device, ipv6 bool) string {
	var all []string
	if n := len(b.route.hopsOn(d, ipv6)); n > 1 {
		all = append(all, fmt.Sprintf("it has %d next hops on the interface, of which only the first, %s, is used", n, b.hop.gateway))
	}
	for _, n := range b.route.unknown {
		all = append(all, fmt.Sprintf("its metric number %d is not known to this version", n))
	}
	for _, n := range b.hop.unknown {
		all = append(all, fmt.Sprintf("its attribute number %d is not known to this version", n))
	}
	return strings.Join(all, "; ")
}

// shares reports whether the route shares its load among several devices.
func (r route) shares() bool {
	return slices.ContainsFunc(r.hops, func(h hop) bool { return h.index != r.hops[0].index })
}

func compareHops(a, b routeHop) int {
	return cmp.Or(
		cmp.Compare(a.route.metric, b.route.metric),
		cmp.Compare(preferenceRank(a.route.preference), preferenceRank(b.route.preference)),
		trueFirst(a.hop.gateway.IsValid(), b.hop.gateway.IsValid()),
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
	case now.direct && m.gateway.addr.IsValid() && now.metric > m.gateway.metric && !m.moved(addresses):
		// It stood behind the one that is gone.
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
		return m.had(p) || p.Contains(m.gateway.addr)
	})
}

// had reports whether the device had an address when the gateway was learnt. Of those
// of an earlier run the prefix length is not known.
func (m memory) had(p netip.Prefix) bool {
	return slices.ContainsFunc(m.addresses, func(o netip.Prefix) bool { return o == p || o.IsSingleIP() && o.Addr() == p.Addr() })
}

// mostSources bounds the sources that are reported of a link.
const mostSources = 64

// sourcesOf returns the public sources for which a device has default routes, sorted.
func sourcesOf(defaults []route, d device, ipv6 bool) []netip.Prefix {
	var found []netip.Prefix
	for _, r := range defaults {
		if a := r.source.Addr(); r.source.IsValid() && failover.IsPublic(a) && len(r.hopsOn(d, ipv6)) > 0 {
			found = append(found, r.source.Masked())
		}
	}
	slices.SortFunc(found, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	found = slices.Compact(found)
	return found[:min(len(found), mostSources)]
}
