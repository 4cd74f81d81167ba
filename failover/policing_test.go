package failover_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// policedRuns is for how many seeds lines are played that police echo requests, and those
// that do not.
var policedRuns = flag.Int("policed-runs", 2, "seeds of each line in TestPolicedLines and TestUnpolicedLines; 10 for the table in DECISION.md")

// policedLine plays a line that lets one echo request each gap pass, with 2 % of loss
// besides, for some minutes, and then a black-hole.
type policedLine struct {
	shuns, downs, lateShuns int
	degraded                bool
	policed                 time.Duration // when both families were known to be
	left                    time.Duration // after the onset of the black-hole
}

func playPoliced(t *testing.T, seed uint64, gap, length time.Duration, flows bool) policedLine {
	t.Helper()
	var r policedLine
	onset := 20*time.Second + length
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), seed, simulator.Options{CheckEach: 1000, Witness: func(e *Engine, at Instant, _ Event, out Output) {
		for _, rec := range out.Records {
			h := rec.Health
			if h == nil || h.Uplink != "fiber" || h.Family != IPv4 {
				continue
			}
			switch {
			case h.To == Shunned && at >= onset && r.left == 0:
				r.left = at - onset
			case at >= onset:
			case h.To == Shunned:
				r.shuns++
				if at > onset-length/2 {
					r.lateShuns++
				}
			case h.To == Down:
				r.downs++
			}
		}
	}})}
	w.do("all report=0s")
	w.until(20 * time.Second)
	w.do(fmt.Sprintf("fiber policed=%v loss=0.02", gap))
	if flows {
		w.do("fiber flows=100ms")
	}
	for w.Now() < onset {
		w.after(time.Second)
		v := w.Engine.View().Uplinks[0].Family
		if r.policed == 0 && v[IPv4].Policed > 0 && v[IPv6].Policed > 0 {
			r.policed = w.Now() - 20*time.Second
		}
	}
	r.degraded = w.Engine.View().Uplinks[0].Family[IPv4].State == Degraded
	w.do("fiber dead")
	w.after(20 * time.Second)
	return r
}

// A line that polices echo requests is found out: what the probes themselves make
// silent is no outage, and flows that receive are not moved by it. The line is still
// left where it dies, later than others.
func TestPolicedLines(t *testing.T) {
	for _, c := range []struct {
		rate  int
		known time.Duration // by then, 0 where it need not be known
		left  time.Duration
	}{{1, time.Minute, 13 * time.Second}, {2, 2 * time.Minute, 8 * time.Second}, {3, 4 * time.Minute, 6 * time.Second}, {5, 0, 2 * time.Second}, {10, 0, time.Second}} {
		for _, flows := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d a second, flows %t", c.rate, flows), func(t *testing.T) {
				runs := *policedRuns
				shuns, later, downs := 0, 0, 0
				var known, left time.Duration
				for seed := range uint64(runs) {
					r := playPoliced(t, seed, time.Second/time.Duration(c.rate), 10*time.Minute, flows)
					shuns, later, downs = shuns+r.shuns, later+r.lateShuns, downs+r.downs
					known, left = max(known, r.policed), max(left, r.left)
					if r.left == 0 || r.left > c.left {
						t.Errorf("seed %d: a black-hole is left after %v", seed, r.left)
					}
					if c.known > 0 && (r.policed == 0 || r.policed > c.known) {
						t.Errorf("seed %d: known after %v", seed, r.policed)
					}
					if r.degraded {
						t.Errorf("seed %d: degraded", seed)
					}
				}
				if flows && downs > 0 || downs > 2*runs || shuns > 5*runs || later > runs {
					t.Errorf("%d downs, %d shuns, %d of them later, in %d runs", downs, shuns, later, runs)
				}
				t.Logf("%d shuns, %d of them later, %d downs; known after %v, a black-hole left after %v at most", shuns, later, downs, known, left)
			})
		}
	}
}

// Stalls, loss and full queues are not taken for policing.
func TestUnpolicedLines(t *testing.T) {
	for _, line := range []string{
		"fiber stalls every=15s for=150ms", "fiber stalls every=20s for=700ms", "fiber loss=0.15", "fiber loss=0.3", "fiber loss=0.6", "fiber loss=0.84",
		"fiber bursts every=30s for=2s loss=0.5", "fiber bursts every=10s for=300ms", "fill",
	} {
		t.Run(line, func(t *testing.T) {
			for seed := range uint64(*policedRuns) {
				w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), seed, simulator.Options{CheckEach: 1000})}
				w.do("all report=0s")
				w.until(20 * time.Second)
				if line != "fill" {
					w.do(line)
				}
				for w.Now() < 20*time.Minute {
					if w.after(time.Second); line == "fill" {
						w.fill(w.Now()+20*time.Second, time.Second, 1, 0.5)
						w.after(40 * time.Second)
					}
					for f, v := range w.Engine.View().Uplinks[0].Family {
						if v.Policed > 0 {
							t.Fatalf("seed %d: policed after %v, family %d: %.1f a second", seed, w.Now(), f, v.Policed)
						}
					}
				}
			}
		})
	}
}
