package linkmon

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// LAN is what this machine has of public IPv6 beside its uplinks.
type LAN struct {
	// Addresses are its own on devices that are no uplinks', with the length of the
	// network, sorted: none that is a network of its own, or on a tunnel.
	Addresses []netip.Prefix
	// Delegated are the prefixes for which table main has a route to nowhere
	// (unreachable, blackhole, prohibit), sorted, as DHCPv6 clients make them for a
	// delegated prefix, so that what is not assigned does not loop.
	Delegated []netip.Prefix
}

const (
	// mostLAN bounds both lists.
	mostLAN = 64
	// The lengths of networks and of delegated prefixes.
	widestLAN                        = 16
	widestDelegated, leastDelegation = 32, 64
)

func (l LAN) equal(o LAN) bool {
	return slices.Equal(l.Addresses, o.Addresses) && slices.Equal(l.Delegated, o.Delegated)
}

// lanOf returns the addresses in a state; isUplink says of a device's index whether it is
// an uplink's.
func lanOf(s state, isUplink func(index int) bool) LAN {
	var found []netip.Prefix
	for _, a := range s.addresses {
		ip := a.prefix.Addr()
		if !ip.Is6() || !failover.IsPublic(ip) || isUplink(a.index) || !a.works() || a.prefix.IsSingleIP() || a.prefix.Bits() < widestLAN {
			continue
		}
		i := slices.IndexFunc(s.devices, func(d device) bool { return d.index == a.index })
		if i >= 0 && s.devices[i].adminUp() && s.devices[i].flags&unix.IFF_POINTOPOINT == 0 {
			found = append(found, a.prefix)
		}
	}
	return LAN{Addresses: sortedPrefixes(found), Delegated: s.delegated}
}

// sortedPrefixes sorts prefixes, and returns each once, and not too many.
func sortedPrefixes(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, netip.Prefix.Compare)
	in = slices.Compact(in)
	return in[:min(len(in), mostLAN)]
}

// delegation decodes the payload of RTM_NEWROUTE, and returns the prefix of a route to
// nowhere that may be a delegated one.
func delegation(b []byte) (p netip.Prefix, ok bool) {
	h, ok := decodeRouteHead(b)
	nowhere := h.kind == unix.RTN_UNREACHABLE || h.kind == unix.RTN_BLACKHOLE || h.kind == unix.RTN_PROHIBIT
	if !ok || !nowhere || h.family != unix.AF_INET6 || h.table != unix.RT_TABLE_MAIN || h.protocol == lane.Protocol ||
		h.length < widestDelegated || h.length > leastDelegation {
		return p, false
	}
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_DST {
			p = netip.PrefixFrom(ip(value), int(h.length)).Masked()
		}
	}
	return p, p.IsValid() && failover.IsPublic(p.Addr())
}

// lanNow returns what was read last.
func (w *watch) lanNow() LAN {
	w.mu.Lock()
	defer w.mu.Unlock()
	return LAN{slices.Clone(w.lan.Addresses), slices.Clone(w.lan.Delegated)}
}
