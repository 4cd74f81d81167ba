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
