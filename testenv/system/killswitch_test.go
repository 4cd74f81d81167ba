package system

import (
	"fmt"
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
		routes := func(do, kind string, halves bool) {
			if !halves {
				g.shell(fmt.Sprintf("ip route %s %s default metric 20; ip -6 route %[1]s %[2]s default metric 20", do, kind))
				return
			}
			for _, half := range []string{"-4 route %s %s 0.0.0.0/1", "-4 route %s %s 128.0.0.0/1", "-6 route %s %s ::/1", "-6 route %s %s 8000::/1"} {
				g.shell("ip " + fmt.Sprintf(half, do, kind))
			}
		}
		for i, kind := range []string{"unreachable", "prohibit", "blackhole", "unreachable"} {
			routes("add", kind, i == 3)
			s := g.Await("the problem", func(s *control.Status) bool { return problem(s, "foreign-default", kind) != nil })
			began := s.Now.Time
			for _, all := range p.fresh {
				g.Until("the LAN is stopped", func() bool { return all.silentFor(time.Second) })
			}
			g.Await("probes by all paths", func(s *control.Status) bool { return answeredSince(s, began.Add(2*time.Second)) })
			if s := g.Status(); !upInBoth(s) || problem(s, "foreign-default", kind) == nil {
				t.Errorf("%s: %+v", kind, s)
			}
			routes("del", kind, i == 3)
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
