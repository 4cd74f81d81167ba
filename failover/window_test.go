package failover

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// reference is a window that keeps everything and computes sums when asked.
type reference struct{ all []sample }

// last is when the newest sample was added, which is when the window was trimmed.
func (r *reference) last() Instant {
	if len(r.all) == 0 {
		return 0
	}
	return r.all[len(r.all)-1].at
}

func (r *reference) sums(now Instant, span time.Duration) tally {
	var t tally
	for i := len(r.all) - 1; i >= 0; i-- {
		s := r.all[i]
		age := now - s.at
		if age > longestWindow || age > span && t.n >= leastSamples {
			break
		}
		t.n++
		switch {
		case s.rtt == 0:
			t.lost++
		default:
			t.rtt += s.rtt
			if s.dev >= 0 {
				t.devs++
				t.dev += s.dev
			}
		}
	}
	return t
}

// drop removes a target, and what had left the window before: it does not come back.
func (r *reference) drop(target int, now Instant, span time.Duration) {
	var kept []sample
	for _, s := range r.all[len(r.all)-r.sums(now, span).n:] {
		if s.target != target {
			kept = append(kept, s)
		}
	}
	r.all = kept
}

// amend makes a loss an answer.
func (r *reference) amend(at Instant, target int, rtt, dev time.Duration) {
	for i, s := range r.all {
		if s.at == at && s.target == target && s.rtt == 0 {
			r.all[i].rtt, r.all[i].dev = rtt, dev
		}
	}
}

// TestWindowAgainstReference pushes random samples at random rates, from 50 a second to
// one in minutes, amends some, and removes targets occasionally.
func TestWindowAgainstReference(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		span := time.Duration(1+rnd.Int64N(120)) * time.Second
		var w window
		var ref reference
		w.reset(4)
		now, pace := Instant(0), time.Second
		for i := range 3000 {
			if i%200 == 0 {
				pace = time.Duration(math.Exp(rnd.Float64()*9)) * 20 * time.Millisecond
			}
			now += time.Duration(rnd.ExpFloat64() * float64(pace))
			s := sample{at: now, dev: -1, target: rnd.IntN(4)}
			if rnd.IntN(5) > 0 {
				s.rtt = time.Duration(1 + rnd.Int64N(int64(time.Second)))
				s.dev = time.Duration(rnd.Int64N(1000)) - 1
			}
			if rnd.IntN(500) == 0 {
				w.drop(s.target)
				ref.drop(s.target, ref.last(), span)
			}
			w.push(s, span)
			ref.all = append(ref.all, s)
			if late := ref.all[max(0, len(ref.all)-1-rnd.IntN(40))]; rnd.IntN(4) == 0 {
				ref.amend(late.at, late.target, 7*time.Second, time.Second)
				w.amend(late.at, late.target, 7*time.Second, time.Second)
			}
			if got, want := w.total, ref.sums(now, span); got != want {
				t.Fatalf("seed %d, sample %d, span %v: %+v, want %+v", seed, i, span, got, want)
			}
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWindowIsBounded(t *testing.T) {
	var w window
	w.reset(1)
	for i := range 3 * mostSamples {
		w.push(sample{at: Instant(i), rtt: time.Millisecond, dev: -1}, time.Minute)
	}
	if w.n != mostSamples || len(w.ring) != mostSamples {
		t.Errorf("%d samples in %d places, want %d", w.n, len(w.ring), mostSamples)
	}
}

// TestFigures computes the figures of a known series by hand.
func TestFigures(t *testing.T) {
	p := &path{up: &uplink{cfg: DefaultUplink("fiber")}}
	p.window.reset(1)
	for i := range 29 {
		p.window.push(sample{at: Instant(i), rtt: 10 * time.Millisecond, dev: 0}, time.Minute)
	}
	for _, f := range figures {
		if _, known := f.of(&p.window); known {
			t.Errorf("%s is known from 29 samples", f.name)
		}
	}
	p.window.push(sample{at: 29}, time.Minute)
	p.window.push(sample{at: 30, rtt: 39 * time.Millisecond, dev: 29 * time.Millisecond}, time.Minute)
	for i, want := range []float64{1. / 31, (29*0.010 + 0.039) / 30, 0.029 / 30} {
		if got, known := figures[i].of(&p.window); !known || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, known %v, want %v", figures[i].name, got, known, want)
		}
	}
}

// TestOverIsJudgedAnew checks that a window found within its limits is judged again when
// either changes.
func TestOverIsJudgedAnew(t *testing.T) {
	p := &path{up: &uplink{cfg: DefaultUplink("fiber")}}
	targets := FamilyConfig{Enabled: true, Targets: []string{"1.1.1.1"}, Quorum: 1}
	p.configure(targets)
	push := func(n int, rtt time.Duration) {
		for range n {
			p.window.push(sample{at: p.window.start, rtt: rtt, dev: -1}, time.Minute)
		}
	}
	push(30, 100*time.Millisecond)
	if why := p.limits.exceeded(&p.window, &p.up.cfg.Health, 0); why != "" {
		t.Fatalf("100 ms of latency: %s", why)
	}
	p.up.cfg.Health.Latency.Degraded = 0.05
	p.configure(targets)
	if why := p.limits.exceeded(&p.window, &p.up.cfg.Health, 0); why == "" {
		t.Error("a lower limit changes nothing")
	}
	p.up.cfg.Health.Latency.Degraded = 0.5
	p.configure(targets)
	if why := p.limits.exceeded(&p.window, &p.up.cfg.Health, 0); why != "" {
		t.Fatalf("100 ms of latency: %s", why)
	}
	push(30, time.Second)
	if why := p.limits.exceeded(&p.window, &p.up.cfg.Health, 0); why == "" {
		t.Error("other samples change nothing")
	}
}

// TestBeyondChance compares the bound with the exact binomial tail: a loss that the
// bound accepts as significant is never more probable than the bound claims.
func TestBeyondChance(t *testing.T) {
	for _, n := range []int{30, 60, 100, 180} {
		for _, p := range []float64{0.01, 0.05, 0.2} {
			least := -1
			for lost := range n + 1 {
				if !beyondChance(lost, n, p) {
					continue
				}
				if least < 0 {
					least = lost
				}
				if tail := binomialTail(lost, n, p); tail > math.Exp(-chanceOnce) {
					t.Errorf("%d of %d at %v has probability %g", lost, n, p, tail)
				}
			}
			if least < 0 || binomialTail(least, n, p) < math.Exp(-chanceOnce)/1e3 {
				t.Errorf("n %d, p %v: first at %d losses, far beyond the bound", n, p, least)
			}
		}
	}
	if !beyondChance(1, 30, 0) || beyondChance(0, 30, 0) || !beyondChance(30, 30, 0.2) {
		t.Error("the ends of the range are wrong")
	}
}

// binomialTail is the probability of at least k losses among n.
func binomialTail(k, n int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log(1-p))
	}
	return sum
}

// A suspicion of a degraded path does not hide that it is degraded, nor since when.
func TestDegradedIsSeenUnderSuspicion(t *testing.T) {
	p := &path{up: &uplink{}, state: Suspect, reason: "0 of 3 targets answer", since: 9, base: Degraded, baseReason: "loss 31 %", baseSince: 5}
	if v := viewPath(p, 10); v.State != Degraded || v.Reason != "loss 31 %" || v.Since != 5 {
		t.Errorf("%+v", v)
	}
	p.base = Up
	if v := viewPath(p, 10); v.State != Suspect || v.Since != 9 {
		t.Errorf("%+v", v)
	}
}
