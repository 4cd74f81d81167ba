package packet

import (
	"fmt"
	"net/netip"
)

// Source returns the source address of an IP packet, or none.
func Source(packet []byte) netip.Addr { return address(packet, 12, 8) }

// Destination returns the destination address of an IP packet, or none.
func Destination(packet []byte) netip.Addr { return address(packet, 16, 24) }

// address returns the address at an offset of IPv4's header or at one of IPv6's.
func address(packet []byte, at4, at6 int) (a netip.Addr) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		a, _ = netip.AddrFromSlice(packet[at4 : at4+4])
	case len(packet) >= 40 && packet[0]>>4 == 6:
		a, _ = netip.AddrFromSlice(packet[at6 : at6+16])
	}
	return a
}

// Describe formats the beginning of an IP packet: addresses, protocol, and the first
// bytes of what is in it.
func Describe(packet []byte) string {
	if header := 40; len(packet) > header && packet[0]>>4 == 6 {
		return fmt.Sprintf("%v to %v, protocol %d, %x", Source(packet), Destination(packet), packet[6], packet[header:])
	}
	if header := 20; len(packet) > header && packet[0]>>4 == 4 {
		return fmt.Sprintf("%v to %v, protocol %d, %x", Source(packet), Destination(packet), packet[9], packet[header:])
	}
	return fmt.Sprintf("%x", packet)
}
