package system

import (
	"net/netip"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// What the status and the events count of the sessions of a lost uplink is what there was:
// flows that are quiet meanwhile and, where the uplink falls silent, ones that are not,
// connections of clients that speak and that only listen, and the gateway's own.
func TestSessionsAreCounted(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"black-hole", "carrier"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				const quiet = 12
				g := startGateway(t, usual, quickRecovery)
				l := g.listeners()
				var all []*session
				for _, f := range failover.Families {
					g.quiet(quiet, f)
					all = append(all, g.session(g.Client, traffic.TCPStream, lab.Servers[f], 50), g.session(g.Gateway, traffic.TCPStream, lab.Servers[f], 50))
					if spec == "black-hole" {
						all = append(all, g.session(g.Client, traffic.UDPStream, lab.Servers[f], 50))
					}
				}
				g.goBy(fiber, all...)
				fault := g.Break(fiber, spec)
				l.wereReset(g, spec, fault.Onset)
				g.goBy(lte, all...)
				want := sessionCounts{moved: 2 * quiet, destroyed: 2, poked: 4, reset: 4}
				if spec == "black-hole" {
					want.moved += 2
				}
				g.counted(spec, want)
				g.tellsTheSame(fault.Onset)
			})
		})
	}
}

// quiet opens UDP flows that send one packet and are silent from then on.
func (g *gateway) quiet(n int, f failover.Family) {
	g.Helper()
	for range n {
		c, err := g.Client.DialUDP(netip.AddrPortFrom(lab.Servers[f], 9))
		if err != nil {
			g.Fatal(err)
		}
		g.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("?")); err != nil {
			g.Fatal(err)
		}
	}
}

type sessionCounts struct{ moved, reset, poked, destroyed uint64 }

// sessionsOf returns what the status says of an uplink.
func (g *gateway) sessionsOf(uplink int) (out sessionCounts) {
	g.Helper()
	s := g.Status().Uplinks[uplink].Sessions
	if s.Moved == nil || s.Reset == nil || s.Poked == nil || s.Destroyed == nil {
		g.Fatalf("the status does not tell what became of sessions: %+v", s)
	}
	return sessionCounts{*s.Moved, *s.Reset, *s.Poked, *s.Destroyed}
}

// counted waits until the status counts so many sessions of the first uplink, and none of the
// other.
func (g *gateway) counted(spec string, want sessionCounts) {
	g.Helper()
	var got sessionCounts
	defer func() { g.Logf("%s: %+v, want %+v", spec, got, want) }()
	g.Until("the sessions to be counted", func() bool {
		got = g.sessionsOf(fiber)
		if spec == "carrier" {
			// Some left by the kernel's ladder before the daemon knew, and had their reset by it
			// or by their server. What dials again meanwhile may do so by the lost uplink.
			return got.moved >= want.moved && got.moved <= want.moved+want.reset && got.poked > 0 && got.reset >= got.poked && got.destroyed <= want.destroyed
		}
		// One that speaks just then meets its reset by itself: no poke, or no closing, is needed.
		listeners := want.poked / 2
		return got.moved == want.moved && got.reset+got.destroyed == want.reset+want.destroyed &&
			got.poked >= listeners && got.poked <= want.poked && got.destroyed <= want.destroyed
	})
	if other := g.sessionsOf(lte); other != (sessionCounts{}) {
		g.Errorf("of the other uplink %+v", other)
	}
}

// tellsTheSame wants the events to add up to the status, and to say for how long sessions
// were silent at most.
func (g *gateway) tellsTheSame(onset time.Time) {
	g.Helper()
	value := func(n *int64) uint64 {
		if n == nil {
			return 0
		}
		return uint64(*n)
	}
	g.Until("the events to tell what the status counts", func() bool {
		var told sessionCounts
		for _, e := range g.Events() {
			d, ok := e.Detail.(control.SessionsDetail)
			if !ok || d.Uplink != "fiber" {
				continue
			}
			told.moved, told.reset = told.moved+value(d.Moved), told.reset+value(d.Reset)
			told.poked, told.destroyed = told.poked+value(d.Poked), told.destroyed+value(d.Destroyed)
			switch {
			case d.Action == "settled" && d.Policy != "" && value(d.Moved) == 0:
				g.Fatalf("told of no flows: %+v", d)
			case d.Action == "moved":
				// The kernel's counts do not hold it up.
				if d.Moved != nil || d.TookMS == nil {
					g.Fatalf("told of a move: %+v", d)
				}
				// A probe that was under way at the onset was sent up to a round trip before.
				most := float64(e.Time.Sub(onset)/time.Millisecond) + 200
				if d.SilentMS == nil || *d.SilentMS <= 0 || *d.SilentMS > most {
					g.Fatalf("the silence is told as %v, of %v ms at most", d.SilentMS, most)
				}
			}
		}
		return told == g.sessionsOf(fiber)
	})
}

// The price of leaving early: flows that begin elsewhere while an uplink only stalls are
// counted, each once, and its sessions are not touched.
func TestBeganElsewhere(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks+"health: {window: 5s, patience: 3s}\nfailback: {after: 2s, min_interval: 1s}\n")
		var fresh []*session
		for _, f := range failover.Families {
			fresh = append(fresh, g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 100))
		}
		g.goBy(fiber, fresh...)
		for range 3 {
			g.Break(fiber, "stall=400ms")
			g.goBy(fiber, fresh...)
			g.Await("fiber to carry", lab.Settled)
		}
		awaitResults()
		elsewhere := uint64(0)
		for _, s := range fresh {
			for _, r := range s.Log() {
				if r.Via == g.addressOf(lte, s.family) {
					elsewhere++
				}
			}
		}
		// Two of each family may begin at each stall between the change of the routes and that
		// of the packet filter, which is not counted.
		const missed = 2 * 2 * 3
		if elsewhere <= missed {
			t.Errorf("only %d flows began elsewhere", elsewhere)
		}
		var counted uint64
		defer func() { t.Logf("%d flows began elsewhere, counted %d", elsewhere, counted) }()
		g.Until("what began elsewhere to be counted", func() bool {
			n := g.Status().Uplinks[fiber].BeganElsewhere
			if n != nil {
				counted = *n
			}
			return counted+missed >= elsewhere
		})
		if counted > elsewhere {
			t.Errorf("%d flows began elsewhere, and %d were counted", elsewhere, counted)
		}
		if got := g.sessionsOf(fiber); got != (sessionCounts{}) {
			t.Errorf("sessions of an uplink that only stalled: %+v", got)
		}
	})
}
