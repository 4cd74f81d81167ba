package system

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// native configures the prefixes that the ISPs have delegated.
const native = `uplinks:
  - {name: fiber, interface: wan0, prefix6: "2001:db8:1::/48"}
  - {name: lte, interface: wan1, prefix6: "2001:db8:2::/48"}
failback: {after: 2s, min_interval: 1s}
`

// The LAN has a prefix of fiber's ISP. Packets from it leave by fiber unchanged, and by
// lte, where it is foreign, with lte's address: so a session has to be moved or reset
// like any other.
func TestNativeIPv6(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"carrier", "black-hole"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, lab.Options{Delegate: true}, native)
				_, _, client := lab.ClientAddresses(0)
				p := g.newClients()
				g.goFrom(client, p.of(failover.IPv6)...)
				f := g.Break(fiber, spec)
				g.goBy(lte, p.of(failover.IPv6)...)
				awaitResults()
				for _, s := range p.of(failover.IPv6) {
					s.logEffect(spec, f.Onset)
				}
				p.tcp[failover.IPv6].wasReset(spec, f.Onset)
				p.udp[failover.IPv6].moved(spec, client, g.Uplinks[lte].Address6)
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				g.goFrom(client, p.fresh[failover.IPv6])
				g.goBy(lte, p.udp[failover.IPv6])
			})
		})
	}
}

// Hosts of a DMZ have addresses of fiber's own network by proxy ARP, and send nothing
// before the start: they keep them on fiber, one whose route comes later too, and have
// lte's on lte. In IPv6 the prefix of the link is native in any case.
func TestDMZInTheUplinksNetwork(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, twoUplinks)
		up := g.Uplinks[fiber]
		inside := func(last byte) [2]netip.Addr {
			v4, v6 := up.Address4.As4(), up.Address6.As16()
			v4[3], v6[15] = last, last
			return [2]netip.Addr{netip.AddrFrom4(v4), netip.AddrFrom16(v6)}
		}
		hosts := func(last byte) [2]netip.Addr {
			all := inside(last)
			client4, client6, _ := lab.ClientAddresses(0)
			gateway4, gateway6 := client4.As4(), client6.As16()
			gateway4[3], gateway6[15] = 1, 1
			g.Wire[fiber].Accept(netip.PrefixFrom(all[0], 32), netip.PrefixFrom(all[1], 128))
			g.shell(fmt.Sprintf(`ip route add %s dev lan0
ip -6 route add %s dev lan0
ip -6 neigh add proxy %[2]s dev wan0`, all[0], all[1]))
			out, err := g.Client.Run("sh", "-euc", fmt.Sprintf(`ip addr add %s/32 dev eth0; ip -6 addr add %s/128 dev eth0 nodad
ip route replace default via %s src %[1]s
ip -6 route replace default via %[4]s src %[2]s`, all[0], all[1], netip.AddrFrom4(gateway4), netip.AddrFrom16(gateway6)))
			if err != nil {
				g.Fatalf("%v\n%s", err, out)
			}
			return all
		}
		g.shell(`for d in wan0 lan0; do
	echo 1 >/proc/sys/net/ipv4/conf/$d/proxy_arp
	echo 1 >/proc/sys/net/ipv6/conf/$d/proxy_ndp
	echo 0 >/proc/sys/net/ipv4/neigh/$d/proxy_delay
	echo 0 >/proc/sys/net/ipv6/neigh/$d/proxy_delay
done`)
		for _, last := range []byte{50, 51} {
			all := hosts(last)
			if last == 50 {
				g.Start()
				g.Await("all to be up", lab.Settled)
			}
			g.Await("the host to be shown as native", func(s *control.Status) bool {
				return slices.Contains(s.Uplinks[fiber].Native, netip.PrefixFrom(all[0], 32)) && len(s.Uplinks[lte].Native) == 0
			})
			p := g.newClients()
			for _, f := range failover.Families {
				g.goFrom(all[f], p.of(f)...)
			}
			for _, s := range p.all() {
				s.Stop()
			}
		}
		p := g.newClients()
		f := g.Break(fiber, "black-hole")
		g.goBy(lte, p.all()...)
		g.Mend(f)
	})
}

// The state folder cannot be written. What was found native at the first start is still
// so after a restart at which the LAN is silent: the table in the kernel tells it.
func TestNativeWithoutAStateFolder(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true}, twoUplinks)
		client4, _, native6 := lab.ClientAddresses(0)
		client := [2]netip.Addr{client4, native6}
		if err := g.Carry(fiber, netip.PrefixFrom(client4, 24).Masked()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(g.daemon.File("state"), nil, 0o600); err != nil { // in place of the folder
			t.Fatal(err)
		}
		keep := func(first bool) {
			t.Helper()
			p := g.newClients()
			for _, f := range failover.Families {
				g.goFrom(client[f], p.of(f)...)
			}
			if first {
				g.Start()
				g.Await("all to be up", lab.Settled)
				for _, f := range failover.Families {
					g.goFrom(client[f], p.of(f)...)
				}
			}
			for _, s := range p.all() {
				s.Stop()
			}
		}
		keep(true)
		g.Stop()
		g.shell("conntrack -F")
		g.Start()
		g.Await("all to be up", lab.Settled)
		if got := g.Status().Uplinks[fiber].Native; len(got) != 2 {
			t.Errorf("native: %v", got)
		}
		keep(false)
	})
}

// On a router that tracked nothing, conntrack takes segments in the middle of a
// connection for no flow's (nf_conntrack_tcp_loose). Those of a native LAN and of the
// gateway itself go on.
func TestConnectionsThatConntrackIgnores(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true, Firewall: lab.FirewallNone}, twoUplinks)
		g.shell("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0")
		client4, _, native6 := lab.ClientAddresses(0)
		if err := g.Carry(fiber, netip.PrefixFrom(client4, 24).Masked()); err != nil {
			t.Fatal(err)
		}
		p := g.newClients()
		var own []*session
		for _, f := range failover.Families {
			g.goFrom([2]netip.Addr{client4, native6}[f], p.of(f)...)
			own = append(own, g.session(g.Gateway, traffic.TCPStream, lab.Servers[f], 100))
		}
		g.goBy(fiber, own...)
		start := time.Now()
		g.Start()
		g.Await("all to be up", lab.Settled)
		for _, f := range failover.Families {
			g.goFrom([2]netip.Addr{client4, native6}[f], p.of(f)...)
		}
		g.goBy(fiber, own...)
		awaitResults()
		for _, s := range slices.Concat(p.long(), own) {
			s.livedOn("the start")
			s.undisturbed("the start", start)
		}
	})
}

// What the internet answers reaches the LAN by another router: this gateway sees one
// direction alone. Connections under way at the start go on.
func TestAnswersByAnotherRouter(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true, Firewall: lab.FirewallNone}, twoUplinks)
		client4, _, native6 := lab.ClientAddresses(0)
		g.Wire[fiber].Accept(netip.PrefixFrom(client4, 32))
		if err := netns.Veth(g.Client, "eth9", g.Internet, "other"); err != nil {
			t.Fatal(err)
		}
		for ns, script := range map[*netns.NS]string{
			g.Client: `ip link set eth9 up; ip addr add 10.99.0.2/30 dev eth9; ip addr add fd99::2/64 dev eth9 nodad
for d in all eth9; do echo 0 >/proc/sys/net/ipv4/conf/$d/rp_filter; done`,
			g.Internet: fmt.Sprintf(`ip link set other up; ip addr add 10.99.0.1/30 dev other; ip addr add fd99::1/64 dev other nodad
ip route add %s/32 via 10.99.0.2; ip -6 route add %s/128 via fd99::2`, client4, native6),
		} {
			if out, err := ns.Run("sh", "-euc", script); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		var all []*session
		for _, f := range failover.Families {
			s := g.session(g.Client, traffic.TCPStream, lab.Servers[f], 100)
			g.goFrom([2]netip.Addr{client4, native6}[f], s)
			all = append(all, s)
		}
		start := time.Now()
		g.Start()
		g.Await("all to be up", lab.Settled)
		g.goOn(all...)
		awaitResults()
		for _, s := range all {
			s.livedOn("the start")
			s.undisturbed("the start", start)
		}
	})
}

// Servers under attack are often tracked in one direction alone, or not at all: their
// answers, and a router's errors about such packets, belong to no flow that conntrack
// knows. They leave as they are, by whatever address the caller asked.
func TestHalfTrackedServers(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true}, twoUplinks)
		client4, _, native6 := lab.ClientAddresses(0)
		if err := g.Carry(fiber, netip.PrefixFrom(client4, 24).Masked()); err != nil {
			t.Fatal(err)
		}
		// The network is private, so it is native by its flows alone; these are two.
		var proof []*session
		for _, f := range failover.Families {
			proof = append(proof, g.session(g.Client, traffic.UDPStream, lab.Servers[f], 20))
			g.goFrom([2]netip.Addr{client4, native6}[f], proof[f])
		}
		g.shell(`nft 'table inet raw { chain pre { type filter hook prerouting priority raw; iifname "wan0" meta l4proto tcp notrack; }; }'`)
		own := []netip.Addr{g.Uplinks[fiber].Public4, g.Uplinks[fiber].Address6}
		lan := []netip.Addr{client4, native6}
		var all []*session
		for ns, addrs := range map[*netns.NS][]netip.Addr{g.Gateway: own, g.Client: lan} {
			server, err := traffic.Serve(ns, addrs...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			for _, a := range addrs {
				all = append(all, g.session(g.Internet, traffic.TCPSessions, a, 20), g.session(g.Internet, traffic.TCPStream, a, 50))
			}
		}
		g.goOn(all...)
		start := time.Now()
		g.Start()
		g.Await("all to be up", lab.Settled)
		g.goOn(all...)
		awaitResults()
		for _, s := range all {
			if o := s.logEffect("the start", start); o.Unanswered > 0 || len(s.Breaks()) > 0 {
				t.Errorf("%s: %d unanswered, %d connections broke", s, o.Unanswered, len(s.Breaks()))
			}
		}
	})
}

// Clients that send without a pause before the very first start, when nobody translates
// what they send, are answered soon after it.
func TestUnansweredBeforeTheFirstStart(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, quickRecovery)
		g.leaks = true // while nothing masquerades
		var all []*session
		for range 4 {
			all = append(all, g.session(g.Client, traffic.UDPStream, lab.Server4, 300))
		}
		time.Sleep(300 * time.Millisecond) // of what nobody answers
		g.Start()
		g.goBy(fiber, all...)
	})
}
