package linkmon

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// usable returns the addresses of one family that can be the source of traffic, in
// this order:
//
//   - the source address of the default route,
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

// preferred reports whether new sessions may use the address (RFC 4862, 5.5.4).
func (a address) preferred() bool { return a.flags&unix.IFA_F_DEPRECATED == 0 }

func betterSource(a, b address, gw gateway) int {
	// One bit means temporary in IPv6 and secondary in IPv4.
	const second = unix.IFA_F_TEMPORARY
	return cmp.Or(
		trueFirst(a.prefix.Addr() == gw.shape.Source, b.prefix.Addr() == gw.shape.Source),
		trueFirst(a.prefix.Contains(gw.addr), b.prefix.Contains(gw.addr)),
		trueFirst(!a.prefix.Addr().IsPrivate() || a.prefix.Addr().Is4(), !b.prefix.Addr().IsPrivate() || b.prefix.Addr().Is4()),
		trueFirst(a.flags&second == 0, b.flags&second == 0),
		a.prefix.Addr().Compare(b.prefix.Addr()),
		cmp.Compare(a.prefix.Bits(), b.prefix.Bits()),
	)
}
