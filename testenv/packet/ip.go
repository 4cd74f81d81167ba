package packet

import (
	"fmt"
	"net/netip"
)

// Source returns the source address of an IP packet, or none.
func Source(packet []byte) (a netip.Addr) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		a, _ = netip.AddrFromSlice(packet[12:16])
	case len(packet) >= 40 && packet[0]>>4 == 6:
		a, _ = netip.AddrFromSlice(packet[8:24])
	}
	return a
}

// Destination returns the destination address of an IP packet, or none.
func Destination(packet []byte) (a netip.Addr) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		a, _ = netip.AddrFromSlice(packet[16:20])
	case len(packet) >= 40 && packet[0]>>4 == 6:
		a, _ = netip.AddrFromSlice(packet[24:40])
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
