package linkmon

import (
	"net/netip"
	"slices"
)

// ownOf lists the addresses of this machine on all its devices, sorted, each once.
// Packets to them never leave the machine. Link-local ones of IPv6 are left out: they
// are this machine's on one link alone, and fe80::1 may be its address in the LAN and
// the provider's router on the uplink.
func ownOf(s state) []netip.Addr {
	var own []netip.Addr
	for _, a := range s.addresses {
		if !a.linkLocal() {
			own = append(own, a.prefix.Addr().WithZone(""))
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

// isOwn reports whether an address was this machine's at the last reading.
func (w *watch) isOwn(a netip.Addr) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, found := slices.BinarySearchFunc(w.own, a.WithZone(""), netip.Addr.Compare)
	return found
}

func (w *watch) ownAddresses() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.own)
}

// withoutOwn makes a gateway on a device that is an address of this machine unknown:
// the kernel rejects routes through it, and it would answer every probe.
func (g gateway) withoutOwn(s state, device int) gateway {
	if g.addr.IsValid() && slices.ContainsFunc(s.addresses, func(a address) bool {
		return a.prefix.Addr() == g.addr && (a.index == device || !a.linkLocal())
	}) {
		return gateway{}
	}
	return g
}
