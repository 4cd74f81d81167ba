package linkmon

import (
	"net/netip"
	"slices"
)

// ownOf lists the addresses of this machine on all its devices, sorted, each once.
// What is sent to one of them never leaves.
func ownOf(s state) []netip.Addr {
	var own []netip.Addr
	for _, a := range s.addresses {
		own = append(own, a.prefix.Addr().WithZone(""))
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

// isOwn reports whether an address is this machine's, as it was last read.
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

// withoutOwn forgets a next hop that is an address of this machine: the kernel takes
// no route by it, and it would answer every probe.
func (g gateway) withoutOwn(s state) gateway {
	if g.addr.IsValid() && slices.ContainsFunc(s.addresses, func(a address) bool { return a.prefix.Addr() == g.addr }) {
		return gateway{}
	}
	return g
}
