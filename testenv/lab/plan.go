package lab

import (
	"fmt"
	"net/netip"

	"swerve/failover"
)

// The LAN. The gateway has the first address of each prefix; see ClientAddresses.
var (
	LAN4 = netip.MustParsePrefix("192.168.10.0/24")
	LAN6 = netip.MustParsePrefix("fd00:10::/64") // unique local: foreign to every uplink
)

// LANNative is the part of ISP 1's prefix that Options.Delegate gives to the LAN.
var LANNative = netip.MustParsePrefix("2001:db8:1:50::/64")

// Targets are the default targets of probes; the internet has them all.
var Targets = []netip.Addr{
	netip.MustParseAddr("1.1.1.1"),
	netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("9.9.9.9"),
	netip.MustParseAddr("2606:4700:4700::1111"),
	netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2620:fe::fe"),
}

// The server that clients talk to, in the internet.
var (
	Server4 = netip.MustParseAddr("198.18.0.10") // RFC 2544
	Server6 = netip.MustParseAddr("2001:db8:ffff::10")
	Servers = [2]netip.Addr{failover.IPv4: Server4, failover.IPv6: Server6}
)

// Uplink is the plan of one uplink: who has which name and address.
type Uplink struct {
	Interface string // in the gateway
	MAC       string // of that interface

	Prefix4  netip.Prefix // of the uplink's subnet
	Address4 netip.Addr   // the gateway's, as from a DHCP lease
	Router4  netip.Addr   // the ISP's, the next hop
	Second4  netip.Addr   // the ISP's after the fault gateway-change
	Other4   netip.Addr   // the gateway's after the fault address-change
	Public4  netip.Addr   // the source address that the internet sees of this uplink's packets
	Metric4  int          // of the default route that the DHCP client leaves

	Prefix6  netip.Prefix // of the uplink's subnet
	Native6  netip.Prefix // all that the ISP routes to this uplink
	Address6 netip.Addr
	Router6  netip.Addr // the ISP's global address; the next hop is link-local
	Other6   netip.Addr
	Metric6  int // of the default route that the kernel makes of an advertisement
}

// uplinkPrefixes4 are the networks of RFC 5737.
var uplinkPrefixes4 = [...]string{"203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"}

// MaxUplinks is how many uplinks a lab can have.
const MaxUplinks = len(uplinkPrefixes4)

// routerLinkLocal is each ISP's link-local address: the next hop of IPv6.
var routerLinkLocal = netip.MustParseAddr("fe80::1")

// planOf returns the plan of uplink i, from 0 to MaxUplinks-1.
func planOf(i int) Uplink {
	p4 := netip.MustParsePrefix(uplinkPrefixes4[i])
	p6 := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", i+1))
	return Uplink{
		Interface: fmt.Sprintf("wan%d", i),
		// The last 24 bits differ from Address6's: addresses that share them share a
		// group on the link, and the kernel may leave it with the first of them.
		MAC:      fmt.Sprintf("02:00:5e:00:10:%02x", i+1),
		Prefix4:  p4,
		Router4:  host(p4, 1),
		Second4:  host(p4, 254),
		Address4: host(p4, 2),
		Other4:   host(p4, 77),
		Public4:  host(p4, 2),
		Metric4:  100 * (i + 1),
		Prefix6:  p6,
		Native6:  netip.PrefixFrom(p6.Addr(), 48),
		Router6:  host(p6, 1),
		Address6: host(p6, 2),
		Other6:   host(p6, 0x77),
		Metric6:  1024 + 100*i,
	}
}

// twinsOf makes all uplinks the same network in IPv4, with the same router, and
// gives the gateway the same address on each. Only their ISPs can distinguish them,
// so they translate.
func twinsOf(uplinks []Uplink) []Uplink {
	network := netip.MustParsePrefix("192.168.8.0/24")
	for i := range uplinks {
		up := &uplinks[i]
		up.Prefix4, up.Router4, up.Second4 = network, host(network, 1), host(network, 254)
		up.Address4, up.Other4 = host(network, 100), host(network, 177)
		up.Public4 = host(backbone4(i), 1)
	}
	return uplinks
}

// host returns the address in a prefix with n in its last byte.
func host(p netip.Prefix, n byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

// within returns an address with the length of its subnet.
func within(a netip.Addr, p netip.Prefix) netip.Prefix { return netip.PrefixFrom(a, p.Bits()) }

// alone returns an address as a prefix of its own.
func alone(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// ClientAddresses returns those of client n (from 0) on the LAN: IPv4, unique local
// IPv6, and native IPv6 for labs that delegate a prefix.
func ClientAddresses(n int) (v4, local6, native6 netip.Addr) {
	return host(LAN4, byte(10+n)), host(LAN6, byte(0x10+n)), host(LANNative, byte(0x10+n))
}

func clientPrefixes(n int, delegate bool) []netip.Prefix {
	v4, local6, native6 := ClientAddresses(n)
	own := []netip.Prefix{within(v4, LAN4), within(local6, LAN6)}
	if delegate {
		own = append(own, within(native6, LANNative))
	}
	return own
}

// The link between ISP i and the internet: the ISP has the first address.
func backbone4(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("10.255.%d.0/30", i))
}

func backbone6(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("fd00:ffff:%d::/64", i))
}
