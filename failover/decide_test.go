package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
)

// TestStandings checks what a selection records of a ladder's candidates: why each is
// in the first rung or not.
func TestStandings(t *testing.T) {
	manual := DefaultConfig()
	manual.Failback.Manual = true
	for _, tc := range []struct {
		name       string
		cfg        Config
		play       func(*world)
		fiber, lte Standing
	}{
		{"at rest", DefaultConfig(), func(*world) {}, Carrying, Behind},
		{"both silent", DefaultConfig(), func(w *world) {
			w.do("fiber ipv4 dead", "lte ipv4 dead")
			w.after(5 * time.Second)
		}, Carrying, Behind},
		{"after a failover", DefaultConfig(), func(w *world) {
			w.do("fiber ipv4 dead")
			w.after(5 * time.Second)
		}, Behind, Carrying},
		{"failback is manual", manual, func(w *world) {
			w.do("fiber ipv4 dead")
			w.after(5 * time.Second)
			w.do("fiber ipv4 alive")
			w.after(5 * time.Minute)
		}, OnlyByOperator, Carrying},
		{"switched a moment ago", DefaultConfig(), func(w *world) {
			w.step(Operator{Verb: Switch, Uplink: "lte"})
			w.after(5 * time.Second)
			w.step(Configure{Config: DefaultConfig()})
			Unpin(w.Engine, "lte")
			w.step(Configure{Config: DefaultConfig()})
		}, TooSoon, Carrying},
	} {
		w := newWorld(t, tc.cfg, 1)
		for _, name := range []string{"fiber", "lte"} {
			w.step(LinkChanged{Uplink: name, Link: w.Link(name)})
		}
		w.until(time.Minute)
		tc.play(w)
		stands := StandsOf(w.Engine, IPv4)
		for name, want := range map[string]Standing{"fiber": tc.fiber, "lte": tc.lte} {
			if got := stands[name]; got.Standing != want {
				t.Errorf("%s: %s stands as %d, want %d", tc.name, name, got.Standing, want)
			}
			if got := stands[name]; got.Reason != got.PathReason {
				t.Errorf("%s: %s is ranked by %q, its reason is %q", tc.name, name, got.Reason, got.PathReason)
			}
		}
	}
}

func TestIntentMoves(t *testing.T) {
	intent := func(rungs ...Rung) *Intent {
		return &Intent{Policies: []PolicyIntent{{Policy: "default", Family: [2]Ladder{{}, {Rungs: rungs}}}}}
	}
	rung := func(names ...string) (r Rung) {
		for _, n := range names {
			r.Shares = append(r.Shares, Share{Uplink: n, Weight: 1})
		}
		return r
	}
	heavier := rung("a", "b")
	heavier.Shares[0].Weight = 2
	for _, c := range []struct {
		what          string
		before, after *Intent
		want          bool
	}{
		{"another order behind the first", intent(rung("a"), rung("b"), rung("c")), intent(rung("a"), rung("c"), rung("b")), false},
		{"one fewer behind the first", intent(rung("a"), rung("b")), intent(rung("a")), false},
		{"another first", intent(rung("a"), rung("b")), intent(rung("b"), rung("a")), true},
		{"one joins", intent(rung("a"), rung("b")), intent(rung("a", "b")), true},
		{"one leaves", intent(rung("a", "b")), intent(rung("a"), rung("b")), true},
		{"other shares", intent(rung("a", "b")), intent(heavier), true},
		{"the first of all", intent(), intent(rung("a")), true},
		{"none", intent(rung("a")), intent(), true},
		{"a new policy", &Intent{}, intent(rung("a")), false},
	} {
		if got := c.after.Moves(c.before); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
