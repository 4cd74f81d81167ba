package linkmon

import (
	"net/netip"
	"testing"

	"swerve/failover"
	"swerve/testenv/netns"
)

// What an earlier run routed by is remembered where the device can still use it.
func TestHeldMemory(t *testing.T) {
	device4, none := device{index: 7, flags: ethernet}, []netip.Prefix(nil)
	home, abroad := []netip.Prefix{prefix("10.0.0.2/24")}, []netip.Prefix{prefix("10.9.0.2/24")}
	home6 := []netip.Prefix{prefix("2001:db8::2/64")}
	held := func(gateway string, sources ...string) Held {
		h := Held{Index: 7, Shape: failover.Shape{Realm: 5}}
		if gateway != "" {
			h.Gateway = addr(gateway)
		}
		for _, s := range sources {
			h.Sources = append(h.Sources, addr(s))
		}
		return h
	}
	for _, tc := range []struct {
		name   string
		held   Held
		device device
		first  []netip.Prefix
		later  []netip.Prefix
		want   bool
	}{
		{"as before", held("10.0.0.1", "10.0.0.2"), device4, home, home, true},
		{"another address in the gateway's network", held("10.0.0.1", "10.0.0.77"), device4, home, home, true},
		{"another network", held("10.0.0.1", "10.0.0.2"), device4, abroad, abroad, false},
		{"outside of all networks, with the same address", held("172.31.1.1", "10.0.0.2"), device4, home, home, true},
		{"outside of all networks, with addresses unknown", held("172.31.1.1"), device4, home, home, false},
		{"addresses unknown, in the network", held("10.0.0.1"), device4, home, home, true},
		{"addresses unknown, then another network", held("10.0.0.1"), device4, home, abroad, false},
		{"no address yet", held("10.0.0.1", "10.0.0.2"), device4, none, home, true},
		{"no address yet, then another network", held("10.0.0.1", "10.0.0.2"), device4, none, abroad, false},
		{"nothing known and no address yet", held("10.0.0.1"), device4, none, home, true},
		{"nothing known and no address yet, then another network", held("10.0.0.1"), device4, none, abroad, false},
		{"by an IPv6 next hop", held("fe80::1", "10.0.0.2"), device4, home, home, true},
		{"a router's link-local address", held("fe80::1", "2001:db8::2"), device4, home6, home6, true},
		{"a router's, with addresses unknown", held("fe80::1"), device4, home6, home6, true},
		{"a router's, and another prefix", held("fe80::1", "2001:db8:9::2"), device4, home6, home6, false},
		{"no gateway on ethernet", held("", "10.0.0.2"), device4, home, home, false},
		{"no gateway without ARP", held("", "10.0.0.2"), device{index: 7, flags: quiet}, home, home, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := tc.held.memory(tc.device, tc.first).next(unknown, tc.first).next(unknown, tc.later)
			if m.gateway.known() != tc.want || m.withdrawn != tc.want {
				t.Fatalf("got %+v, withdrawn %v; want it remembered: %v", m.gateway, m.withdrawn, tc.want)
			}
			if tc.want && (m.gateway.addr != tc.held.Gateway || m.gateway.shape != tc.held.Shape) {
				t.Errorf("got %+v of %+v", m.gateway, tc.held)
			}
		})
	}
}

// A run that finds no default route takes the gateways that an earlier one held, in
// both families; a default route comes first, and a device of another number has none.
func TestHeldGateway(t *testing.T) {
	ns, _ := wan(t)
	index := func(name string) int {
		l, err := ns.Netlink().LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l.Attrs().Index
	}
	runIP(t, ns, "-6 route add default via 2001:db8:1::99 dev w1 proto static")
	first, second, other := uplink("a", "w0"), uplink("b", "w1"), uplink("c", "w1")
	first.Held = &[2]Held{
		{Index: index("w0"), Gateway: addr("10.0.0.1"), Sources: []netip.Addr{addr("10.0.0.2")}},
		{Index: index("w0"), Gateway: addr("2001:db8::1"), Sources: []netip.Addr{addr("2001:db8::2")}},
	}
	second.Held = &[2]Held{
		{Index: index("w1"), Gateway: addr("10.77.0.1")},
		{Index: index("w1"), Gateway: addr("2001:db8:1::1"), Sources: []netip.Addr{addr("2001:db8:1::2")}},
	}
	other.Held = &[2]Held{{Index: index("w0"), Gateway: addr("10.1.0.1")}, {}}
	o := observe(t, ns)
	o.m.SetUplinks([]Uplink{first, second, other})
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	o.untilGateway("a", failover.IPv6, "2001:db8::1 withdrawn")
	o.untilGateway("b", failover.IPv4, "")
	o.untilGateway("b", failover.IPv6, "2001:db8:1::99 static")
	o.untilGateway("c", failover.IPv4, "")
	runIP(t, ns, "route add default via 10.0.0.9 dev w0 proto dhcp")
	o.untilGateway("a", failover.IPv4, "10.0.0.9 dhcp")
	runIP(t, ns, "route del default via 10.0.0.9 dev w0 proto dhcp")
	o.untilGateway("a", failover.IPv4, "10.0.0.9 withdrawn")
}

// A reload that names the uplink otherwise, or changes another of its keys, forgets no
// gateway; one that says where the gateway comes from does.
func TestReloadKeepsTheGateway(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0 proto dhcp")
	o := observe(t, ns, uplink("a", "w0"))
	o.untilGateway("a", failover.IPv4, "10.0.0.1 dhcp")
	runIP(t, ns, "route del default via 10.0.0.1 dev w0 proto dhcp")
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	without := uplink("a", "w0")
	without.IPv6 = false
	o.m.SetUplinks([]Uplink{without})
	o.untilLink("a", "without IPv6", func(l failover.Link) bool { return len(l.Family[1].Addresses) == 0 })
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	o.m.SetUplinks([]Uplink{uplink("fiber", macOf(t, ns, "w0"))})
	o.untilGateway("fiber", failover.IPv4, "10.0.0.1 withdrawn")
	named := uplink("fiber", "w0")
	named.Gateway[failover.IPv4].Addr = addr("10.0.0.5")
	o.m.SetUplinks([]Uplink{named})
	o.untilGateway("fiber", failover.IPv4, "10.0.0.5 config")
	o.m.SetUplinks([]Uplink{uplink("fiber", "w0")})
	o.untilGateway("fiber", failover.IPv4, "")
}

func macOf(t *testing.T, ns *netns.NS, device string) string {
	t.Helper()
	l, err := ns.Netlink().LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().HardwareAddr.String()
}
