package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func ipFrame(src, dst string) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	f := make([]byte, macLen+40)
	if s.Is4() {
		binary.BigEndian.PutUint16(f[etherTypeA:], typeIPv4)
		copy(f[macLen+12:], s.AsSlice())
		copy(f[macLen+16:], d.AsSlice())
	} else {
		binary.BigEndian.PutUint16(f[etherTypeA:], typeIPv6)
		copy(f[macLen+8:], s.AsSlice())
		copy(f[macLen+24:], d.AsSlice())
	}
	return f
}

func TestFilters(t *testing.T) {
	arp := make([]byte, 60)
	binary.BigEndian.PutUint16(arp[etherTypeA:], 0x0806)
	routers := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:1::1")}
	for _, tc := range []struct {
		name   string
		frame  []byte
		passes string // b, 4, 6: it passes DropBeyond, DropBeyond4, DropBeyond6
	}{
		{"ARP", arp, "b46"},
		{"a runt", arp[:10], "b46"},
		{"ping of the router", ipFrame("203.0.113.2", "203.0.113.1"), "b46"},
		{"its answer", ipFrame("203.0.113.1", "203.0.113.2"), "b46"},
		{"IPv4 beyond", ipFrame("203.0.113.2", "1.1.1.1"), "6"},
		{"IPv4 from beyond", ipFrame("1.1.1.1", "203.0.113.2"), "6"},
		{"a neighbour of the router", ipFrame("203.0.113.2", "203.0.113.9"), "6"},
		{"solicitation", ipFrame("2001:db8:1::2", "ff02::1:ff00:1"), "b46"},
		{"router advertisement", ipFrame("fe80::1", "ff02::1"), "b46"},
		{"advertisement to a global address", ipFrame("fe80::1", "2001:db8:1::2"), "b46"},
		{"ping of the router, IPv6", ipFrame("2001:db8:1::2", "2001:db8:1::1"), "b46"},
		{"IPv6 beyond", ipFrame("2001:db8:1::2", "2606:4700:4700::1111"), "4"},
		{"IPv6 from beyond", ipFrame("2606:4700:4700::1111", "2001:db8:1::2"), "4"},
		{"global multicast", ipFrame("203.0.113.2", "239.1.1.1"), "6"},
	} {
		h := parse(tc.frame)
		got := ""
		for i, f := range []Filter{DropBeyond, DropBeyond4, DropBeyond6} {
			if f.passes(h, routers) {
				got += "b46"[i : i+1]
			}
		}
		if got != tc.passes {
			t.Errorf("%s passes %q, want %q", tc.name, got, tc.passes)
		}
		if !PassAll.passes(h, routers) || DropAll.passes(h, routers) {
			t.Errorf("%s: PassAll must let it pass, DropAll must not", tc.name)
		}
	}
}

func TestNativeSources(t *testing.T) {
	mine := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:1::/48")}
	for source, want := range map[string]bool{
		"203.0.113.2": true, "198.51.100.2": false, "192.168.10.10": false, "0.0.0.0": true,
		"2001:db8:1:50::10": true, "2001:db8:2::2": false, "fd00::1": false, "fe80::1": true, "::": true,
	} {
		to := "1.1.1.1"
		if netip.MustParseAddr(source).Is6() {
			to = "2606:4700:4700::1111"
		}
		h := parse(ipFrame(source, to))
		if got := native(h, mine); got != want {
			t.Errorf("source %s is native: %v, want %v", source, got, want)
		}
		if !native(h, nil) {
			t.Errorf("source %s is refused without a list", source)
		}
	}
	if !native(header{}, mine) {
		t.Error("a frame that is not IP is refused")
	}
}
