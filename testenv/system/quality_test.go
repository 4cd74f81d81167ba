package system

import (
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// An uplink that loses most of its packets is left, whether for its silences or
// for its figures, and used again once it is mended.
func TestHeavyLoss(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, nimble)
	p := g.party(fiber)
	f := g.fault(fiber, "loss=60%")
	g.await("lte to carry, and fiber to be in doubt", func(s *control.Status) bool {
		return carries(s, "lte") && !good(s.Uplinks[fiber].IPv4.State) && !good(s.Uplinks[fiber].IPv6.State)
	})
	for _, family := range failover.Families {
		p.fresh[family].goesBy(lte)
		p.fresh[family].felt("60 % loss", f.Onset)
	}
	for _, family := range failover.Families {
		if states := g.entered(fiber, family); !slices.ContainsFunc(states, trouble) {
			t.Errorf("%s of fiber entered %v, want degraded, shunned or down", family, states)
		}
	}
	g.mend(f)
	g.await("fiber to carry", func(s *control.Status) bool { return carries(s, "fiber") && allUp(s) })
	for _, family := range failover.Families {
		p.fresh[family].goesBy(fiber)
	}
}

func good(s control.State) bool { return s == control.Up }

func trouble(s control.State) bool {
	return s == control.Degraded || s == control.Shunned || s == control.Down
}

// Nothing moves for 150 ms, as when a telephone changes its cell: new sessions may
// go elsewhere meanwhile, but none that lives is ended.
func TestStall(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, twoUplinks)
	p := g.party(fiber)
	for range 5 {
		f := g.fault(fiber, "stall=150ms")
		time.Sleep(1500 * time.Millisecond)
		for _, s := range p.all() {
			s.felt("stall of 150 ms", f.Onset)
		}
	}
	for _, f := range failover.Families {
		p.udp[f].livedOn("stall of 150 ms")
		p.tcp[f].livedOn("stall of 150 ms")
		if states := g.entered(fiber, f); slices.Contains(states, control.Down) {
			t.Errorf("%s of fiber entered %v: a stall is no end", f, states)
		}
	}
}

// A target is silent on every uplink: that is the target's own fault.
func TestTargetDead(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, nimble)
	p := g.party(fiber)
	f := g.fault(fiber, "target-dead=1.1.1.1")
	aside := func(s *control.Status) bool {
		for _, u := range s.Uplinks {
			for _, target := range u.IPv4.Targets {
				if target.SetAside != (target.Target == "1.1.1.1") {
					return false
				}
			}
		}
		return true
	}
	s := g.await("1.1.1.1, and no other, to be set aside", aside)
	if s.Overall == control.Critical || !carries(s, "fiber") {
		t.Errorf("%s; %s", s.Overall, brief(s))
	}
	g.mend(f)
	g.await("1.1.1.1 to count again", func(s *control.Status) bool {
		return !s.Uplinks[fiber].IPv4.Targets[0].SetAside && !s.Uplinks[lte].IPv4.Targets[0].SetAside
	})
	if n := len(g.switches()); n > 0 {
		t.Errorf("%d switches: %+v", n, g.switches())
	}
	for _, s := range p.all() {
		s.livedOnOrFresh("target-dead")
		if o := s.felt("target-dead", f.Onset); o.Unanswered > 0 {
			t.Errorf("%s was disturbed: %v", s, o)
		}
	}
}

// The plug goes in and out. New sessions always find a way, damping keeps the
// uplink out of use after that, and it is forgiven in the end.
func TestFlap(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, twoUplinks+`health: {window: 5s, damping: {half_life: 5s, suppress: 3, reuse: 1}}
failback: {after: 500ms, min_interval: 200ms}
`)
	p := g.party(fiber)
	f := g.fault(fiber, "flap=5x1s")
	s := g.await("fiber to be held", func(s *control.Status) bool { return !s.Uplinks[fiber].HeldUntil.IsZero() })
	if !carries(s, "lte") {
		t.Errorf("a held uplink carries: %s", brief(s))
	}
	g.mend(f)
	for _, family := range failover.Families {
		p.fresh[family].goesBy(lte)
		o := p.fresh[family].felt("five flaps", f.Onset)
		if part := float64(o.Unanswered) / float64(o.Requests); part > 0.2 {
			t.Errorf("%s: %.0f %% of the new sessions failed: %v", family, part*100, o)
		}
	}
	g.await("fiber to be forgiven", func(s *control.Status) bool { return carries(s, "fiber") && allUp(s) })
	for _, family := range failover.Families {
		p.fresh[family].goesBy(fiber)
	}
}
