package system

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// awaitNative waits until the status calls these prefixes native on fiber, and none on
// lte.
func (g *gateway) awaitNative(prefixes ...netip.Prefix) {
	g.Helper()
	g.Await(fmt.Sprintf("%v to be native", prefixes), func(s *control.Status) bool {
		return slices.Equal(s.Uplinks[fiber].Native, prefixes) && len(s.Uplinks[lte].Native) == 0
	})
}

// in runs a script in a namespace.
func (g *gateway) in(ns *netns.NS, script string) {
	g.Helper()
	if out, err := ns.Run("sh", "-euc", script); err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
}

// No flow showed anything at the first start: that the LAN's prefix is fiber's is proven by
// a probe, though lte's provider would send such packets too. After a restart it is known
// at once. A daily reconnect gives the LAN another prefix: hosts keep their own addresses.
func TestPrefixIsProven(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true}, quickRecovery)
		g.shell("nft add table ip6 mine; nft add chain ip6 mine input '{ type filter hook input priority 0; }'; nft add rule ip6 mine input ct state invalid drop")
		g.Start()
		g.awaitNative(lab.LANNative)
		_, _, client := lab.ClientAddresses(0)
		p := g.newClients()
		g.goFrom(client, p.of(failover.IPv6)...)
		f := g.Break(fiber, "black-hole")
		g.goBy(lte, p.of(failover.IPv6)...)
		g.Mend(f)
		g.Await("fiber to carry", lab.Settled)
		g.goFrom(client, p.fresh[failover.IPv6])
		g.Stop()
		g.Start()
		g.awaitNative(lab.LANNative)
		g.goFrom(client, p.fresh[failover.IPv6])

		next := netip.MustParsePrefix("2001:db8:1:51::/64")
		g.in(g.ISP[fiber], "ip -6 route del 2001:db8:1:50::/64; ip -6 route add 2001:db8:1:51::/64 via 2001:db8:1::2")
		g.shell("ip -6 addr add 2001:db8:1:51::1/64 dev lan0 nodad; ip -6 addr del 2001:db8:1:50::1/64 dev lan0")
		g.in(g.Client, "ip -6 addr add 2001:db8:1:51::10/64 dev eth0 nodad; ip -6 addr del 2001:db8:1:50::10/64 dev eth0")
		g.awaitNative(next)
		g.goFrom(netip.MustParseAddr("2001:db8:1:51::10"), g.session(g.Client, traffic.UDPSessions, lab.Server6, 20),
			g.session(g.Client, traffic.TCPSessions, lab.Server6, 20))
	})
}

// That an answer comes back by another uplink proves nothing.
func TestAnswerByAnotherUplinkIsNoProof(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true}, `uplinks:
  - {name: fiber, interface: wan0, prefix6: none}
  - {name: lte, interface: wan1}
`)
		g.Wire[lte].Accept(lab.LANNative)
		g.Start()
		g.Await("all to be up", lab.Settled)
		seen := func() bool {
			out, err := g.Internet.Run("sh", "-c", "nft list counter ip6 witness asked")
			if err != nil {
				g.Fatalf("%v\n%s", err, out)
			}
			return !strings.Contains(string(out), "packets 0 ")
		}
		g.in(g.Internet, `nft 'table ip6 witness { counter asked { }; chain pre { type filter hook prerouting priority raw; ip6 saddr 2001:db8:1:50::1 icmpv6 type echo-request counter name asked; }; }'`)
		g.Until("a proof by lte", seen)
		client := g.session(g.Client, traffic.UDPSessions, lab.Server6, 20)
		g.goBy(fiber, client)
		for _, u := range g.Status().Uplinks {
			if len(u.Native) > 0 {
				g.Errorf("native on %s: %v", u.Name, u.Native)
			}
		}
	})
}

// The LAN has unique local addresses alone. On each uplink its prefix is translated to one
// of the provider's: on fiber the third /64 of what is delegated, which changes; on lte a
// fixed one. Hosts are reached by both, whichever carries.
func TestPrefixTranslation(t *testing.T) {
	scenario(t, func(t *trial) {
		config := strings.Replace(quickRecovery, "interface: wan0", `interface: wan0, snat6: npt, npt: {"fd00:10::/64": auto/3}`, 1)
		config = strings.Replace(config, "interface: wan1", `interface: wan1, snat6: npt, npt: {"fd00:10::/64": "2001:db8:2:60::/64"}`, 1)
		g := newGateway(t, usual, config)
		g.in(g.ISP[fiber], "ip -6 route add 2001:db8:1:100::/56 via 2001:db8:1::2")
		g.in(g.ISP[lte], "ip -6 route add 2001:db8:2:60::/64 via 2001:db8:2::2")
		g.shell("ip -6 route add unreachable 2001:db8:1:100::/60")
		g.Start()
		g.Await("all to be up", lab.Settled)
		first, other := netip.MustParseAddr("2001:db8:1:103::10"), netip.MustParseAddr("2001:db8:2:60::10")
		host, err := traffic.Serve(g.Client, lanClient[failover.IPv6])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(host.Close)
		var callers []*session
		for _, to := range []netip.Addr{first, other} {
			for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.TCPSessions, traffic.UDPStream, traffic.TCPStream} {
				callers = append(callers, g.session(g.Internet, kind, to, 20))
			}
		}
		g.goOn(callers...)
		p := g.newClients()
		g.goFrom(first, p.of(failover.IPv6)...)
		f := g.Break(fiber, "carrier")
		g.goFrom(other, p.of(failover.IPv6)...)
		g.Mend(f)
		g.Await("fiber to carry", lab.Settled)
		g.goFrom(first, p.fresh[failover.IPv6])
		for _, c := range callers[4:] {
			c.allAnswered()
		}
		g.shell("ip -6 route del unreachable 2001:db8:1:100::/60; ip -6 route add unreachable 2001:db8:1:110::/60")
		g.goFrom(netip.MustParseAddr("2001:db8:1:113::10"), p.fresh[failover.IPv6],
			g.session(g.Client, traffic.TCPSessions, lab.Server6, 20))
	})
}
