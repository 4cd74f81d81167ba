package system

import (
	"math/rand/v2"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wire"
)

// A thousand packets a second each way and in each family, and new sessions in addition,
// while the daemon is reloaded, stopped and started, and killed. Both ends count: nothing
// may be missing.
func TestNothingIsLost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opts  lab.Options
		first bool // there was no daemon before
		do    func(*gateway)
	}{
		{"reload", usual, false, func(g *gateway) { g.reloads(10) }},
		{"restart", usual, false, func(g *gateway) { g.restarts(5) }},
		{"kill -9", usual, false, func(g *gateway) { g.kills(20) }},
		// The owner's own rules routed and masqueraded until then.
		{"first start", masqueraded, true, (*gateway).startsUnder},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serial(t, func(t *trial) {
				g := newGateway(t, tc.opts, twoUplinks)
				if !tc.first {
					g.Start()
					g.Await("all to be up", lab.Settled)
				}
				g.countsAll(func() { tc.do(g) })
				if n := len(g.switches()); n > 0 {
					t.Errorf("traffic was moved: %+v", g.switches())
				}
			})
		})
	}
}

// reloads reloads the configuration repeatedly, with another content each time.
func (g *gateway) reloads(times int) {
	for i := range times {
		text := twoUplinks
		if i%2 == 0 {
			text = quickRecovery
		}
		g.Configure(text)
		before := g.Status().Daemon.Generation
		if out, errs, code := g.swerve("reload"); code != 0 {
			g.Errorf("swerve reload: exit code %d: %s%s", code, out, errs)
		}
		if now := g.Status().Daemon.Generation; now != before+1 {
			g.Errorf("generation %d after %d", now, before)
		}
	}
}

func (g *gateway) restarts(times int) {
	for range times {
		g.Stop()
		time.Sleep(200 * time.Millisecond)
		g.Start()
		g.Await("all to be up", lab.AllUp)
	}
}

// kills kills the daemon at random instants: half of them while it starts.
func (g *gateway) kills(times int) {
	random := rand.New(rand.NewPCG(*seed, 9))
	for i := range times {
		span := 100 * time.Millisecond
		if i%2 == 0 {
			span = 800 * time.Millisecond
		}
		time.Sleep(time.Duration(random.Int64N(int64(span))))
		g.Kill()
		if err := g.daemon.Start(); err != nil {
			g.Fatal(err)
		}
	}
	g.Await("all to be up", lab.AllUp)
	time.Sleep(time.Second)
}

// startsUnder starts the daemon for the first time.
func (g *gateway) startsUnder() {
	g.Start()
	g.Await("all to be up", lab.AllUp)
	time.Sleep(time.Second)
}

// countsAll runs do under traffic and checks that every packet has arrived.
func (g *gateway) countsAll(do func()) {
	g.Helper()
	var all []*session
	for _, f := range failover.Families {
		all = append(all,
			g.session(g.Client, traffic.UDPStream, lab.Servers[f], 1000),
			g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 100),
			g.session(g.Client, traffic.TCPStream, lab.Servers[f], 100))
	}
	g.goBy(fiber, all...)
	do()
	for _, s := range all {
		s.Stop()
		s.countsEqual()
	}
	for i, w := range g.Wire {
		for _, dir := range []wire.Direction{wire.ToISP, wire.ToGateway} {
			if c := w.Counters(dir); c.Overflow > 0 || c.Unsent > 0 {
				g.Errorf("the lab itself dropped packets on %s: %+v", uplinkNames[i], c)
			}
		}
	}
}

// countsEqual compares what the client sent with what arrived at the server and what
// came back.
func (s *session) countsEqual() {
	s.g.Helper()
	log, missing := s.sinceAnswered(), uint64(0)
	for _, r := range log {
		if r.Answered.IsZero() {
			if missing++; missing < 5 {
				s.g.Logf("%s: request %d, sent %v: %s", s, r.Seq, r.Sent.Format(time.StampMilli), r.Err)
			}
		}
	}
	sent, at := uint64(len(log)), s.g.server.Received(s.Stream())
	s.g.Logf("%s: sent %d, arrived %d, answered %d", s, sent, at.Count, sent-missing)
	if missing > 0 || at.Count != sent {
		s.g.Errorf("%s: of %d packets sent %d arrived (missing %v) and %d were answered",
			s, sent, at.Count, at.Missing, sent-missing)
	}
	s.livedOn("the daemon's life")
}
