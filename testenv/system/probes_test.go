package system

import (
	"flag"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// foreignOutput adds another program's rules to output.
func (g *gateway) foreignOutput(kind string, rules ...string) {
	g.out("nft add table inet other")
	g.out("nft add chain inet other out { type " + kind + " hook output priority mangle ; }")
	for _, r := range rules {
		g.out("nft add rule inet other out " + r)
	}
}

// problem finds a problem by its code and object; nil where there is none.
func problem(s *control.Status, code, object string) *control.Problem {
	for i, p := range s.Problems {
		if p.Code == code && p.Object == object {
			return &s.Problems[i]
		}
	}
	return nil
}

// A rule in output drops all probes. That is a problem with its errno, and nothing is
// known then; when the line dies the traffic itself tells, and the LAN goes on.
func TestProbesUnsent(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		g.foreignOutput("filter", "icmp type echo-request drop", "icmpv6 type echo-request drop")
		unknown := func(s *control.Status) bool {
			for _, f := range failover.Families {
				if s.Uplinks[fiber].Family(f).State != control.State(failover.Unknown.String()) {
					return false
				}
			}
			return true
		}
		s := g.Await("the problem, and both families to be unknown", func(s *control.Status) bool {
			return unknown(s) && problem(s, "probes-unsent", "fiber") != nil && problem(s, "probes-unsent", "lte") != nil
		})
		for _, f := range failover.Families {
			h := s.Uplinks[fiber].Family(f)
			if h.Loss != nil || h.RTTMS != nil || h.Unsent == 0 || h.UnsentErrno == nil || *h.UnsentErrno != "EPERM" {
				t.Errorf("%s is %+v", f, h)
			}
		}
		if w := problem(s, "probes-unsent", "fiber"); w.Severity != control.Warning {
			t.Errorf("the problem is %+v", w)
		}
		if n := len(g.switches()); n > 0 || !lab.Carries(s, "fiber") {
			t.Errorf("traffic was moved: %+v", g.switches())
		}
		g.Break(fiber, "black-hole")
		g.goBy(lte, p.fresh[:]...)
		g.out("nft delete table inet other")
		g.Await("the probes to be sent again", func(s *control.Status) bool {
			return problem(s, "probes-unsent", "fiber") == nil && s.Uplinks[lte].IPv4.State == control.Up
		})
	})
}

// Another program restores marks of flows without a mask. The probes of a dead uplink
// stay on it all the same, so it stays down.
func TestMarksOfOthers(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		g.foreignOutput("route", "meta mark set ct mark")
		g.Break(fiber, "black-hole")
		g.goBy(lte, p.fresh[:]...)
		g.Await("fiber to be down", func(s *control.Status) bool {
			return s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
		})
		time.Sleep(6 * time.Second) // six rounds of its probes
		s := g.Status()
		if s.Uplinks[fiber].IPv4.State != control.Down || s.Uplinks[fiber].IPv6.State != control.Down {
			t.Errorf("fiber is %s and %s", s.Uplinks[fiber].IPv4.State, s.Uplinks[fiber].IPv6.State)
		}
		if w := problem(s, "probes-elsewhere", "fiber"); w != nil {
			t.Errorf("%+v", w)
		}
	})
}

// A program that overwrites the flow's mark as well leads the probes away. Their
// answers count for nothing, and that is told.
func TestProbesElsewhere(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		g.foreignOutput("route", "icmp type echo-request meta mark set 0x77 ct mark set meta mark")
		s := g.Await("the problem", func(s *control.Status) bool {
			return problem(s, "probes-elsewhere", "lte") != nil && s.Uplinks[lte].IPv4.State == control.State(failover.Unknown.String())
		})
		if s.Uplinks[lte].IPv6.State != control.Up {
			t.Errorf("IPv6 of lte is %s", s.Uplinks[lte].IPv6.State)
		}
	})
}

var policed = flag.Duration("policed", 0, "for how long TestPolicedProbes waits until the limit is known; 0 to do without")

// A line lets few echo requests pass and everything else. What the probes themselves
// make silent moves no session, and the line is left when it dies. With -policed 3m the
// limit is also found out and named, and new flows then use the line.
func TestPolicedProbes(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		onset := time.Now()
		g.shell(`nft add table inet policer
			nft add chain inet policer in '{ type filter hook prerouting priority -310; }'
			nft add rule inet policer in iifname wan0 icmp type echo-reply limit rate over 2/second burst 5 packets drop
			nft add rule inet policer in iifname wan0 icmpv6 type echo-reply limit rate over 2/second burst 5 packets drop`)
		time.Sleep(15 * time.Second) // the first silences are over after five
		known := func() bool {
			w := problem(g.Status(), "icmp-policed", "fiber")
			return w != nil && strings.Contains(w.Text, "ipv4") && strings.Contains(w.Text, "ipv6")
		}
		for *policed > 0 && !known() {
			if time.Since(onset) > *policed {
				g.Fatalf("the limit is not known after %v", *policed)
			}
			time.Sleep(time.Second)
		}
		if *policed > 0 {
			g.Logf("after %v: %s", time.Since(onset), problem(g.Status(), "icmp-policed", "fiber").Text)
			g.Await("fiber to carry", func(s *control.Status) bool {
				return lab.Carries(s, "fiber") && s.Uplinks[fiber].IPv4.State == control.Up && s.Uplinks[fiber].IPv6.State == control.Up
			})
		}
		awaitResults()
		for _, s := range p.long() {
			s.livedOn("a policer")
			s.undisturbed("a policer", onset)
		}
		g.Break(fiber, "black-hole")
		g.goBy(lte, p.fresh[:]...)
	})
}
