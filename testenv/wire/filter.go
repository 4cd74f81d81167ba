package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Filter selects what the ISP's end of a wire forwards.
type Filter int

const (
	PassAll Filter = iota
	// DropBeyond is a black-hole beyond the ISP's router: it still answers ARP,
	// neighbour discovery and ping, sends its advertisements, and forwards nothing.
	DropBeyond
	DropBeyond4 // the same for IPv4 only
	DropBeyond6 // the same for IPv6 only
	// DropAll is a router that is dead while its link is up.
	DropAll
)

func (f Filter) String() string {
	names := [...]string{"pass all", "drop beyond", "drop beyond, IPv4", "drop beyond, IPv6", "drop all"}
	if f < 0 || int(f) >= len(names) {
		return fmt.Sprintf("Filter(%d)", int(f))
	}
	return names[f]
}

// passes reports whether a frame passes the filter, given the router's own addresses.
func (f Filter) passes(h header, routers []netip.Addr) bool {
	switch f {
	case PassAll:
		return true
	case DropAll:
		return false
	case DropBeyond4:
		return !h.src.Is4() || staysOnLink(h, routers)
	case DropBeyond6:
		return !h.src.Is6() || staysOnLink(h, routers)
	case DropBeyond:
		return staysOnLink(h, routers)
	}
	panic(fmt.Sprintf("wire: unknown filter %d", int(f)))
}

// staysOnLink reports whether a frame is between the two ends of the wire: not
// IP at all, link-local, or from or to the ISP's router itself.
func staysOnLink(h header, routers []netip.Addr) bool {
	return !h.src.IsValid() ||
		h.src.IsLinkLocalUnicast() || h.dst.IsLinkLocalUnicast() || h.dst.IsLinkLocalMulticast() ||
		slices.Contains(routers, h.src) || slices.Contains(routers, h.dst)
}

// native reports whether an ISP accepts a frame's source from this customer, as BCP 38
// recommends. An empty list accepts all.
func native(h header, prefixes []netip.Prefix) bool {
	if len(prefixes) == 0 || !h.src.IsValid() || h.src.IsUnspecified() || h.src.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(h.src) })
}

// header is what the wire reads of a frame. The addresses of a frame that is not IP,
// or too short, are not valid.
type header struct{ src, dst netip.Addr }

// Ethernet II.
const (
	macLen     = 14
	etherTypeA = 12 // the type's offset
	typeIPv4   = 0x0800
	typeIPv6   = 0x86dd
)

func parse(data []byte) header {
	if len(data) < macLen {
		return header{}
	}
	ip := data[macLen:]
	switch typ := binary.BigEndian.Uint16(data[etherTypeA:]); {
	case typ == typeIPv4 && len(ip) >= 20: // RFC 791
		return header{addr(ip[12:16]), addr(ip[16:20])}
	case typ == typeIPv6 && len(ip) >= 40: // RFC 8200
		return header{addr(ip[8:24]), addr(ip[24:40])}
	}
	return header{}
}

func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
