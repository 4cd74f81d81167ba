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
//  1. The configuration goes first, if it names a gateway or says that there is none.
//  2. Otherwise the default routes of table main teach it that lead through the
//     uplink's device and are not ours, no matter who made them: a DHCP client,
//     router advertisements, PPP, a routing daemon or a person. The lowest metric
//     wins (0 is the lowest), then the router's own preference (RFC 4191), then
//     the lowest address. Each hop of a multipath route counts by itself.
//  3. A default without a gateway means that the device alone is the way, where
//     the device is point-to-point or does without ARP. On other devices such a
//     route teaches nothing: zeroconf programs leave them on every interface.
//  4. A point-to-point device without any default needs none either: the device
//     alone is the way. (pppd is often told to make no default route.)
//  5. What was learnt outlives its route only where the loss of the link explains
//     that the route is gone: the kernel drops IPv4's routes when an interface is
//     switched off and does not bring them back, and network managers drop them
//     when carrier goes. Then it is remembered until another default teaches
//     better, until the device is another one, or until the device has addresses
//     none of which it had before: then it hangs on another network. When a
//     default goes while the link is up, somebody meant it: the gateway is unknown
//     at once. (Where the kernel's messages were lost meanwhile, the link may have
//     been lost unseen, and the gateway gets the benefit of the doubt.)
//
// Not learnt from: other tables (VRFs, wg-quick), the pairs of half defaults that
// VPNs make, defaults for one TOS value, and IPv4 routes through an IPv6 next hop
// (RFC 5549). Where those are the way, the configuration has to name the gateway.

// gateway is what is known of the next hop of an uplink in one family.
type gateway struct {
	addr         netip.Addr
	pointToPoint bool
	// from names who taught it; empty while nothing is known.
	from string
	// source is the address that the teaching route wants to be used; often invalid.
	source netip.Addr
}

func (g gateway) known() bool { return g.from != "" }

// needsNoGateway reports whether packets find their way on the device without a
// next hop: a default route without a gateway is meant so there.
func (d device) needsNoGateway() bool {
	return d.flags&(unix.IFF_POINTOPOINT|unix.IFF_NOARP) != 0
}

// taught is the gateway that the default routes teach for a device now.
func taught(defaults []route, d device, ipv6 bool) gateway {
	best, ok := bestLesson(defaults, d, ipv6)
	switch {
	case ok:
		return best.gateway()
	case d.flags&unix.IFF_POINTOPOINT != 0:
		return gateway{pointToPoint: true, from: "device"}
	}
	return gateway{}
}

// lesson is one hop of one default route.
type lesson struct {
	route route
	hop   hop
}

func (l lesson) gateway() gateway {
	return gateway{
		addr:         l.hop.gateway,
		pointToPoint: !l.hop.gateway.IsValid(),
		from:         protocolName(l.route.protocol),
		source:       l.route.source,
	}
}

// bestLesson picks the hop that teaches a device's gateway.
func bestLesson(defaults []route, d device, ipv6 bool) (lesson, bool) {
	var found []lesson
	for _, r := range defaults {
		if r.ipv6 != ipv6 || r.tos != 0 {
			continue
		}
		for _, h := range r.hops {
			if h.index == d.index && teaches(h, d, ipv6) {
				found = append(found, lesson{r, h})
			}
		}
	}
	if len(found) == 0 {
		return lesson{}, false
	}
	return slices.MinFunc(found, compareLessons), true
}

func teaches(h hop, d device, ipv6 bool) bool {
	if !h.gateway.IsValid() {
		return d.needsNoGateway()
	}
	return h.gateway.Is6() == ipv6
}

func compareLessons(a, b lesson) int {
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

// protocolName says in a word who made a route, as ip(8) does.
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
	// taught says that a route taught it at the last reading, so that its loss
	// since then needs an explanation.
	taught bool
	// addresses that the device had when it was taught.
	addresses []netip.Prefix
}

// next is the memory after a reading: now is what the routes teach, addresses are
// the device's of this family, explained says that the link was lost since the
// last reading or still is.
func (m memory) next(now gateway, addresses []netip.Prefix, explained bool) memory {
	switch {
	case now.known():
		return memory{gateway: now, taught: true, addresses: addresses}
	case m.taught && !explained, m.moved(addresses):
		return memory{}
	}
	m.taught = false
	return m
}

// moved reports whether the device came back with other addresses.
func (m memory) moved(now []netip.Prefix) bool {
	return len(now) > 0 && len(m.addresses) > 0 &&
		!slices.ContainsFunc(now, func(p netip.Prefix) bool { return slices.Contains(m.addresses, p) })
}
