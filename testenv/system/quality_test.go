package system

import (
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// An uplink that loses most of its packets is left, either for its silences or for its
// measured loss, and used again once it is repaired.
func TestHeavyLoss(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickProbes)
		p := g.clients(fiber)
		f := g.Break(fiber, "loss=60%")
		g.Await("lte to carry, and fiber not to be up", func(s *control.Status) bool {
			return lab.Carries(s, "lte") && s.Uplinks[fiber].IPv4.State != control.Up && s.Uplinks[fiber].IPv6.State != control.Up
		})
		g.goBy(lte, p.fresh[:]...)
		awaitResults()
		for _, family := range failover.Families {
			p.fresh[family].logEffect("60 % loss", f.Onset)
			if states := g.entered(fiber, family); !slices.ContainsFunc(states, trouble) {
				t.Errorf("%s of fiber entered %v, want degraded, shunned or down", family, states)
			}
		}
		g.Mend(f)
		g.Await("fiber to carry", lab.Settled)
		g.goBy(fiber, p.fresh[:]...)
	})
}

func trouble(s control.State) bool {
	return s == control.Degraded || s == control.Shunned || s == control.Down
}

// Nothing is delivered for 150 ms, as when a mobile network changes the cell: new
// sessions may leave meanwhile, but no existing one is ended, and nothing is lost.
func TestStall(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		onset := time.Now()
		for range 6 {
			g.Break(fiber, "stall=150ms")
			time.Sleep(1200 * time.Millisecond)
		}
		for _, s := range p.all() {
			s.undisturbed("six stalls of 150 ms", onset)
		}
		for _, f := range failover.Families {
			states := g.entered(fiber, f)
			t.Logf("%s of fiber entered %v", f, states)
			if slices.Contains(states, control.Down) {
				t.Errorf("%s of fiber entered %v: a stall must not end sessions", f, states)
			}
		}
	})
}

// A target is silent on every uplink: then the target is at fault.
func TestTargetDead(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickProbes)
		p := g.clients(fiber)
		f := g.Break(fiber, "target-dead=1.1.1.1")
		s := g.Await("only 1.1.1.1 to be set aside", func(s *control.Status) bool {
			return slices.Equal(setAside(s), []string{"1.1.1.1", "1.1.1.1"})
		})
		if s.Overall == control.Critical || !lab.Carries(s, "fiber") {
			t.Errorf("%s; %s", s.Overall, lab.Brief(s))
		}
		g.Mend(f)
		g.Await("1.1.1.1 to count again", func(s *control.Status) bool { return len(setAside(s)) == 0 })
		if n := len(g.switches()); n > 0 {
			t.Errorf("%d switches: %+v", n, g.switches())
		}
		for _, s := range p.all() {
			s.undisturbed("a dead target", f.Onset)
		}
	})
}

// setAside lists the targets that do not count, of all uplinks and families.
func setAside(s *control.Status) (all []string) {
	for _, u := range s.Uplinks {
		for _, f := range failover.Families {
			for _, target := range u.Family(f).Targets {
				if target.SetAside {
					all = append(all, target.Target)
				}
			}
		}
	}
	return all
}

// unsteady has short damping that still holds an uplink which fails repeatedly.
const unsteady = twoUplinks + `health: {window: 5s, damping: {half_life: 5s, suppress: 3, reuse: 1}}
failback: {after: 500ms, min_interval: 200ms}
`

// The carrier flaps. New sessions always find a path, damping keeps the uplink out of
// use after that, and it is used again in the end.
func TestFlap(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, unsteady)
		p := g.clients(fiber)
		f := g.Break(fiber, "flap=5x1s")
		s := g.Await("fiber to be held", func(s *control.Status) bool { return !s.Uplinks[fiber].HeldUntil.IsZero() })
		if !lab.Carries(s, "lte") {
			t.Errorf("a held uplink carries: %s", lab.Brief(s))
		}
		g.Mend(f)
		g.goBy(lte, p.fresh[:]...)
		awaitResults()
		for _, s := range p.fresh {
			o := s.logEffect("five flaps", f.Onset)
			if part := float64(o.Unanswered) / float64(o.Requests); part > 0.2 {
				t.Errorf("%s: %.0f %% of the new sessions failed: %v", s, part*100, o)
			}
		}
		g.Await("fiber to be used again", lab.Settled)
		g.goBy(fiber, p.fresh[:]...)
	})
}
