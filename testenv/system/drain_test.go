package system

import (
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// briefDrain has sessions move some seconds after a failback.
const briefDrain = quickRecovery + "sessions: {on_failback: drain 6s}\n"

// After a failback sessions stay where they are until the time is over, and move then: UDP
// goes on by the preferred uplink, TCP is reset and dials again, whether its client speaks or
// only listens, through the gateway or on it. Before that nothing happens to them; afterwards
// no flow is on the uplink that was left, which is well; and a restart tells nothing anew.
func TestDrainAfterFailback(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, briefDrain)
		f := g.Break(fiber, "carrier")
		g.Await("lte to carry", lab.CarriedBy("lte"))
		p, l := g.clients(lte), g.listeners()
		var own []*session
		for _, f := range failover.Families {
			own = append(own, g.session(g.Gateway, traffic.TCPStream, lab.Servers[f], 50))
		}
		g.goBy(lte, append(own, l[:]...)...)
		repaired := time.Now()
		g.Mend(f)
		g.Await("fiber to carry", lab.Settled)
		until := g.Status().Uplinks[lte].DrainingUntil
		if left := until.Sub(g.Status().Now.Time); until.IsZero() || left > 6*time.Second {
			t.Fatalf("the drain ends at %v, in %v", until, left)
		}
		g.goBy(fiber, p.fresh[:]...)
		staying := slices.Concat(p.long(), own)
		g.Await("the drain to end", func(s *control.Status) bool { return s.Uplinks[lte].DrainingUntil.IsZero() })
		l.wereReset(g, "the drain", until.Time)
		g.goBy(fiber, slices.Concat(p.all(), own, l[:])...)
		for _, s := range staying {
			s.stayedUntil(until.Time, lte, repaired)
		}
		for _, s := range p.tcp {
			s.wasReset("the drain", until.Time)
		}
		g.nothingBy(lte)
		g.Until("an event for each family to tell of it", func() bool { return g.movesSaid("lte") == len(failover.Families) })
		g.Stop()
		g.Start()
		g.Await("all to be as before", lab.Settled)
		if s := g.Status().Uplinks[lte]; s.IPv4.State != control.Up && s.IPv4.State != control.Unknown || !s.DrainingUntil.IsZero() {
			t.Errorf("after a restart lte is %+v", s)
		}
		g.goBy(fiber, g.clients(fiber).all()...)
		if again := g.movesSaid("lte"); again > 0 {
			t.Errorf("after a restart %d events tell of it again", again)
		}
	})
}

// stayedUntil checks that all of a session's requests from one instant to another were
// answered, by one uplink.
func (s *session) stayedUntil(end time.Time, uplink int, since time.Time) {
	s.g.Helper()
	const margin = 200 * time.Millisecond // clocks are read at different moments
	for _, r := range s.sinceAnswered() {
		if r.Due.Before(since) || r.Due.After(end.Add(-margin)) {
			continue
		}
		if r.Answered.IsZero() || r.Via != s.g.addressOf(uplink, s.family) {
			s.g.Errorf("%s: a request %v before the end of the drain: %+v", s, end.Sub(r.Due), r)
			return
		}
	}
}

// nothingBy waits until conntrack(8) lists no UDP flow of the LAN's by an uplink, and no
// established connection.
func (g *gateway) nothingBy(uplink int) {
	g.Helper()
	for _, f := range failover.Families {
		to := " -f " + f.String() + " --reply-dst " + g.addressOf(uplink, f).String()
		for _, list := range []string{"conntrack -L -p udp --dport 7007" + to, "conntrack -L -p tcp --state ESTABLISHED" + to} {
			g.Until("nothing to be left by lte: "+list, func() bool { return g.out(list) == "" })
		}
	}
}

// movesSaid counts the running daemon's events that say that an uplink's sessions were moved.
func (g *gateway) movesSaid(uplink string) (n int) {
	for _, e := range g.Events() {
		if d, ok := e.Detail.(control.SessionsDetail); ok && d.Uplink == uplink && d.Action == "moved" {
			n++
		}
	}
	return n
}
