package daemon

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"swerve/control"
	"swerve/testenv/netns"
)

// The source that the default routes by wan0 prefer, on the loopback device.
const preferred4, preferred6 = "192.0.2.99", "2001:db8:99::9"

// transfer makes the network of wan0 one that its provider routes nothing back to, but a
// block on the loopback device. It returns a client in a private LAN.
func (g *gateway) transfer() *netns.NS {
	g.t.Helper()
	lan := netns.New(g.t)
	g.must(netns.Veth(g.ns, "lan0", lan, "lan0"))
	for i, ns := range []*netns.NS{g.ns, lan} {
		g.must(ns.SetUp("lan0"))
		g.must(ns.AddAddr("lan0", netip.MustParsePrefix(fmt.Sprintf("192.168.7.%d/24", i+1))))
		g.must(ns.AddAddr("lan0", netip.MustParsePrefix(fmt.Sprintf("fd00:7::%d/64", i+1))))
	}
	// A router asks for its neighbours with a link-local address.
	for i, ns := range []*netns.NS{g.isp, g.ns} {
		for _, dev := range []string{"wan0", "wan1"} {
			g.must(ns.AddAddr(dev, netip.MustParsePrefix(fmt.Sprintf("fe80::%d/64", i+1))))
		}
	}
	_, err := lan.Run("sh", "-ec", "ip route add default via 192.168.7.1; ip -6 route add default via fd00:7::1")
	g.must(err)
	g.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	g.preferredOnLo("add")
	_, err = g.isp.Run("sh", "-ec", `ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad
		ip route add 192.0.2.98/31 via 203.0.113.2; ip -6 route add 2001:db8:99::/64 via 2001:db8:1::2
		nft add table inet isp
		nft add chain inet isp input '{ type filter hook input priority 0; }'
		nft add rule inet isp input ip saddr 203.0.113.2 ip daddr 198.18.0.77 drop
		nft add rule inet isp input ip6 saddr 2001:db8:1::2 ip6 daddr 2001:db8:77::1 drop`)
	g.must(err)
	return lan
}

func (g *gateway) preferredOnLo(action string) {
	g.t.Helper()
	g.sh(fmt.Sprintf("ip addr %s %s/32 dev lo; ip -6 addr %s %s/128 dev lo nodad", action, preferred4, action, preferred6))
}

// preferring gives the default routes by wan0 the source.
func (g *gateway) preferring() {
	g.t.Helper()
	g.sh(`ip -4 route replace default via 203.0.113.1 dev wan0 proto dhcp metric 100 src ` + preferred4 + `
		ip -6 route replace default via 2001:db8:1::1 dev wan0 proto ra metric 1024 src ` + preferred6)
	g.configureBeyond("")
}

// configureBeyond writes the configuration with more settings for the first uplink, and
// targets beyond the gateways.
func (g *gateway) configureBeyond(fiber string) {
	g.t.Helper()
	fiber = strings.TrimSuffix("interface: wan0, "+fiber, ", ")
	g.write("- {name: fiber, "+fiber+"}\n  - {name: lte, interface: wan1}", "")
	text, err := os.ReadFile(g.config())
	g.must(err)
	g.must(os.WriteFile(g.config(), bytes.ReplaceAll(text, []byte("[gateway]"), []byte(`[198.18.0.77, "2001:db8:77::1"]`)), 0o600))
}

// arrive checks as which sources new sessions arrive: those of a client in the LAN, and
// of the gateway itself.
func (g *gateway) arrive(lan *netns.NS, what string, servers, want [2]string) {
	g.t.Helper()
	for f, address := range servers {
		server := g.mirror(address)
		for name, ns := range map[string]*netns.NS{"the LAN": lan, "the gateway": g.ns} {
			g.eventually(what+", from "+name+" to "+address, func() bool {
				s, err := dialFrom(g.t, ns, []string{"0.0.0.0", "::"}[f], server)
				return err == nil && s.seen() == want[f]
			})
		}
	}
}

// carried reports whether an uplink is up in both families and carries new flows.
func carried(s *control.Status, uplink string) bool {
	for _, u := range s.Uplinks {
		if u.Name == uplink && (u.IPv4.State != control.Up || u.IPv6.State != control.Up) {
			return false
		}
	}
	out := true
	for _, p := range s.Policies {
		out = out && len(p.IPv4) == 1 && p.IPv4[0].Uplink == uplink && len(p.IPv6) == 1 && p.IPv6[0].Uplink == uplink
	}
	return out
}

// A provider has a private network to its customer and routes a public block to them,
// so that nothing comes back to the address on the interface. Probes, the gateway's own
// sessions and what is translated have the source that the default route prefers,
// whether it is learnt or configured.
func TestPreferredSource(t *testing.T) {
	servers := [2]string{"198.18.0.77", "2001:db8:77::1"}
	byFiber, byLTE := [2]string{preferred4, preferred6}, [2]string{"198.51.100.2", "2001:db8:2::2"}
	for name, set := range map[string]func(*gateway){
		"learnt": (*gateway).preferring,
		"configured": func(g *gateway) {
			g.configureBeyond("route: {src: " + preferred4 + "}, route6: {src: \"" + preferred6 + "\"}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			lan := g.transfer()
			set(g)
			script := g.do("plan", nil)
			if !strings.Contains(script, "snat ip to "+preferred4) || !strings.Contains(script, "snat ip6 to "+preferred6) {
				t.Errorf("the plan:\n%s", script)
			}
			g.sh(script)
			g.do("teardown", nil)
			p := g.start()
			p.await("fiber carries", func(s *control.Status) bool { return allUp(s) && carried(s, "fiber") })
			g.arrive(lan, "by fiber", servers, byFiber)
			if s, err := p.client.Status(t.Context()); err != nil || s.SwitchesTotal != 0 {
				t.Errorf("traffic moved at the start: %v, %+v", err, s)
			}
			g.hushOn("wan0", true)
			p.await("lte carries", func(s *control.Status) bool { return carried(s, "lte") })
			g.arrive(lan, "by lte", servers, byLTE)
			g.hushOn("wan0", false)
			p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
			g.arrive(lan, "by fiber again", servers, byFiber)
			if out := g.do("plan", nil); out != "" {
				t.Errorf("there is still to do:\n%s", out)
			}
		})
	}
}

// The preferred source changes to another, and disappears: the kernel then has no IPv4
// route by the uplink, and an IPv6 one without a source.
func TestPreferredSourceFollows(t *testing.T) {
	servers := [2]string{"198.18.0.77", "2001:db8:77::1"}
	g := newGateway(t)
	lan := g.transfer()
	g.preferring()
	p := g.start()
	p.await("fiber carries", func(s *control.Status) bool { return allUp(s) && carried(s, "fiber") })
	g.preferredOnLo("del")
	p.await("lte carries", func(s *control.Status) bool { return carried(s, "lte") })
	g.arrive(lan, "without the source", servers, [2]string{"198.51.100.2", "2001:db8:2::2"})
	if out := g.sh("ip -4 route show table all proto 83 dev wan0"); strings.Contains(out, "src") {
		t.Errorf("routes with a source that is gone:\n%s", out)
	}
	g.preferredOnLo("add")
	g.preferring()
	p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
	g.arrive(lan, "with the source again", servers, [2]string{preferred4, preferred6})
	const other4, other6 = "192.0.2.98", "2001:db8:99::8"
	g.sh(`ip addr add ` + other4 + `/32 dev lan0; ip -6 addr add ` + other6 + `/64 dev lan0 nodad
		ip -4 route replace default via 203.0.113.1 dev wan0 proto dhcp metric 100 src ` + other4 + `
		ip -6 route replace default via 2001:db8:1::1 dev wan0 proto ra metric 1024 src ` + other6)
	g.arrive(lan, "with another source", servers, [2]string{other4, other6})
	p.await("fiber carries with another source", func(s *control.Status) bool { return carried(s, "fiber") })
}

// The default routes of main have another order in each family: at the start what main
// prefers carries in each, and new sessions keep their sources, until an uplink fails.
func TestAutoKeepsTheOrderOfEachFamily(t *testing.T) {
	sources := map[string][2]string{"wan0": {"203.0.113.2", "2001:db8:1::2"}, "wan1": {"198.51.100.2", "2001:db8:2::2"}}
	for _, tc := range []struct{ name, set, first4, first6 string }{
		{"IPv6 by wan1", "ip -6 route replace default via 2001:db8:2::1 dev wan1 proto ra metric 1000", "wan0", "wan1"},
		{"IPv4 by wan1", "ip -4 route add default via 198.51.100.1 dev wan1 proto dhcp metric 50", "wan1", "wan0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGateway(t)
			_, err := g.isp.Run("sh", "-ec", "ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad")
			g.must(err)
			g.sh(tc.set)
			text := fmt.Sprintf("uplinks: auto\nprobe: {targets: [198.18.0.77, \"2001:db8:77::1\"]}\nfailback: {after: 0s, min_interval: 0s}\n"+
				"control: {socket: %s, group: \"\"}\nstate: %s/state\n", g.socket(), g.folder)
			g.must(os.WriteFile(g.config(), []byte(text), 0o600))
			servers := [2]netip.AddrPort{g.mirror("198.18.0.77"), g.mirror("2001:db8:77::1")}
			arrives := func(f int, by string) func() bool {
				return func() bool {
					s, err := dialFrom(t, g.ns, []string{"0.0.0.0", "::"}[f], servers[f])
					return err == nil && s.seen() == sources[by][f]
				}
			}
			for f, first := range []string{tc.first4, tc.first6} {
				if !arrives(f, first)() {
					t.Fatalf("the sessions of %s go another way before the start:\n%s", first, g.sh("ip route get 198.18.0.77; ip -6 route get 2001:db8:77::1; ip -6 route; ip -6 neigh"))
				}
			}
			p := g.start()
			p.await("each family's first carries", func(s *control.Status) bool {
				return allUp(s) && len(s.Policies) == 1 && len(s.Policies[0].IPv4) == 1 && s.Policies[0].IPv4[0].Uplink == tc.first4 &&
					len(s.Policies[0].IPv6) == 1 && s.Policies[0].IPv6[0].Uplink == tc.first6 && has(s, "order-by-family", "in ipv6 "+tc.first6+", then "+tc.first4)
			})
			for range 5 {
				if !arrives(0, tc.first4)() || !arrives(1, tc.first6)() {
					t.Errorf("new sessions have other sources:\n%s", g.picture())
				}
			}
			if s, err := p.client.Status(t.Context()); err != nil || s.SwitchesTotal != 0 {
				t.Errorf("traffic moved: %v, %+v", err, s)
			}
			g.hushOn(tc.first6, true)
			g.eventually("IPv6 goes by the other one", arrives(1, tc.first4))
			if !arrives(0, tc.first4)() {
				t.Error("IPv4 moved as well")
			}
			g.hushOn(tc.first6, false)
			p.await("both are up again", allUp)
			g.eventually("IPv6 goes as before", arrives(1, tc.first6))
		})
	}
}
