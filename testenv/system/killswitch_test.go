package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// Main's best default route is an error: a VPN's kill switch, which stops the LAN as
// without us. The uplinks are judged all the same, so the one problem is the cause.
func TestKillSwitch(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		for _, kind := range []string{"unreachable", "prohibit", "blackhole"} {
			g.shell("ip route add " + kind + " default metric 20; ip -6 route add " + kind + " default metric 20")
			s := g.Await("the problem", func(s *control.Status) bool { return problem(s, "foreign-default", kind) != nil })
			began := s.Now.Time
			for _, all := range p.fresh {
				g.Until("the LAN is stopped", func() bool { return all.silentFor(time.Second) })
			}
			g.Await("probes by all paths", func(s *control.Status) bool { return answeredSince(s, began.Add(2*time.Second)) })
			if s := g.Status(); !upInBoth(s) || problem(s, "foreign-default", kind) == nil {
				t.Errorf("%s: %+v", kind, s)
			}
			g.shell("ip route del " + kind + " default metric 20; ip -6 route del " + kind + " default metric 20")
			g.goBy(fiber, p.fresh[:]...)
		}
		if n := len(g.switches()); n != 0 {
			t.Errorf("%d switches", n)
		}
		g.Break(fiber, "black-hole")
		g.goBy(lte, p.fresh[:]...)
	})
}

func upInBoth(s *control.Status) bool {
	for _, u := range []int{fiber, lte} {
		for _, f := range failover.Families {
			if s.Uplinks[u].Family(f).State != control.Up {
				return false
			}
		}
	}
	return lab.Carries(s, "fiber")
}
