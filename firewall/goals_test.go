package firewall

import (
	"fmt"
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/lane"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addresses(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// twoUplinks is the goal for a config with two uplinks and nothing else.
func twoUplinks() Goal {
	return Goal{
		Layout: lane.DefaultLayout,
		Uplinks: []Uplink{
			{Lane: 1, Name: "fiber", Interface: "wan0", SNAT: true, Addresses: addresses("203.0.113.2", "2001:db8:1::2")},
			{Lane: 2, Name: "lte", Interface: "wan1", SNAT: true, Addresses: addresses("198.51.100.2", "2001:db8:2::2")},
		},
		Policies:  []Policy{{Lane: 64, Name: "default", Uplinks: []lane.Lane{1, 2}, Detour: [2]Detour{{1, 2}, {1, 2}}}},
		Rescue:    Rescue{Addresses: 1024, For: 10 * time.Minute},
		Wildcards: true,
	}
}

// threePolicies uses every part of a goal.
func threePolicies() Goal {
	g := twoUplinks()
	g.Uplinks[0].Native6 = prefixes("2001:db8:1::/64", "2001:db8:1:50::/64")
	g.Uplinks[0].SNATExcept = prefixes("192.168.77.0/24", "10.0.0.0/9", "10.128.0.0/10", "10.3.0.0/16")
	g.Uplinks[0].MarkArrivals = true
	g.Uplinks[0].MTU, g.Uplinks[1].MTU = [2]int{1500, 1480}, [2]int{1428, 0}
	g.Uplinks[0].NPT = []PrefixPair{{netip.MustParsePrefix("fd00:5::/56"), netip.MustParsePrefix("2001:db8:1:500::/56")}}
	g.Trials = addresses("2001:db8:7::1")
	g.Uplinks[1].Native6 = prefixes("2001:db8:2::/64")
	g.Uplinks[1].SNAT6 = None
	g.Policies = append(g.Policies,
		Policy{Lane: 65, Name: "guests", Uplinks: []lane.Lane{2}, Detour: [2]Detour{{2, 1}, {}}},
		Policy{Lane: 66, Name: "strict", Uplinks: []lane.Lane{2}, Block: true},
	)
	g.Policies[0].Detour[failover.IPv4] = Detour{}
	g.Uplinks[1].Source[failover.IPv4] = netip.MustParseAddr("198.51.100.3")
	g.Kept = []Mark{{0x10000000, 0xf0000000}}
	g.Asked = []Endpoint{
		{At: netip.MustParseAddrPort("9.9.9.9:443")}, {UDP: true, At: netip.MustParseAddrPort("9.9.9.9:53")},
		{At: netip.MustParseAddrPort("[2620:fe::fe]:443")}, {At: netip.MustParseAddrPort("1.1.1.1:443")},
	}
	g.Lost[failover.IPv4] = []Pair{{1, 64}, {1, 65}}
	g.Lost[failover.IPv6] = []Pair{{2, 65}}
	return g
}

// manyUplinks is a goal with the given numbers of uplinks and policies.
func manyUplinks(uplinks, policies int) Goal {
	g := Goal{Layout: lane.DefaultLayout}
	for i := range uplinks {
		g.Uplinks = append(g.Uplinks, Uplink{
			Lane: lane.Lane(1 + i), Name: fmt.Sprintf("uplink%d", i), Interface: fmt.Sprintf("wan%d", i), SNAT: true,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, byte(i), 2})},
			Native6:   []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i)}), 48)},
		})
	}
	for i := range policies {
		p := Policy{Lane: lane.Lane(64 + i), Name: fmt.Sprintf("policy%d", i), Uplinks: []lane.Lane{1}, Block: i%2 == 1}
		g.Policies = append(g.Policies, p)
	}
	return g
}
