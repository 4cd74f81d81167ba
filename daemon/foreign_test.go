package daemon

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
	"swerve/testenv/fake"
	"swerve/testenv/netns"
)

// way returns the device by which a packet leaves, according to the kernel.
func (g *gateway) way(what string) string {
	g.t.Helper()
	out, err := g.ns.Run("sh", "-c", "ip route get "+what)
	if err != nil {
		return "none"
	}
	words := strings.Fields(out)
	for i, w := range words[:len(words)-1] {
		if w == "dev" {
			return words[i+1]
		}
	}
	return out
}

func (g *gateway) wantWay(dev string, what ...string) {
	g.t.Helper()
	for _, w := range what {
		g.eventually(w+" goes by "+dev, func() bool { return g.way(w) == dev })
	}
}

func (g *gateway) eventually(what string, so func() bool) {
	g.t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if so() {
			return
		}
	}
	g.t.Fatalf("not within 30 s: %s\n%s", what, g.picture())
}

func foreignOf(s *control.Status) (v4, v6 string) {
	name := func(d *control.ForeignDefault) string {
		if d == nil {
			return ""
		}
		return d.Interface + " " + d.Destination
	}
	return name(s.Policies[0].ForeignDefault.IPv4), name(s.Policies[0].ForeignDefault.IPv6)
}

const (
	unmarked4, unmarked6 = "192.0.2.77", "2001:db8:77::1"
	guests4              = "192.0.2.77 mark 0x41000000"
	probe4               = "192.0.2.77 oif wan0 mark 0x01000000"
	probe6               = "2001:db8:77::1 oif wan0 mark 0x01000000 from 2001:db8:1::2"
)

// A VPN's default route that is better than the uplinks' stays in force for the
// default policy only; probes leave by their uplinks.
func TestForeignDefaultIsKept(t *testing.T) {
	for name, routes := range map[string][2]string{
		"default": {"ip -4 route add default dev tun0 metric 50; ip -6 route add default dev tun0 metric 50", "default default"},
		"halves": {`for half in 0.0.0.0/1 128.0.0.0/1; do ip -4 route add $half dev tun0; done
			for half in ::/1 8000::/1; do ip -6 route add $half dev tun0; done`, "0.0.0.0/1 ::/1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.configure("policies:\n  - {name: guests, tiers: [lte]}\nrules: [{from: 192.0.2.99, use: guests}]\n")
			g.sh("ip tuntap add tun0 mode tun; ip link set tun0 up; " + routes[0])
			p := g.start()
			v4, v6, _ := strings.Cut(routes[1], " ")
			v4, v6 = "tun0 "+v4, "tun0 "+v6
			kept := func(s *control.Status) bool {
				a, b := foreignOf(s)
				return allUp(s) && a == v4 && b == v6 && hasCode(s, "foreign-default")
			}
			p.await("both defaults are kept", kept)
			g.wantWay("tun0", unmarked4, unmarked6)
			g.wantWay("wan1", guests4)
			g.wantWay("wan0", probe4, probe6)

			g.sh("ip link set tun0 down") // this removes its routes
			p.await("nothing is kept", func(s *control.Status) bool {
				a, b := foreignOf(s)
				return a == "" && b == "" && !hasCode(s, "foreign-default")
			})
			g.wantWay("wan0", unmarked4, unmarked6)
			if name == "default" && !strings.Contains(g.sh("ip -4 rule; ip -6 rule"), "32765:\tfrom all lookup 5364") {
				t.Error("the rule for the default policy is not back")
			}
			g.sh("ip link set tun0 up; " + routes[0])
			p.await("both are kept again", kept)
			g.wantWay("tun0", unmarked4, unmarked6)
		})
	}
}

func hasCode(s *control.Status, code string) bool {
	for _, p := range s.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

func TestForeignDefaultIsOverruled(t *testing.T) {
	g := newGateway(t)
	g.configure("kernel: {foreign_defaults: overrule}\n")
	g.sh(`ip tuntap add tun0 mode tun; ip link set tun0 up
		ip -4 route add default dev tun0 metric 50; ip -6 route add default dev tun0 metric 50`)
	p := g.start()
	p.await("the uplinks carry", func(s *control.Status) bool {
		a, b := foreignOf(s)
		return allUp(s) && a == "" && b == "" && !hasCode(s, "foreign-default")
	})
	g.wantWay("wan0", unmarked4, unmarked6)
}

// hush makes fiber's provider silent, or lets it answer again.
func (g *gateway) hush(silent bool) { g.t.Helper(); g.hushOn("wan0", silent) }

func (g *gateway) hushOn(device string, silent bool) {
	g.t.Helper()
	script := "nft delete table inet hush"
	if silent {
		script = `nft add table inet hush; nft add chain inet hush in '{ type filter hook input priority 0; }'
			nft add rule inet hush in iifname ` + device + ` icmpv6 type echo-request drop
			nft add rule inet hush in iifname ` + device + ` icmp type echo-request drop`
	}
	_, err := g.isp.Run("sh", "-ec", script)
	g.must(err)
}

func lostFiber(s *control.Status) bool {
	return len(s.Uplinks) == 2 && s.Uplinks[0].IPv4.State == control.Down && s.Uplinks[0].IPv6.State == control.Down &&
		s.Uplinks[1].IPv4.State == control.Up && s.Uplinks[1].IPv6.State == control.Up
}

// Host routes to public addresses from DHCP and router advertisements do not bind
// these addresses to an uplink that is down, and neither does main's default route;
// routes written by an administrator do.
func TestRoutesToALostUplinkAreOverruled(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	g.sh(`ip -4 route add 192.0.2.53 via 203.0.113.1 dev wan0 proto dhcp metric 100
		ip -6 route add 2001:db8:53::53 via 2001:db8:1::1 dev wan0 proto ra metric 1024
		ip -4 route add 192.0.2.54 via 203.0.113.1 dev wan0 proto static metric 100
		ip -4 route add 10.1.1.1 via 203.0.113.1 dev wan0 proto dhcp metric 100
		ip -4 route add 192.0.2.55 via 203.0.113.1 dev wan0 proto dhcp`)
	original := g.picture()
	p := g.run()
	begun := g.picture()
	g.hush(true)
	p.await("fiber is down", lostFiber)
	g.wantWay("wan1", "192.0.2.53", "2001:db8:53::53")
	g.wantWay("wan0", "192.0.2.54", "10.1.1.1", "192.0.2.55", "192.0.2.53 oif wan0 mark 0x01000000")
	p.await("the pin of metric 0 is told", func(s *control.Status) bool {
		return has(s, "pinned-route", "192.0.2.55") && !has(s, "pinned-route", "192.0.2.53") && !hasCode(s, "main-leads-to-dead")
	})
	for _, c := range []struct{ table, dst, way string }{
		{"-4 route show table main default", "metric 99", "via 198.51.100.1 dev wan1 proto 83 metric 99"},
		{"-6 route show table main default", "metric 1023", "via 2001:db8:2::1 dev wan1 proto 83 metric 1023"},
		{"-4 route show 192.0.2.53", "pin", "via 203.0.113.1 dev wan0 proto dhcp metric 100"},
	} {
		if got := g.sh("ip " + c.table); !strings.Contains(got, c.way) {
			t.Errorf("%s: no %q in\n%s", c.dst, c.way, got)
		}
	}
	// During the outage one pin is added and one removed.
	g.sh(`ip -4 route add 192.0.2.56 via 203.0.113.1 dev wan0 proto dhcp metric 100
		ip -4 route del 192.0.2.53 proto dhcp`)
	g.wantWay("wan1", "192.0.2.56")
	g.eventually("the other is gone", func() bool { return g.sh("ip -4 route show 192.0.2.53") == "" })
	g.sh(`ip -4 route del 192.0.2.56 proto dhcp; ip -4 route add 192.0.2.53 via 203.0.113.1 dev wan0 proto dhcp metric 100`)
	g.wantWay("wan1", "192.0.2.53")

	g.hush(false)
	p.await("fiber is back", func(s *control.Status) bool { return allUp(s) && untroubled(s) })
	g.eventually("all is as before", func() bool { return withoutGrace(g.picture()) == begun })

	g.hush(true)
	p.await("fiber is down", lostFiber)
	g.wantWay("wan1", "192.0.2.53")
	_ = p.end(syscall.SIGKILL)
	g.wantWay("wan1", "192.0.2.53")
	g.do("teardown", nil)
	if got := g.picture(); got != original {
		t.Errorf("a teardown left\n%s\nwant\n%s", got, original)
	}
}

// If nothing can be placed before main's best default route, that is reported.
func TestMainLeadsToDead(t *testing.T) {
	for name, script := range map[string]string{
		"metric 0":        "ip -4 route del default dev wan0; ip -4 route add default via 203.0.113.1 dev wan0 proto static",
		"metric 1":        "ip -4 route del default dev wan0; ip -4 route add default via 203.0.113.1 dev wan0 metric 1",
		"a VPN's between": "ip tuntap add tun0 mode tun; ip link set tun0 up; ip -4 route add default dev tun0 metric 100 tos 8; ip -4 route del default dev wan1; ip -4 route add default dev tun0 metric 150; ip -4 route add default via 198.51.100.1 dev wan1 metric 200",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.sh(script)
			p := g.run()
			g.hush(true)
			p.await("it is told", func(s *control.Status) bool { return lostFiber(s) && has(s, "main-leads-to-dead", "wan0") })
			g.wantWay("wan1", unmarked4, unmarked6)
			if got := g.sh("ip -4 route show table main default proto 83"); strings.Count(got, "\n") != 2 {
				t.Errorf("main has more than the mirror:\n%s", got)
			}
		})
	}
}

// Without a configuration a tunnel that holds a default route is not an uplink: its
// route stays in force, and nothing of ours affects its traffic.
func TestTunnelIsNoUplinkOfAuto(t *testing.T) {
	g := newGateway(t)
	g.must(os.WriteFile(g.config(), fmt.Appendf(nil, "uplinks: auto\nprobe: {targets: [203.0.113.1, 198.51.100.1]}\ncontrol: {socket: %s, group: \"\"}\nstate: %s/state\n",
		g.socket(), g.folder), 0o600))
	g.sh("ip tuntap add tun0 mode tun; ip link set tun0 up; ip -4 route add default dev tun0 metric 50")
	if got := g.do("defaults", nil); got != "wan0 100\nwan1 101\n" {
		t.Errorf("default routes of uplinks: %q", got)
	}
	if got := g.do("plan", nil); strings.Contains(got, "tun0") || strings.Contains(got, "-4 rule add pref 32765") || !strings.Contains(got, "-6 rule add pref 32765") {
		t.Errorf("plan:\n%s", got)
	}
}

// A foreign default route that flaps is followed at a bounded rate, and its final
// state is followed too.
func TestForeignDefaultFlaps(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		vpn := routing.Route{Slot: routing.Slot{Family: failover.IPv4, Table: routing.MainTable, Dst: anyIPv4, Metric: 50}, Protocol: 16,
			Type: routing.Unicast, Hops: []routing.Hop{{Device: "tun0", Index: 99, Weight: 1}}}
		r.Journal.Take()
		set := func(there bool) {
			r.Routes.Lock()
			r.Routes.Others = nil
			if there {
				r.Routes.Others = []routing.Route{vpn}
			}
			r.Routes.Unlock()
			fake.Poke(r.net.repair)
		}
		for n := range 200 { // ten seconds
			set(n%2 == 0)
			r.after(50 * time.Millisecond)
		}
		if changes := len(fake.With(r.Journal.Take(), "32765")); changes < foreignBurst || changes > foreignBurst+2*10+5 {
			t.Errorf("the rule was changed %d times in 10 s", changes)
		}
		for _, there := range []bool{true, false, true} {
			r.after(time.Minute)
			set(there)
			r.until("the rule follows", 100*time.Millisecond, func() bool {
				return (len(r.Routes.RuleTexts("pref 32765 lookup 5364")) == 1) == there // IPv6 keeps its own
			})
		}
	})
}

// If a pinned address is also a probe target, its route by another uplink does not
// divert the lost uplink's probes: the uplink stays down.
func TestOverruledPinIsATarget(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	text, err := os.ReadFile(g.config())
	g.must(err)
	g.must(os.WriteFile(g.config(), []byte(strings.Replace(string(text), "[gateway]", "[192.0.2.53, \"2001:db8:53::53\", gateway]", 1)), 0o600))
	_, err = g.isp.Run("sh", "-ec", "ip addr add 192.0.2.53 dev lo; ip -6 addr add 2001:db8:53::53 dev lo")
	g.must(err)
	g.sh(`ip -4 route add 192.0.2.53 via 203.0.113.1 dev wan0 proto dhcp metric 100
		ip -6 route add 2001:db8:53::53 via 2001:db8:1::1 dev wan0 proto ra metric 1024`)
	p := g.run()
	g.hush(true)
	p.await("fiber is down", lostFiber)
	g.wantWay("wan1", "192.0.2.53", "2001:db8:53::53")
	began := time.Now()
	p.await("it is down for a while", func(s *control.Status) bool {
		if !lostFiber(s) {
			t.Fatalf("fiber is not down any more: %+v", s.Uplinks[0])
		}
		return time.Since(began) > 3*time.Second
	})
	g.hush(false)
	p.await("fiber is back", allUp)
	g.wantWay("wan0", "192.0.2.53", "2001:db8:53::53")
}

// line adds an Ethernet interface whose router holds the best default routes.
func (g *gateway) line(name, net string) {
	g.t.Helper()
	g.must(netns.Veth(g.ns, name, g.isp, "to-"+name))
	g.must(g.isp.SetUp("to-" + name))
	g.sh(fmt.Sprintf(`ip link set %[1]s up; ip -4 addr add %[2]s.2/24 dev %[1]s
		ip -6 addr add 2001:db8:9::2/64 dev %[1]s nodad
		ip -4 route add default via %[2]s.1 dev %[1]s metric 50; ip -6 route add default via 2001:db8:9::1 dev %[1]s metric 50`, name, net))
}

func keeps(name string) func(s *control.Status) bool {
	return func(s *control.Status) bool {
		a, b := foreignOf(s)
		return allUp(s) && a == name+" default" && b == name+" default" && hasCode(s, "foreign-default")
	}
}

func passesOver(name string) func(s *control.Status) bool {
	return func(s *control.Status) bool {
		a, b := foreignOf(s)
		return allUp(s) && a == "" && b == "" && has(s, "default-passed-over", name) && !hasCode(s, "foreign-default")
	}
}

// A modem that returns as another interface, with the best default route, takes
// nothing from the uplinks, neither under way nor at a boot.
func TestDefaultOfANewLine(t *testing.T) {
	g := newGateway(t)
	p := g.run()
	g.line("usb1", "10.77.0")
	p.await("it is told", passesOver("usb1"))
	g.wantWay("wan0", unmarked4, unmarked6)
	_ = p.end(syscall.SIGTERM)
	p = g.start()
	p.await("it is told after a restart", passesOver("usb1"))
	_ = p.end(syscall.SIGTERM)
	g.do("teardown", nil)
	p = g.start()
	p.await("it is told after a boot", passesOver("usb1"))
	g.wantWay("wan0", unmarked4, unmarked6)
	g.sh("ip tuntap add tun0 mode tun; ip link set tun0 up; ip -4 route add default dev tun0 metric 40; ip -6 route add default dev tun0 metric 40")
	p.await("a tunnel's is kept", keeps("tun0"))
	g.wantWay("tun0", unmarked4, unmarked6)
	g.sh("ip link del tun0")
	p.await("it is told again", passesOver("usb1"))
	g.sh("ip link del usb1")
	p.await("nothing is told", func(s *control.Status) bool { return allUp(s) && !hasCode(s, "default-passed-over") })
}

// A default route that stood at the first start stays in force for good, also when it
// comes after a boot.
func TestDefaultThatStood(t *testing.T) {
	g := newGateway(t)
	g.line("mpls0", "10.78.0")
	p := g.start()
	p.await("it is kept", keeps("mpls0"))
	g.wantWay("mpls0", unmarked4, unmarked6)
	_ = p.end(syscall.SIGTERM)
	g.do("teardown", nil)
	g.sh("ip link del mpls0")
	p = g.run()
	g.line("mpls0", "10.78.0")
	p.await("it is kept when it comes later", keeps("mpls0"))
	g.wantWay("mpls0", unmarked4, unmarked6)
	// Without uplinks that have routes main decides, whatever it has.
	g.sh("ip link del mpls0")
	g.line("usb1", "10.77.0")
	g.sh(" ip link set wan0 down; ip link set wan1 down")
	p.await("it is told that nothing else is left", func(s *control.Status) bool {
		for _, q := range s.Problems {
			if q.Code == "foreign-default" && q.Object == "usb1" && q.Severity == control.Warning {
				return true
			}
		}
		return false
	})
	g.wantWay("usb1", unmarked4)
}

// A plan, a file for this machine and an examination take for an uplink what a running
// daemon does, or what an earlier one remembered, and no other interface with a default
// route, of which they say so. Where nothing is known, they show what would be if a
// target answered through each.
func TestOutsideOfAnAutoDaemon(t *testing.T) {
	g := newGateway(t)
	g.must(os.WriteFile(g.config(), fmt.Appendf(nil, "uplinks: auto\nprobe: {targets: [203.0.113.1, 198.51.100.1]}\ncontrol: {socket: %s, group: \"\"}\nstate: %s/state\n",
		g.socket(), g.folder), 0o600))
	g.spare("lan0")
	g.sh("ip addr add 192.168.10.1/24 dev lan0; ip route add default via 192.168.10.50 dev lan0 metric 500; sysctl -qw net.ipv6.conf.lan0.accept_ra=0")
	const silent = "no target has answered"
	if got := g.do("plan", nil); !strings.Contains(got, "oif lan0") || !strings.HasPrefix(got, "# wan0, wan1 and lan0: "+silent) {
		t.Errorf("a plan where nothing is known:\n%s", got)
	}
	if got := g.do("init", nil); !strings.Contains(got, "\n    interface: lan0\n") || !strings.Contains(got, "No target has answered so far") {
		t.Errorf("a file where nothing is known:\n%s", got)
	}
	notTaken := func(when string) {
		t.Helper()
		if got := g.do("init", nil); strings.Contains(got, "\n    interface: lan0\n") || !strings.Contains(got, "\n    interface: wan1\n") ||
			!strings.Contains(got, "# lan0: "+silent) {
			t.Errorf("a file %s:\n%s", when, got)
		}
		found := g.do("doctor", nil)
		if strings.Contains(found, "net.ipv6.conf.lan0") || !strings.Contains(found, `"not-an-uplink"`) {
			t.Errorf("found %s: %s", when, found)
		}
	}
	p := g.start()
	p.await("both uplinks are up", func(s *control.Status) bool { return len(s.Uplinks) >= 2 && allUp(s) })
	p.await("nothing is left to do", func(*control.Status) bool { return g.do("plan", nil) == "" })
	notTaken("beside the daemon")
	g.must(p.end(syscall.SIGTERM))
	notTaken("without the daemon")
	g.do("teardown", nil)
	if got := g.do("plan", nil); strings.Contains(got, "dev lan0") || !strings.Contains(got, "oif wan1 lookup") || !strings.HasPrefix(got, "# lan0: "+silent) {
		t.Errorf("a plan by what is remembered:\n%s", got)
	}
}
