package linkmon

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// usable returns the addresses of one family that can be the source of traffic, in
// this order:
//
//   - the source address of the default route, or those of the source that it is for,
//   - addresses in the gateway's network,
//   - global IPv6 addresses before unique local ones (RFC 4193),
//   - temporary (RFC 8981) and secondary addresses last,
//   - then by number.
//
// Link-local, tentative and duplicate addresses are left out. Deprecated ones
// (RFC 4862, 5.5.4) are returned only where there is no other, since no new session
// should use them.
func usable(all []address, index int, ipv6 bool, gw gateway) []netip.Prefix {
	var found []address
	for _, a := range all {
		if a.index == index && a.prefix.Addr().Is6() == ipv6 && a.works() {
			found = append(found, a)
		}
	}
	if slices.ContainsFunc(found, address.preferred) {
		found = slices.DeleteFunc(found, func(a address) bool { return !a.preferred() })
	}
	slices.SortFunc(found, func(a, b address) int { return betterSource(a, b, gw) })
	var prefixes []netip.Prefix
	for _, a := range found {
		prefixes = append(prefixes, a.prefix)
	}
	return prefixes
}

// works reports whether packets with the address as their source are possible, and
// can leave the link.
func (a address) works() bool {
	ip := a.prefix.Addr()
	switch {
	case a.scope >= unix.RT_SCOPE_LINK, !ip.IsGlobalUnicast():
		return false
	case a.flags&unix.IFA_F_DADFAILED != 0:
		return false
	}
	// An optimistic address may be used while it is still being checked (RFC 4429).
	return a.flags&unix.IFA_F_TENTATIVE == 0 || a.flags&unix.IFA_F_OPTIMISTIC != 0
}

// linkLocal reports whether the address is valid on its own link alone, so that others
// may have it on another one.
func (a address) linkLocal() bool {
	return a.prefix.Addr().Is6() && a.prefix.Addr().IsLinkLocalUnicast()
}

// preferred reports whether new sessions may use the address (RFC 4862, 5.5.4).
func (a address) preferred() bool { return a.flags&unix.IFA_F_DEPRECATED == 0 }

// pending reports whether the kernel is still checking an address of a device for
// duplicates: it will be usable soon.
func pending(all []address, index int, ipv6 bool) bool {
	return slices.ContainsFunc(all, func(a address) bool {
		checked := a
		checked.flags &^= unix.IFA_F_TENTATIVE
		return a.index == index && a.prefix.Addr().Is6() == ipv6 && !a.works() && checked.works()
	})
}

// borrowed returns the public addresses of one family on devices that are no
// uplink's, from which the kernel chooses the source of a packet where the device
// by which it leaves has none (RFC 6724; for IPv4 it does likewise). Those of tunnels
// are returned only where there is no other.
func borrowed(s state, ipv6 bool, isUplink func(index int) bool) []netip.Prefix {
	var own, tunnels []netip.Prefix
	for _, a := range s.addresses {
		ip := a.prefix.Addr()
		if ip.Is6() != ipv6 || isUplink(a.index) || !a.works() || !a.preferred() || !failover.IsPublic(ip) {
			continue
		}
		i := slices.IndexFunc(s.devices, func(d device) bool { return d.index == a.index })
		switch {
		case i < 0 || !s.devices[i].adminUp():
		case s.devices[i].flags&unix.IFF_POINTOPOINT != 0:
			tunnels = append(tunnels, a.prefix)
		default:
			own = append(own, a.prefix)
		}
	}
	if len(own) == 0 {
		own = tunnels
	}
	slices.SortFunc(own, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return own
}

// within reports whether an address is in a prefix, which may be invalid.
func within(p netip.Prefix, a address) bool { return p.IsValid() && p.Contains(a.prefix.Addr()) }

func betterSource(a, b address, gw gateway) int {
	// One bit means temporary in IPv6 and secondary in IPv4.
	const second = unix.IFA_F_TEMPORARY
	return cmp.Or(
		trueFirst(a.prefix.Addr() == gw.shape.Source, b.prefix.Addr() == gw.shape.Source),
		trueFirst(within(gw.source, a), within(gw.source, b)),
		trueFirst(a.prefix.Contains(gw.addr), b.prefix.Contains(gw.addr)),
		trueFirst(!a.prefix.Addr().IsPrivate() || a.prefix.Addr().Is4(), !b.prefix.Addr().IsPrivate() || b.prefix.Addr().Is4()),
		trueFirst(a.flags&second == 0, b.flags&second == 0),
		a.prefix.Addr().Compare(b.prefix.Addr()),
		cmp.Compare(a.prefix.Bits(), b.prefix.Bits()),
	)
}
