package linkmon

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// usable picks the addresses of one family that traffic can have, the best source
// first:
//
//   - the one that the default route itself names,
//   - one in the gateway's network,
//   - IPv6 addresses of the whole internet before unique local ones (RFC 4193),
//   - lasting addresses before temporary (RFC 8981) and secondary ones,
//   - then by number.
//
// Link-local, tentative and duplicate addresses are left out. Deprecated ones
// (RFC 4862, 5.5.4) are only taken where there is no other: no new session
// should begin with one that is on its way out.
func usable(all []address, index int, ipv6 bool, gw gateway) []netip.Prefix {
	var found []address
	for _, a := range all {
		if a.index == index && a.prefix.Addr().Is6() == ipv6 && a.works() {
			found = append(found, a)
		}
	}
	if slices.ContainsFunc(found, address.lasting) {
		found = slices.DeleteFunc(found, func(a address) bool { return !a.lasting() })
	}
	slices.SortFunc(found, func(a, b address) int { return betterSource(a, b, gw) })
	var prefixes []netip.Prefix
	for _, a := range found {
		prefixes = append(prefixes, a.prefix)
	}
	return prefixes
}

// works reports whether packets can have the address as their source, and reach
// more than the link.
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

// lasting reports whether new sessions may begin with the address.
func (a address) lasting() bool { return a.flags&unix.IFA_F_DEPRECATED == 0 }

func betterSource(a, b address, gw gateway) int {
	// One bit says temporary in IPv6 and secondary in IPv4.
	const second = unix.IFA_F_TEMPORARY
	return cmp.Or(
		yesFirst(a.prefix.Addr() == gw.source, b.prefix.Addr() == gw.source),
		yesFirst(a.prefix.Contains(gw.addr), b.prefix.Contains(gw.addr)),
		yesFirst(!a.prefix.Addr().IsPrivate() || a.prefix.Addr().Is4(), !b.prefix.Addr().IsPrivate() || b.prefix.Addr().Is4()),
		yesFirst(a.flags&second == 0, b.flags&second == 0),
		a.prefix.Addr().Compare(b.prefix.Addr()),
		cmp.Compare(a.prefix.Bits(), b.prefix.Bits()),
	)
}
