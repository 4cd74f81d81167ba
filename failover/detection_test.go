package failover_test

import (
	"slices"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// detection is the result of a black-hole at one phase of the probe interval.
type detection struct{ moved, lost time.Duration }

// detect plays a black-hole on fiber, at phase after the twentieth second, and returns
// when IPv4's new flows and its sessions were moved.
func detect(t *testing.T, cfg Config, phase time.Duration) detection {
	onset := 20*time.Second + phase
	var d detection
	w := &world{t: t, World: simulator.NewWorld(cfg, 1, simulator.Options{
		CheckEach: 1000,
		Witness: func(_ *Engine, at Instant, _ Event, out Output) {
			if out.Intent == nil || at < onset {
				return
			}
			l := out.Intent.Policies[0].Family[IPv4]
			if d.moved == 0 && l.Rungs[0].Shares[0].Uplink == "lte" {
				d.moved = at - onset
			}
			if d.lost == 0 && slices.Contains(l.Lost, "fiber") {
				d.lost = at - onset
			}
		},
	})}
	w.do("all report=0s")
	w.until(onset)
	w.do("fiber loss=1")
	w.until(onset + 3*time.Second)
	if d.moved == 0 || d.lost == 0 {
		t.Fatalf("phase %v: %+v", phase, d)
	}
	return d
}

// TestDetectionTime compares the times that docs/DECISION.md derives with those over all
// phases of the probe interval, of an engine without the machine's own delays.
func TestDetectionTime(t *testing.T) {
	both, one := DefaultConfig(), DefaultConfig()
	if err := configure(&one, []string{"ipv4"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what                 string
		cfg                  Config
		median, worst, downs time.Duration
	}{
		{"both families", both, 206 * time.Millisecond, 287 * time.Millisecond, 707 * time.Millisecond},
		{"one family", one, 289 * time.Millisecond, 454 * time.Millisecond, 834 * time.Millisecond},
	} {
		var moved []time.Duration
		var lost time.Duration
		for i := range 200 {
			d := detect(t, c.cfg, time.Duration(i)*5*time.Millisecond)
			moved = append(moved, d.moved)
			lost = max(lost, d.lost)
		}
		slices.Sort(moved)
		median, worst := moved[len(moved)/2], moved[len(moved)-1]
		t.Logf("%s: new flows moved after %v in the median, %v at worst; sessions after %v at worst", c.what, median, worst, lost)
		if median > c.median || worst > c.worst || lost > c.downs {
			t.Errorf("%s: want at most %v, %v, %v", c.what, c.median, c.worst, c.downs)
		}
	}
}

// TestBriefProbes: of the many probes of a path that is down at least the regular ones are
// waited for to the end, and before it is down all are.
func TestBriefProbes(t *testing.T) {
	const onset = 20 * time.Second
	var down [2]Instant
	var brief, others int
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{
		Witness: func(_ *Engine, at Instant, _ Event, out Output) {
			for f := range down {
				if down[f] == 0 && out.Intent != nil && slices.Contains(out.Intent.Policies[0].Family[f].Lost, "fiber") {
					down[f] = at
				}
			}
			for _, p := range out.Probes {
				switch {
				case p.Brief && (p.Uplink != "fiber" || down[p.Family] == 0):
					t.Fatalf("%v: %+v is brief", at, p)
				case p.Brief:
					brief++
				case p.Uplink == "fiber" && down[p.Family] > 0:
					others++
				}
			}
		},
	})}
	w.do("all report=0s")
	w.until(onset)
	w.do("fiber loss=1")
	w.until(onset + 4*time.Second)
	if brief < 120 || others < 16 {
		t.Errorf("%d brief probes and %d others since the downs at %v", brief, others, down)
	}
}
