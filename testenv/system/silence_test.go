package system

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// An uplink goes silent behind a link that is up, with the default configuration.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"black-hole", "gateway-dead"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, twoUplinks)
				p := g.clients(fiber)
				f := g.Break(fiber, spec)
				g.leaves(spec, p, f.Onset)
				g.wentDown(fiber)
				g.conntrackHasMoved()
				g.Mend(f)
				g.Await("fiber to answer", func(s *control.Status) bool {
					return s.Uplinks[fiber].IPv4.State.Answering() && s.Uplinks[fiber].IPv6.State.Answering()
				})
			})
		})
	}
}

// wentDown checks that an uplink was shunned first, when new flows left it, and then
// down.
func (g *gateway) wentDown(uplink int) {
	g.Helper()
	for _, f := range failover.Families {
		states := g.entered(uplink, f)
		shunned, down := slices.Index(states, control.Shunned), slices.Index(states, control.Down)
		if shunned < 0 || down < shunned {
			g.Errorf("%s of %s entered %v, want shunned, then down", f, uplinkNames[uplink], states)
		}
	}
	if n := len(g.switches()); n != len(failover.Families) {
		g.Errorf("there were %d switches, want one in each family: %+v", n, g.switches())
	}
}

// conntrackHasMoved checks with conntrack(8) that no UDP flow of the LAN is left on
// fiber, and some are on lte.
func (g *gateway) conntrackHasMoved() {
	g.Helper()
	for _, f := range failover.Families {
		list := "conntrack -L -p udp --dport 7007 -f " + f.String() + " --reply-dst "
		if left := g.out(list + g.addressOf(fiber, f).String()); left != "" {
			g.Errorf("conntrack still lists flows by fiber\n%s", left)
		}
		if g.out(list+g.addressOf(lte, f).String()) == "" {
			g.Errorf("conntrack lists no %s by lte", f)
		}
	}
}

// IPv6 alone goes silent: IPv4 must not be affected.
func TestSilenceInOneFamily(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		const what = "black-hole=ipv6"
		f := g.Break(fiber, what)
		g.goBy(lte, p.of(failover.IPv6)...)
		awaitResults()
		for _, s := range p.of(failover.IPv6) {
			s.logEffect(what, f.Onset)
		}
		p.udp[failover.IPv6].moved(what, g.Uplinks[fiber].Address6, g.Uplinks[lte].Address6)
		p.tcp[failover.IPv6].wasReset(what, f.Onset)
		for _, s := range p.of(failover.IPv4) {
			s.undisturbed(what, f.Onset)
		}
		s := g.Status()
		if !lab.CarriesFamily(s, "fiber", failover.IPv4) || !lab.CarriesFamily(s, "lte", failover.IPv6) {
			t.Errorf("want IPv4 by fiber and IPv6 by lte; %s", lab.Brief(s))
		}
		if got := g.wayOf(failover.IPv4); got != "wan0" {
			t.Errorf("ip route get: IPv4 goes by %s", got)
		}
	})
}

// Everything falls silent at once: no uplink is better, so nothing moves, and traffic
// continues where it was as soon as it can.
func TestEverythingDown(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"black-hole", "gateway-dead"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				p := g.clients(fiber)
				before := g.ladders()
				faults := []*lab.Fault{g.Break(fiber, spec), g.Break(lte, spec)}
				s := g.Await("all to be down", allDown)
				if !lab.Carries(s, "fiber") {
					t.Errorf("it moved: %s", lab.Brief(s))
				}
				time.Sleep(2 * time.Second)
				g.differ("the ladders were changed", before, g.ladders())
				g.keepsFlowsOfFiber()
				if _, _, code := g.swerve("status"); code != 1 {
					t.Errorf("swerve status: exit code %d, want 1", code)
				}
				for _, f := range faults {
					g.Mend(f)
				}
				g.goBy(fiber, p.all()...)
				for _, s := range p.long() {
					s.livedOn(spec)
				}
				g.Await("all to be well again", lab.Settled)
			})
		})
	}
}

// allDown reports whether all uplinks are down in both families, which is no alarm
// only because the daemon has just started.
func allDown(s *control.Status) bool {
	for _, u := range s.Uplinks {
		if u.IPv4.State != control.Down || u.IPv6.State != control.Down {
			return false
		}
	}
	return s.Overall != control.OK
}

// keepsFlowsOfFiber checks with nft(8) that flows of fiber still use it.
func (g *gateway) keepsFlowsOfFiber() {
	g.Helper()
	for _, f := range failover.Families {
		list := g.out("nft list map inet swerve restore_" + f.String())
		if !strings.Contains(list, "0x01400000 : goto lane_1") {
			g.Errorf("flows of fiber were released:\n%s", list)
		}
	}
}

// Both plugs are pulled. No uplink is left to send by, and afterwards everything works
// again, at first by the uplink that comes back first.
func TestEveryCarrierLost(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		first, second := g.Break(fiber, "carrier"), g.Break(lte, "carrier")
		g.Await("all to be down", allDown)
		g.Mend(second)
		g.Await("lte to carry", lab.CarriedBy("lte"))
		p := g.clients(lte)
		g.Mend(first)
		g.Await("fiber to carry", lab.Settled)
		g.goBy(fiber, p.fresh[:]...)
		for _, s := range p.long() {
			s.livedOn("failback")
		}
	})
}

// A daemon that starts during a black-hole on its first uplink uses the second.
func TestStartsWithoutItsFirstUplink(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, twoUplinks)
		g.Break(fiber, "black-hole")
		g.Start()
		g.Await("lte to carry", lab.CarriedBy("lte"))
		for _, server := range lab.Servers {
			g.goBy(lte, g.session(g.Client, traffic.TCPSessions, server, 100))
		}
	})
}
