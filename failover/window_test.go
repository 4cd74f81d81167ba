package failover

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// reference is a window that keeps everything and sums up when asked.
type reference struct{ all []sample }

// last is when the newest sample came in, which is when the window was trimmed.
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

// drop takes a target out, and what had left the window before: it does not
// come back.
func (r *reference) drop(target int, now Instant, span time.Duration) {
	var kept []sample
	for _, s := range r.all[len(r.all)-r.sums(now, span).n:] {
		if s.target != target {
			kept = append(kept, s)
		}
	}
	r.all = kept
}

// TestWindowAgainstReference pushes random samples at random paces, from 50 a
// second to one in minutes, and takes targets out now and then.
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

// TestFigures takes the figures of a known series by hand.
func TestFigures(t *testing.T) {
	p := &path{up: &uplink{cfg: testUplink("fiber")}}
	p.window.reset(1)
	for i := range 29 {
		p.window.push(sample{at: Instant(i), rtt: 10 * time.Millisecond, dev: 0}, time.Minute)
	}
	for _, f := range p.figures() {
		if f.known {
			t.Errorf("%s is known from 29 samples", f.name)
		}
	}
	p.window.push(sample{at: 29}, time.Minute)
	p.window.push(sample{at: 30, rtt: 39 * time.Millisecond, dev: 29 * time.Millisecond}, time.Minute)
	fs := p.figures()
	for i, want := range []float64{1. / 31, (29*0.010 + 0.039) / 30, 0.029 / 30} {
		if !fs[i].known || math.Abs(fs[i].value-want) > 1e-9 {
			t.Errorf("%s: %v, known %v, want %v", fs[i].name, fs[i].value, fs[i].known, want)
		}
	}
}

// TestBeyondChance compares the bound with the exact binomial tail: what the
// bound lets through is never likelier than it claims.
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
