package failover

import (
	"strings"
	"testing"
	"time"
)

// TestEstimate follows RFC 6298: the first sample, then the smoothing, then the
// bounds.
func TestEstimate(t *testing.T) {
	var r estimate
	r.add(100 * time.Millisecond)
	if r.srtt != 100*time.Millisecond || r.rttvar != 50*time.Millisecond {
		t.Errorf("first sample: %+v", r)
	}
	r.add(180 * time.Millisecond)
	if r.srtt != 110*time.Millisecond || r.rttvar != 57500*time.Microsecond {
		t.Errorf("second sample: %+v", r)
	}
	if d := r.deadline(time.Second); d != 340*time.Millisecond {
		t.Errorf("deadline %v, want 340ms", d)
	}
	if d := r.deadline(200 * time.Millisecond); d != 200*time.Millisecond {
		t.Errorf("deadline %v is over lost_after", d)
	}
	steady := estimate{srtt: 5 * time.Millisecond, samples: 1}
	if d := steady.deadline(time.Second); d != leastDeadline {
		t.Errorf("deadline %v, want the least", d)
	}
	steady.srtt = 60 * time.Millisecond
	if d := steady.deadline(time.Second); d != 70*time.Millisecond {
		t.Errorf("deadline %v, want 60ms and the granularity", d)
	}
}

// The delay of the first answers is forgotten once one came sooner.
func TestFirstAnswersWait(t *testing.T) {
	ms := time.Millisecond
	for _, tc := range []struct {
		name     string
		rtts     []time.Duration
		deadline time.Duration
	}{
		{"steady", []time.Duration{20 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms}, leastDeadline},
		{"the first was delayed", []time.Duration{60 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms}, leastDeadline},
		{"a little less restarts nothing", []time.Duration{20 * ms, 16 * ms}, 53500 * time.Microsecond},
		{"sooner later on", []time.Duration{60 * ms, 60 * ms, 60 * ms, 60 * ms, 60 * ms, 20 * ms}, 123476564},
	} {
		var r estimate
		for _, rtt := range tc.rtts {
			r.add(rtt)
		}
		if d := r.deadline(time.Second); d != tc.deadline {
			t.Errorf("%s: deadline %v, want %v", tc.name, d, tc.deadline)
		}
	}
}

func TestDamping(t *testing.T) {
	c := Damping{HalfLife: 15 * time.Minute, Suppress: 3, Reuse: 1, Max: 12}
	d := damping{heldUntil: never}
	for i := range 3 {
		d.add(0, c)
		if d.heldUntil != never {
			t.Errorf("held after %d downs at once", i+1)
		}
	}
	d.add(0, c)
	if want := Instant(30 * time.Minute); d.points != 4 || d.heldUntil != want {
		t.Errorf("four downs: %v points, held until %v, want %v", d.points, d.heldUntil, want)
	}
	d.add(15*time.Minute, c)
	if d.points != 3 || d.heldUntil.Round(time.Second) != 15*time.Minute+23*time.Minute+46*time.Second {
		t.Errorf("a fifth while held: %v points, until %v", d.points, d.heldUntil)
	}
	for range 40 {
		d.add(time.Hour, c)
	}
	if d.points != c.Max {
		t.Errorf("%v points, over the most", d.points)
	}
}

func TestPatience(t *testing.T) {
	p := patience{least: 500 * time.Millisecond}
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 2 * time.Second} {
		if p.raise(0, 2*p.now()); p.now() != want {
			t.Errorf("patience %v, want %v", p.now(), want)
		}
	}
	p.forget(forgetting - 1)
	if p.now() != 2*time.Second {
		t.Errorf("forgotten too early: %v", p.now())
	}
	if p.forget(forgetting); p.now() != time.Second {
		t.Errorf("after a month %v", p.now())
	}
	if p.forget(5 * forgetting); p.now() != 500*time.Millisecond {
		t.Errorf("after five months %v", p.now())
	}
	p.restore(0, 1500*time.Millisecond)
	if p.least = 600 * time.Millisecond; p.now() != 1500*time.Millisecond {
		t.Errorf("a new configuration discards what was learnt: %v", p.now())
	}
	p.least = 3 * time.Second
	if p.raise(0, 2*p.now()); p.now() != 3*time.Second {
		t.Errorf("configured above the most: %v", p.now())
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	b.tune(0, 6, 6)
	n := 0
	for n <= 6*incident && b.spend(0) {
		n++
	}
	if n != 6*incident {
		t.Errorf("%d tokens at first, want %d", n, 6*incident)
	}
	for at := Instant(0); at < 10*time.Second; at += time.Millisecond {
		if b.spend(at) {
			n++
		}
	}
	if got := n - 6*incident; got < 59 || got > 61 {
		t.Errorf("%d tokens in 10s at 6 a second", got)
	}
}

// TestScheduleIsEven checks the regular sendings of one interval, at the default
// configuration.
func TestScheduleIsEven(t *testing.T) {
	e := New(DefaultConfig())
	var times []Instant
	for _, u := range e.uplinks {
		for f := range u.paths {
			p := &u.paths[f]
			for i := range p.targets {
				first := p.schedule.slot(i, len(p.targets), 10*time.Second)
				if next := p.schedule.slot(i, len(p.targets), first); next-first != time.Second {
					t.Errorf("%s %s: %v between two probes", u.cfg.Name, Family(f), next-first)
				}
				times = append(times, first-10*time.Second)
			}
		}
	}
	seen := map[time.Duration]int{}
	for _, at := range times {
		seen[at.Round(time.Millisecond)%time.Second]++
	}
	for i := range 12 {
		// Twelve probes of two uplinks: one each twelfth of a second.
		slot := (time.Duration(i) * time.Second / 12).Round(time.Millisecond)
		if seen[slot] != 1 {
			t.Errorf("%d probes at %v, want 1: %v", seen[slot], slot, seen)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 182400 * time.Microsecond: "182ms", 1250 * time.Millisecond: "1.3s", 2 * time.Second: "2s",
		30 * time.Second: "30s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 125 * time.Second: "2m5s",
		2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m",
	} {
		if got := span(d); got != want {
			t.Errorf("%v reads %s, want %s", d, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0%", 0.2: "20%", 0.3449: "34%", 0.042: "4.2%", 1: "100%"} {
		if got := percent(v); got != want {
			t.Errorf("%v reads %s, want %s", v, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 of 3 targets answer", 1: "1 of 3 targets answers", 3: "3 of 3 targets answer"} {
		if got := answers(n, 3); got != want {
			t.Errorf("%d reads %s", n, got)
		}
	}
	if got := answers(0, 1); got != "0 of 1 target answer" {
		t.Error(got)
	}
}

// TestTheLastTargetStays: if the uplinks have different targets, or one was added later,
// all of a path's targets may be considered faulty. One of them stays.
func TestTheLastTargetStays(t *testing.T) {
	c := DefaultConfig()
	c.Uplinks[1].Family[IPv4].Targets = []string{"8.8.8.8", "9.9.9.9"}
	e := New(c)
	for _, name := range []string{"8.8.8.8", "9.9.9.9"} {
		e.uplinks.setAside(&turn{}, IPv4, name, true)
	}
	for i, want := range []int{1, 1} {
		if n := e.uplinks[i].paths[IPv4].targets.active(); n != want {
			t.Errorf("%s has %d targets left, want %d", c.Uplinks[i].Name, n, want)
		}
	}
	if err := e.Check(); err != nil && strings.Contains(err.Error(), "aside") {
		t.Error(err)
	}
}

// TestQuorumIsOfOneTime: answers far apart in time do not add up to a quorum.
func TestQuorumIsOfOneTime(t *testing.T) {
	p := &path{cfg: FamilyConfig{Quorum: 2}, targets: []target{
		{answeredAt: 7}, {answeredAt: 9}, {answeredAt: 3},
	}}
	if !p.answeredSince(5) || p.answeredSince(8) {
		t.Error("two answered after step 5, one after step 8")
	}
	p.targets[0].misses = 1
	if p.answeredSince(5) {
		t.Error("one of the two has failed since")
	}
}
