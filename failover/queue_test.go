package failover_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// fill makes a queue on fiber that grows at a rate per second up to a length, falls
// to 0.7 of it there, and so on, as TCP streams cause; loss is the fraction dropped
// when it is full.
func (w *world) fill(until Instant, length time.Duration, growth, loss float64) {
	const every = 10 * time.Millisecond
	queued, full := time.Duration(0), 0
	for w.Now() < until {
		queued += time.Duration(growth * float64(every))
		dropping := 0.0
		if queued >= length {
			full++
			dropping = loss
			if full > 20 { // the senders notice after a round trip
				queued, full = length*7/10, 0
				growth = min(growth, 0.2) // slow start has ended
			} else {
				queued = length
			}
		}
		w.do(fmt.Sprintf("fiber rtt=%v loss=%v", 20*time.Millisecond+queued, dropping))
		w.after(every)
	}
}

// An uplink whose queue is filled by its own user is not down: any answer, however
// late, proves that it works, and no flow reports received traffic. Nor is it
// suspected at each probe, or degraded by losses, since what is late is not lost.
func TestFilledQueues(t *testing.T) {
	one := DefaultConfig()
	if err := configure(&one, []string{"ipv4"}); err != nil {
		t.Fatal(err)
	}
	for what, cfg := range map[string]Config{"both families": DefaultConfig(), "one family": one} {
		steepest := 1.5
		if what == "one family" {
			steepest = 1 // its probes are half as frequent
		}
		for _, length := range []time.Duration{200, 500, 1000, 1700, 2500, 4000} {
			length *= time.Millisecond
			for _, growth := range []float64{0.3, 1, steepest} {
				t.Run(fmt.Sprintf("%s %v %v", what, length, growth), func(t *testing.T) {
					for phase := range 7 {
						suspicions := 0
						var shunned, since time.Duration
						w := &world{t: t, World: simulator.NewWorld(cfg, uint64(phase), simulator.Options{CheckEach: 1000, Witness: func(_ *Engine, at Instant, _ Event, out Output) {
							for _, r := range out.Records {
								h := r.Health
								switch {
								case h == nil || h.Uplink != "fiber" || h.Family != IPv4 || at < 20*time.Second:
								case h.To == Down, h.To == Degraded && strings.HasPrefix(h.Reason, "loss"):
									t.Errorf("phase %d at %v: %s", phase, at, recordText(r))
								case h.To == Suspect:
									suspicions++
								case h.To == Shunned:
									since = at
								case h.From == Shunned:
									shunned += at - since
								}
							}
						}})}
						w.do("all report=0s")
						w.until(20*time.Second + time.Duration(phase)*49*time.Millisecond)
						w.fill(80*time.Second, length, growth, 0.1)
						if shunned > time.Second || suspicions > 60 {
							t.Errorf("phase %d: shunned for %v, %d suspicions", phase, shunned, suspicions)
						}
					}
				})
			}
		}
	}
}

// Traffic received by established flows postpones a shunning for six seconds and no
// longer.
func TestReceivingIsBounded(t *testing.T) {
	onset := 20 * time.Second
	moved := time.Duration(0)
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{Witness: func(_ *Engine, at Instant, _ Event, out Output) {
		for _, r := range out.Records {
			if r.Switch != nil && strings.Contains(recordText(r), "ipv4") && moved == 0 {
				moved = at - onset
			}
		}
	}})}
	w.do("all report=0s")
	w.until(onset)
	w.do("fiber loss=1")
	for w.Now() < onset+12*time.Second {
		for _, f := range Families {
			w.step(Traffic{Uplink: "fiber", Family: f, Unanswered: -1, Received: w.Now()})
		}
		w.after(50 * time.Millisecond)
	}
	if moved < 5*time.Second || moved > 7*time.Second {
		t.Errorf("moved after %v, want about 6 s", moved)
	}
}

// A pause of this machine, in which nothing is read of what flows receive either, does
// not end that postponement.
func TestReceivingOutlastsPauses(t *testing.T) {
	onset := 20 * time.Second
	left := time.Duration(0)
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{Witness: func(_ *Engine, at Instant, _ Event, out Output) {
		for _, r := range out.Records {
			if r.Health != nil && r.Health.To == Shunned && left == 0 {
				left = at - onset
			}
		}
	}})}
	w.do("all report=0s")
	w.until(onset)
	w.do("fiber loss=1")
	for w.Now() < onset+12*time.Second {
		for _, f := range Families {
			w.step(Traffic{Uplink: "fiber", Family: f, Unanswered: -1, Received: w.Now()})
		}
		w.after(20 * time.Millisecond)
		w.do("pause 30ms")
	}
	if left != 0 && left < 5*time.Second {
		t.Errorf("left after %v, want 6 s at least", left)
	}
}

// A single host's packets postpone the down for six seconds, and no longer where this
// machine pauses all the time.
func TestHeardIsBoundedBesidePauses(t *testing.T) {
	onset := 20 * time.Second
	for _, pause := range []time.Duration{0, 10 * time.Millisecond, 30 * time.Millisecond} {
		var shunned, down time.Duration
		w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{Witness: func(_ *Engine, at Instant, _ Event, out Output) {
			for _, r := range out.Records {
				switch h := r.Health; {
				case h == nil || h.Uplink != "fiber" || h.Family != IPv4:
				case h.To == Shunned && shunned == 0:
					shunned = at - onset
				case h.To == Down && down == 0:
					down = at - onset
				}
			}
		}})}
		w.do("all report=0s")
		w.until(onset)
		w.do("fiber loss=1")
		paused := time.Duration(0)
		for down == 0 && w.Now() < onset+time.Minute {
			w.step(Traffic{Uplink: "fiber", Family: IPv4, Unanswered: -1, Received: -1, Heard: w.Now()})
			w.after(50 * time.Millisecond)
			if pause > 0 {
				w.do(fmt.Sprintf("pause %v", pause))
				paused += pause
			}
		}
		if down == 0 || down < 6*time.Second || down > 7*time.Second+paused {
			t.Errorf("pauses of %v: down after %v, %v of it paused, want about 6.5 s", pause, down, paused)
		}
		if shunned == 0 || pause == 0 && shunned > 500*time.Millisecond {
			t.Errorf("pauses of %v: shunned after %v", pause, shunned)
		}
		t.Logf("pauses of %v: shunned after %v, down after %v, paused for %v", pause, shunned, down, paused)
	}
}

// A new stream overshoots for a round trip when the queue is full. Each frame that leaves
// makes room for the stream's next one, so that nearly all else is lost for as long as the
// queue is. That is no down.
func TestOvershoot(t *testing.T) {
	downs := 0
	for _, length := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		for phase := range 200 {
			w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), uint64(phase), simulator.Options{CheckEach: 1000, Witness: func(_ *Engine, at Instant, _ Event, out Output) {
				for _, r := range out.Records {
					if h := r.Health; h != nil && h.Uplink == "fiber" && h.To == Down && at > 20*time.Second {
						downs++
						if downs < 5 {
							t.Errorf("%v, phase %d at %v: %s", length, phase, at, recordText(r))
						}
					}
				}
			}})}
			w.do("all report=0s")
			w.until(20*time.Second + time.Duration(phase)*17*time.Millisecond)
			for queued := time.Duration(0); queued < length; queued += 10 * time.Millisecond {
				w.do(fmt.Sprintf("fiber rtt=%v", 20*time.Millisecond+queued))
				w.after(10 * time.Millisecond)
			}
			w.do("fiber loss=0.95")
			w.after(length)
			w.do("fiber loss=0.05")
			w.after(10 * time.Second)
		}
	}
	if downs > 0 {
		t.Errorf("%d downs", downs)
	}
}
