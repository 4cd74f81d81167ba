package system

import (
	"flag"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

var gaps = flag.Int("gaps", 0, "how often TestBusyAddressRenewals deletes an address and adds it again; 0: not at all")

// A DHCP client deletes the default route at a renewal and adds it again, a network
// manager does when it is restarted. Sessions feel nothing, and there is no switch.
func TestRouteRenewals(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"at once": "$del; $add",
		"50 ms":   "$del; sleep 0.05; $add",
		"300 ms":  "$del; sleep 0.3; $add",
		"7 s":     "$del; sleep 7; $add",
		"metric":  "$del; sleep 0.1; $add metric 5",
		"both":    "$del; ip route del default dev wan1 proto dhcp; sleep 0.3; $add",
		"often":   "for i in 1 2 3 4 5 6 7 8 9 10; do $del; sleep 0.05; $add; done",
		"altname": "ip link property add dev wan0 altname uplink-zero; sleep 0.3; ip link property del dev wan0 altname uplink-zero",
		"IPv6":    "ip -6 route del default dev wan0; sleep 7",
		"IPv4 flushed": "ip -4 rule flush protocol 83; ip -4 route flush table all proto 83; ip -4 route flush table main proto dhcp; sleep 0.3\n$add" +
			"; ip route add default via 198.51.100.1 dev wan1 proto dhcp metric 200",
		"IPv6 flushed": "ip -6 rule flush protocol 83; ip -6 route flush table all proto 83; ip -6 route flush table main proto ra; sleep 0.3",
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				// Between the deletions of the rule for the machine's networks and of
				// those for marks, an answer to the LAN goes back where it came from.
				flushed := strings.HasSuffix(name, "flushed")
				g.leaks = flushed
				p := g.clients(fiber)
				began := time.Now()
				g.shell("del='ip route del default dev wan0 proto dhcp'\n" +
					"add='ip route add default via 203.0.113.1 dev wan0 proto dhcp'\n" + script)
				g.goBy(fiber, p.all()...)
				awaitResults()
				for _, s := range p.all() {
					if flushed && s.Kind != traffic.TCPStream {
						continue // there was no route at all for a moment
					}
					s.undisturbed(name, began)
				}
				g.unmoved()
			})
		})
	}
}

// unmoved wants the first uplink never to have been left.
func (g *gateway) unmoved() {
	g.Helper()
	if n := g.Status().SwitchesTotal; n > 0 {
		g.Errorf("%d switches: %+v", n, g.switches())
	}
	for _, f := range failover.Families {
		for _, state := range g.entered(fiber, f) {
			if state == control.Down || state == control.Shunned {
				g.Errorf("fiber was %s in %s", state, f)
			}
		}
	}
}

// A provider gives the WAN a link-local address alone and delegates a prefix to the
// LAN: IPv6 goes by it, with the LAN's own addresses.
func TestLinkLocalWAN(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{Delegate: true}, quickRecovery)
		ll := strings.TrimSpace(g.shell("ip -6 addr flush dev wan0 scope global\n" +
			"ip -6 -o addr show dev wan0 scope link | awk '{print $4}' | cut -d/ -f1"))
		out, err := g.ISP[fiber].Run("ip", "-6", "route", "replace", lab.LANNative.String(), "via", ll, "dev", "cust")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		g.Start()
		g.Await("fiber to carry, and all to be up", lab.Settled)
		_, _, client := lab.ClientAddresses(0)
		p := g.newClients()
		g.goFrom(client, p.of(failover.IPv6)...)
		g.goBy(fiber, p.of(failover.IPv4)...)
		if s := g.Status().Uplinks[fiber].IPv6.State; s != control.Up {
			t.Errorf("fiber is %s in IPv6", s)
		}
		f := g.Break(fiber, "black-hole")
		g.goBy(lte, p.of(failover.IPv6)...)
		awaitResults()
		p.tcp[failover.IPv6].wasReset("black-hole", f.Onset)
		g.Mend(f)
		g.Await("fiber to carry", lab.Settled)
		g.goFrom(client, p.fresh[failover.IPv6])
	})
}

// between waits until a request was just answered, and the answer acknowledged: the
// next segment is some time away. One that leaves in the millisecond between the
// kernel's removal of an entry and the daemon's reaction goes by the other uplink.
func (s *session) between() {
	s.g.Helper()
	answered := func() (n int) {
		for _, r := range s.Log() {
			if !r.Answered.IsZero() {
				n++
			}
		}
		return n
	}
	before := answered()
	ctx, cancel := wait.Bounded(s.g.Context())
	defer cancel()
	if err := wait.Until(ctx, "another answer", func() bool { return answered() > before }); err != nil {
		s.g.Fatal(err)
	}
	time.Sleep(60 * time.Millisecond)
}

// A router says that it is none any more (a lifetime of 0), and is one again: its route is
// gone for a while, and nothing comes of it.
func TestRouterWithdrawn(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		p := g.clients(fiber)
		began := time.Now()
		hasRoute := func() bool { return g.shell("ip -6 route show default dev wan0 proto ra") != "" }
		for _, gap := range []time.Duration{0, 300 * time.Millisecond, 7 * time.Second} {
			g.SetRouterLifetime(fiber, 0)
			g.Until("the route to be gone", func() bool { return !hasRoute() })
			time.Sleep(gap)
			g.SetRouterLifetime(fiber, 30*time.Minute)
			g.Until("the route to be back", hasRoute)
		}
		g.goBy(fiber, p.all()...)
		awaitResults()
		for _, s := range p.all() {
			s.undisturbed("router lifetime", began)
		}
		g.unmoved()
	})
}

// An interface is switched off, renamed, and brought back as it was: sessions go
// elsewhere or are reset, and the uplink is used again.
func TestInterfaceRenamedAndBack(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		p := g.clients(fiber)
		began := time.Now()
		g.shell("ip link set wan0 down; ip link set wan0 name other; sleep 0.1; ip link set other name wan0; ip link set wan0 up\n" +
			"ip route replace default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100; ip -6 addr add 2001:db8:1::2/64 dev wan0 nodad")
		g.SetRouterLifetime(fiber, 30*time.Minute)
		g.goBy(fiber, p.fresh[:]...)
		g.goOn(p.long()...)
		g.Await("fiber to carry", lab.Settled)
		for _, s := range p.tcp {
			s.wasReset("renamed", began)
		}
	})
}

// An interface that was renamed has its name again while no daemon runs: new sessions go
// by it, with its addresses.
func TestNameIsBackWhileNobodyRuns(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.shell("ip link set wan0 down; sleep 0.5; ip link set wan0 name other; ip link set other up")
		g.Until("the new name to be known", func() bool { return strings.Contains(g.shell("nft list table inet swerve"), `"other"`) })
		g.Await("lte to carry", lab.CarriedBy("lte"))
		g.Kill()
		g.Break(lte, "interface-down")
		g.shell("ip link set other down; ip link set other name wan0; ip link set wan0 up\n" +
			"ip route replace default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100; ip -6 addr add 2001:db8:1::2/64 dev wan0 nodad")
		g.SetRouterLifetime(fiber, 30*time.Minute)
		for _, f := range failover.Families {
			g.goBy(fiber, g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 50))
		}
	})
}

// An address that is missing for 800 ms each time, as on a slow machine whose network
// manager is restarted, makes the uplink down until that is learnt. Then sessions live on.
func TestSlowAddressRenewals(t *testing.T) {
	serial(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		gap := func() {
			g.shell("ip addr del 203.0.113.2/24 dev wan0; sleep 0.7; ip addr add 203.0.113.2/24 dev wan0\n" +
				"ip route add default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100")
		}
		downs := func() (n int) {
			for _, state := range g.entered(fiber, failover.IPv4) {
				if state == control.Down {
					n++
				}
			}
			return n
		}
		gap()
		g.Await("fiber to carry", lab.Settled)
		before := downs()
		tcp := g.session(g.Client, traffic.TCPStream, lab.Servers[failover.IPv4], 4)
		g.goBy(fiber, tcp)
		tcp.between()
		gap()
		g.goBy(fiber, tcp)
		tcp.livedOn("a long gap")
		g.Await("fiber to carry", lab.Settled)
		if n := downs(); before == 0 || n > before {
			t.Errorf("fiber was down %d times before, and %d after", before, n)
		}
	})
}

// The same in IPv6, whose route is left alone.
func TestIPv6AddressRenewals(t *testing.T) {
	serial(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.leaks = true // what comes in for the missing address is sent back, as without a daemon
		tcp := g.session(g.Client, traffic.TCPStream, lab.Servers[failover.IPv6], 4)
		g.goBy(fiber, tcp)
		for _, gap := range []string{"0", "0.05", "0.3"} {
			tcp.between()
			g.shell("ip addr del 2001:db8:1::2/64 dev wan0; sleep " + gap + "; ip addr add 2001:db8:1::2/64 dev wan0 nodad")
			g.goBy(fiber, tcp)
			tcp.livedOn("a gap of " + gap + " s")
			g.Await("fiber to carry", lab.Settled)
		}
		for _, state := range g.entered(fiber, failover.IPv6) {
			if state == control.Down || state == control.Recovering {
				t.Errorf("fiber was %s", state)
			}
		}
	})
}

// The address is deleted and added again, as networkctl reconfigure does: TCP
// sessions live on, and it is no down.
func TestAddressRenewals(t *testing.T) {
	for name, script := range map[string]string{
		"at once":         "$del; $add; $route",
		"50 ms":           "$del; sleep 0.05; $add; $route",
		"300 ms":          "$del; sleep 0.3; $add; $route",
		"route 1 s later": "$del; $add; sleep 1; $route",
	} {
		t.Run(name, func(t *testing.T) {
			serial(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				tcp := g.session(g.Client, traffic.TCPStream, lab.Servers[failover.IPv4], 4)
				g.goBy(fiber, tcp)
				tcp.between()
				g.shell("del='ip addr del 203.0.113.2/24 dev wan0'\nadd='ip addr add 203.0.113.2/24 dev wan0'\n" +
					"route='ip route add default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100'\n" + script)
				g.goBy(fiber, tcp)
				tcp.livedOn(name)
				g.Await("fiber to carry", lab.Settled)
				for _, state := range g.entered(fiber, failover.IPv4) {
					if state == control.Down || state == control.Recovering {
						t.Errorf("fiber was %s", state)
					}
				}
			})
		})
	}
}

// Sessions that send all the time live on as well: the server's reset to what left by the
// other uplink before the daemon has reacted is dropped, and what servers send again
// before their clients is not answered with a reset. On a machine whose processor is
// taken away from the daemon at that moment they are reset, as without a daemon.
func TestBusyAddressRenewals(t *testing.T) {
	serial(t, func(t *trial) {
		if *gaps == 0 {
			return
		}
		g := startGateway(t, usual, quickRecovery)
		broken := 0
		for i := range *gaps {
			var all []*session
			for range 4 {
				all = append(all, g.session(g.Client, traffic.TCPStream, lab.Servers[failover.IPv4], 250))
			}
			g.goBy(fiber, all...)
			g.shell("ip addr del 203.0.113.2/24 dev wan0\n" + []string{"", "sleep 0.05", "sleep 0.3"}[i%3] + "\nip addr add 203.0.113.2/24 dev wan0\n" +
				"ip route add default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100")
			g.Await("fiber to carry", lab.Settled)
			g.goOn(all...)
			n := 0
			for _, s := range all {
				n += min(1, len(s.Breaks()))
				s.Stop()
			}
			g.Logf("gap %d: %d broke", i, n)
			broken += n
		}
		g.Logf("%d of %d sessions broke in %d gaps", broken, 4**gaps, *gaps)
		if broken > *gaps {
			g.Errorf("more than one of four sessions broke")
		}
	})
}
