package linkmon

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	ethernet = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_BROADCAST | unix.IFF_MULTICAST
	modem    = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT | unix.IFF_NOARP
	quiet    = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_NOARP | unix.IFF_BROADCAST
)

// via4 is a default route of IPv4 by device 7, as DHCP makes it.
func via4(gateway string, change ...func(*route)) route {
	r := route{table: unix.RT_TABLE_MAIN, protocol: unix.RTPROT_DHCP, kind: unix.RTN_UNICAST, metric: 100, hops: []hop{{index: 7}}}
	if gateway != "" {
		r.hops[0].gateway = addr(gateway)
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func via6(gateway string, change ...func(*route)) route {
	r := via4(gateway, func(r *route) { r.ipv6, r.protocol, r.metric = true, unix.RTPROT_RA, 1024 })
	for _, c := range change {
		c(&r)
	}
	return r
}

func metric(m uint32) func(*route)       { return func(r *route) { r.metric = m } }
func by(protocol uint8) func(*route)     { return func(r *route) { r.protocol = protocol } }
func preferred(p uint8) func(*route)     { return func(r *route) { r.preference = p } }
func forTOS(r *route)                    { r.tos = 8 }
func elsewhere(r *route)                 { r.hops[0].index = 8 }
func through(hops ...hop) func(r *route) { return func(r *route) { r.hops = hops } }
func onto(index int, gateway string) hop { return hop{index: index, gateway: addr(gateway), weight: 1} }

func direct(from string, metric uint32) gateway {
	return gateway{pointToPoint: true, direct: true, metric: metric, from: from}
}

func gatewayOf(a, from string) gateway { return gateway{addr: addr(a), from: from} }

var unknown gateway

func TestLearn(t *testing.T) {
	for _, tc := range []struct {
		name     string
		flags    uint32
		ipv6     bool
		defaults []route
		want     gateway
	}{
		{"nothing", ethernet, false, nil, unknown},
		{"dhcp", ethernet, false, []route{via4("10.0.0.1")}, gatewayOf("10.0.0.1", "dhcp")},
		{"a person, metric 0", ethernet, false, []route{via4("10.0.0.1"), via4("10.0.0.9", metric(0), by(unix.RTPROT_BOOT))}, gatewayOf("10.0.0.9", "boot")},
		{"lowest metric", ethernet, false, []route{via4("10.0.0.3", metric(300)), via4("10.0.0.2", metric(200), by(unix.RTPROT_STATIC))}, gatewayOf("10.0.0.2", "static")},
		{"another device's", ethernet, false, []route{via4("10.0.0.1", elsewhere)}, unknown},
		{"the other family's", ethernet, true, []route{via4("10.0.0.1")}, unknown},
		{"for one TOS value", ethernet, false, []route{via4("10.0.0.1", forTOS)}, unknown},
		{"router advertisement", ethernet, true, []route{via6("fe80::1")}, gatewayOf("fe80::1", "ra")},
		{"routers of unlike preference", ethernet, true, []route{via6("fe80::1", preferred(3)), via6("fe80::3", preferred(1)), via6("fe80::2")}, gatewayOf("fe80::3", "ra")},
		{"medium before low", ethernet, true, []route{via6("fe80::1", preferred(3)), via6("fe80::2", preferred(0))}, gatewayOf("fe80::2", "ra")},
		{"alike: the lowest address", ethernet, true, []route{via6("fe80::2"), via6("fe80::1")}, gatewayOf("fe80::1", "ra")},
		{"multipath", ethernet, false, []route{via4("", through(onto(8, "10.8.0.1"), onto(7, "10.7.0.1")))}, gatewayOf("10.7.0.1", "dhcp")},
		{"by an IPv6 next hop", ethernet, false, []route{via4("fe80::1")}, gatewayOf("fe80::1", "dhcp")},
		{"by an IPv6 next hop, and a better one", ethernet, false, []route{via4("fe80::1"), via4("10.0.0.1", metric(90))}, gatewayOf("10.0.0.1", "dhcp")},
		{"device route on ethernet", ethernet, false, []route{via4("", metric(1002))}, direct("dhcp", 0)},
		{"device route beside a gateway of the same metric", ethernet, false, []route{via4(""), via4("10.0.0.1")}, gatewayOf("10.0.0.1", "dhcp")},
		{"device route behind a gateway", ethernet, false, []route{via4("", metric(1002)), via4("10.0.0.1")}, gatewayOf("10.0.0.1", "dhcp")},
		{"device route before a gateway", ethernet, false, []route{via4("", metric(9), by(unix.RTPROT_BOOT)), via4("10.0.0.1")}, direct("boot", 0)},
		{"device route on ethernet, IPv6", ethernet, true, []route{via6("")}, direct("ra", 0)},
		{"device route without ARP", quiet, false, []route{via4("")}, gateway{pointToPoint: true, from: "dhcp"}},
		{"device route of ppp", modem, false, []route{via4("", by(unix.RTPROT_BOOT))}, gateway{pointToPoint: true, from: "boot"}},
		{"ppp without a default", modem, false, nil, gateway{pointToPoint: true, from: "device"}},
		{"no ARP and no default", quiet, false, nil, unknown},
		{"ppp with a gateway", modem, true, []route{via6("fe80::1")}, gatewayOf("fe80::1", "ra")},
		{"a routing daemon", ethernet, false, []route{via4("10.0.0.1", by(186))}, gatewayOf("10.0.0.1", "bgp")},
		{"an unknown maker", ethernet, false, []route{via4("10.0.0.1", by(99))}, gatewayOf("10.0.0.1", "protocol 99")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := learn(tc.defaults, device{index: 7, flags: tc.flags}, tc.ipv6)
			got.metric = 0
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestLearntSource(t *testing.T) {
	r := via4("10.0.0.1", func(r *route) { r.shape.Source = addr("10.0.0.5") })
	if got := learn([]route{r}, device{index: 7, flags: ethernet}, false).shape.Source; got != addr("10.0.0.5") {
		t.Errorf("source %v, want the route's", got)
	}
}

// Each case is a sequence of readings; the gateway after the last one counts.
func TestMemory(t *testing.T) {
	a, b := gatewayOf("10.0.0.1", "dhcp"), gatewayOf("10.9.0.1", "dhcp")
	home, abroad := []netip.Prefix{prefix("10.0.0.2/24")}, []netip.Prefix{prefix("10.9.0.2/24")}
	neighbor := []netip.Prefix{prefix("10.0.0.77/24")}
	both := append(append([]netip.Prefix{}, home...), abroad...)
	type reading struct {
		taught    gateway
		addresses []netip.Prefix
	}
	for _, tc := range []struct {
		name      string
		readings  []reading
		want      gateway
		withdrawn bool
	}{
		{"never learnt", []reading{{unknown, home}}, unknown, false},
		{"learnt", []reading{{a, home}}, a, false},
		{"learnt otherwise", []reading{{a, home}, {b, abroad}}, b, false},
		{"withdrawn", []reading{{a, home}, {unknown, home}}, a, true},
		{"withdrawn and back", []reading{{a, home}, {unknown, home}, {a, home}}, a, false},
		{"withdrawn for long", []reading{{a, home}, {unknown, home}, {unknown, home}, {unknown, home}}, a, true},
		{"withdrawn with its addresses", []reading{{a, home}, {unknown, nil}}, a, true},
		{"withdrawn with its addresses, back with them", []reading{{a, home}, {unknown, nil}, {unknown, home}}, a, true},
		{"back in another network", []reading{{a, home}, {unknown, nil}, {unknown, abroad}}, unknown, false},
		{"another address in the gateway's network", []reading{{a, home}, {unknown, nil}, {unknown, neighbor}}, a, true},
		{"back in a network more", []reading{{a, home}, {unknown, nil}, {unknown, both}}, a, true},
		{"a device route as good replaces it", []reading{{a, home}, {direct("boot", 0), home}}, direct("boot", 0), false},
		{"a worse device route was behind it", []reading{{a, home}, {direct("boot", 1002), home}}, a, true},
		{"a worse device route, in another network", []reading{{a, home}, {direct("boot", 1002), abroad}}, direct("boot", 1002), false},
		{"a device route, then another", []reading{{direct("boot", 5), home}, {direct("boot", 9), home}}, direct("boot", 9), false},
		{"back, learnt from another route", []reading{{a, home}, {unknown, nil}, {b, abroad}}, b, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m memory
			for _, r := range tc.readings {
				m = m.next(r.taught, r.addresses)
			}
			if m.gateway != tc.want || m.withdrawn != tc.withdrawn {
				t.Errorf("got %+v, withdrawn %v; want %+v, %v", m.gateway, m.withdrawn, tc.want, tc.withdrawn)
			}
		})
	}
}
