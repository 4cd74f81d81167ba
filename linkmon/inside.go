package linkmon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// A host with an address of the provider's own network behind this machine (a DMZ by
// proxy ARP, a part of the network that is routed to the LAN) is reached by a route in
// main that is narrower than the uplink's own. The provider's router takes its address
// for a neighbour's, so it needs no NAT.
//
// Of private addresses that says little: a modem's network and a LAN's often overlap by
// mistake. There it counts only where the uplink answers ARP for the addresses. A
// network as wide as the uplink's own, or one with the uplink's address or gateway in
// it, is such a clash in any case.

// narrow is an IPv4 route of others in main that is no default.
type narrow struct {
	to netip.Prefix
	// devices are those of its hops.
	devices []int
}

// proxies is for which addresses this machine answers ARP in the place of others.
type proxies struct {
	// devices answer for whatever is reached by another one; 0 stands for all.
	devices map[int]bool
	// addresses have entries of their own, with the device or 0 for all.
	addresses []neighbor
}

// mostInside bounds the networks that are reported of a link, as of sources.
const mostInside = mostSources

// narrowRoutes collects narrow routes of a listing. Of a big table it keeps only those
// without a gateway, as far as they are not many either.
type narrowRoutes struct {
	direct, through []narrow
}

func (n *narrowRoutes) add(b []byte) {
	head, ok := decodeRouteHead(b)
	if !ok || !head.isNarrow() {
		return
	}
	list := &n.through
	if b[6] == unix.RT_SCOPE_LINK {
		list = &n.direct
	}
	if len(*list) > bigTable {
		return
	}
	if r, ok := decodeNarrow(b); ok {
		*list = append(*list, r)
	}
}

func (n *narrowRoutes) all(size int) []narrow {
	if size > bigTable {
		return n.direct
	}
	return slices.Concat(n.direct, n.through)
}

func (h routeHead) isNarrow() bool {
	return h.family == unix.AF_INET && h.length > 0 && h.table == unix.RT_TABLE_MAIN && h.protocol != lane.Protocol &&
		h.kind == unix.RTN_UNICAST
}

// decodeNarrow decodes a route that is narrow by its head.
func decodeNarrow(b []byte) (narrow, bool) {
	var r narrow
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			r.to = netip.PrefixFrom(ip(value), int(b[1]))
		case unix.RTA_OIF:
			r.devices = append(r.devices, int(number(value)))
		case unix.RTA_MULTIPATH:
			for _, h := range decodeHops(value) {
				r.devices = append(r.devices, h.index)
			}
		}
	}
	return r, r.to.IsValid() && len(r.devices) > 0
}

// insideOf returns the networks within a device's own IPv4 networks that main leads to
// devices that are no uplinks', sorted.
func insideOf(s state, index int, hop netip.Addr, isUplink func(index int) bool) (found []netip.Prefix) {
	elsewhere := func(i int) bool {
		return i != index && !isUplink(i) && !slices.ContainsFunc(s.devices, func(d device) bool {
			return d.index == i && d.flags&unix.IFF_LOOPBACK != 0
		})
	}
	for _, own := range usable(s.addresses, index, false, gateway{}) {
		for _, r := range s.narrow {
			if strictlyWithin(r.to, own) && !s.clashes(r.to, index, hop) && !slices.ContainsFunc(r.devices, func(i int) bool { return !elsewhere(i) }) &&
				(failover.IsPublic(own.Addr()) || s.proxies.answer(index, r.to)) {
				found = append(found, r.to.Masked())
			}
		}
	}
	slices.SortFunc(found, netip.Prefix.Compare)
	found = slices.Compact(found)
	return found[:min(len(found), mostInside)]
}

// clashes reports whether a network has an uplink's gateway or one of its addresses.
func (s state) clashes(to netip.Prefix, index int, hop netip.Addr) bool {
	return to.Contains(hop) || slices.ContainsFunc(s.addresses, func(a address) bool {
		return a.index == index && to.Contains(a.prefix.Addr())
	})
}

// strictlyWithin reports whether a network is a part of an address's, and not all of it.
func strictlyWithin(p, own netip.Prefix) bool {
	return p.Bits() > own.Bits() && own.Contains(p.Addr())
}

// answer reports whether a device answers ARP for a network behind another one.
func (p proxies) answer(device int, to netip.Prefix) bool {
	return p.devices[device] || p.devices[0] || to.IsSingleIP() && slices.ContainsFunc(p.addresses, func(n neighbor) bool {
		return n.ip == to.Addr() && (n.index == device || n.index == 0)
	})
}

// needsProxies reports whether a private network has a narrower one within it.
func (s state) needsProxies() bool {
	return slices.ContainsFunc(s.addresses, func(a address) bool {
		return a.prefix.Addr().Is4() && !failover.IsPublic(a.prefix.Addr()) && slices.ContainsFunc(s.narrow, func(r narrow) bool {
			return strictlyWithin(r.to, a.prefix) && !slices.Contains(r.devices, a.index)
		})
	})
}

// Numbers of linux/netconf.h.
const (
	netconfHead     = 4 // struct netconfmsg, padded
	netconfIndex    = 1
	netconfProxy    = 5
	netconfOfAll    = -1 // the index of what holds for all devices
	neighborFlagsAt = 10 // of ndm_flags in struct ndmsg
	neighborIsProxy = 1 << 3
)

// proxying reads for which addresses this machine answers ARP in the place of others.
func (k *kernel) proxying() (p proxies, err error) {
	p.devices = map[int]bool{}
	_, err = dump(k, unix.RTM_GETNETCONF, append([]byte{unix.AF_INET}, make([]byte, netconfHead-1)...), func(b []byte) (struct{}, bool) {
		p.add(b)
		return struct{}{}, false
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return p, fmt.Errorf("linkmon: list the devices' settings: %w", err)
	}
	request := make([]byte, unix.SizeofNdMsg)
	request[0], request[neighborFlagsAt] = unix.AF_INET, neighborIsProxy
	if p.addresses, err = dump(k, unix.RTM_GETNEIGH, request, decodeNeighbor); err != nil {
		return p, fmt.Errorf("linkmon: list proxy neighbours: %w", err)
	}
	return p, nil
}

// add decodes the payload of RTM_NEWNETCONF.
func (p proxies) add(b []byte) {
	if len(b) < netconfHead {
		return
	}
	index, answers := 0, false
	for kind, value := range attributes(b[netconfHead:]) {
		switch kind {
		case netconfIndex:
			index = int(int32(number(value)))
		case netconfProxy:
			answers = number(value) != 0
		}
	}
	switch {
	case !answers:
	case index == netconfOfAll:
		p.devices[0] = true
	case index > 0:
		p.devices[index] = true
	}
}

// followInside tells the mailbox in which networks narrower routes matter: those of the
// uplinks' own addresses.
func (b *mailbox) followInside(networks []netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hints.inside = networks
}

// isInside reports whether a route's message is about a narrower route within one of
// the networks.
func isInside(networks []netip.Prefix, h routeHead, body []byte) bool {
	if len(networks) == 0 || !h.isNarrow() {
		return false
	}
	for kind, value := range attributes(body[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_DST {
			to := netip.PrefixFrom(ip(value), int(h.length))
			return slices.ContainsFunc(networks, func(own netip.Prefix) bool { return strictlyWithin(to, own) })
		}
	}
	return false
}
