package failover

import (
	"iter"
	"math"
	"time"
)

const (
	// leastSamples is how many probes a figure needs; under it, it is unknown.
	leastSamples = 30
	// longestWindow bounds the stretching of a window where probes are rare.
	longestWindow = 10 * time.Minute
	// mostSamples bounds a window's memory. Beyond it the oldest are dropped, and
	// the window is shorter than configured.
	mostSamples = 1 << 13
)

// sample is one regular probe's outcome.
type sample struct {
	at Instant
	// rtt is 0 where the probe was lost; an answer after that sets it.
	rtt time.Duration
	// dev is the difference to the same target's RTT before; negative for none.
	dev    time.Duration
	target int
}

// tally is a sum of samples. It counts whole nanoseconds and is therefore exact.
type tally struct {
	n, lost, devs int
	rtt, dev      time.Duration
}

func (t *tally) add(s sample, sign int) {
	t.n += sign
	if s.rtt == 0 {
		t.lost += sign
		return
	}
	t.rtt += time.Duration(sign) * s.rtt
	if s.dev >= 0 {
		t.devs += sign
		t.dev += time.Duration(sign) * s.dev
	}
}

func (t *tally) loss() float64 { return float64(t.lost) / float64(t.n) }

// latency is the mean RTT; false where nothing was answered.
func (t *tally) latency() (time.Duration, bool) {
	if t.n == t.lost {
		return 0, false
	}
	return t.rtt / time.Duration(t.n-t.lost), true
}

// jitter is the mean difference of successive RTTs; false where there were none.
func (t *tally) jitter() (time.Duration, bool) {
	if t.devs == 0 {
		return 0, false
	}
	return t.dev / time.Duration(t.devs), true
}

// window holds the latest samples of a path: those younger than its span, or
// where these are fewer than 30 the latest 30 not older than ten minutes.
type window struct {
	ring  []sample
	head  int // the oldest sample's place
	n     int
	start Instant // of the first sample since the last reset
	// version counts the changes of the samples, and of the limits they are held to.
	version uint64
	// checked is the version that check saw last.
	checked uint64
	total   tally
	target  []tally
}

// reset forgets all samples.
func (w *window) reset(targets int) {
	*w = window{ring: w.ring, target: make([]tally, targets), version: w.version + 1}
}

// push adds a sample and drops those that are too old.
func (w *window) push(s sample, span time.Duration) {
	if w.n == mostSamples {
		w.pop()
	}
	if w.n == len(w.ring) {
		w.grow()
	}
	if w.total.n == 0 {
		w.start = s.at
	}
	w.ring[(w.head+w.n)%len(w.ring)] = s
	w.n++
	w.version++
	w.total.add(s, 1)
	w.target[s.target].add(s, 1)
	w.trim(s.at, span)
}

// latest yields the samples, the newest first.
func (w *window) latest() iter.Seq[*sample] {
	return func(yield func(*sample) bool) {
		for i := w.n - 1; i >= 0; i-- {
			if !yield(&w.ring[(w.head+i)%len(w.ring)]) {
				return
			}
		}
	}
}

// amend makes a target's loss at an instant an answer, where the sample is still there.
func (w *window) amend(at Instant, target int, rtt, dev time.Duration) {
	for s := range w.latest() {
		if s.at < at {
			return
		}
		if s.at != at || s.target != target || s.rtt != 0 {
			continue
		}
		for _, t := range []*tally{&w.total, &w.target[target]} {
			t.add(*s, -1)
		}
		s.rtt, s.dev = rtt, dev
		for _, t := range []*tally{&w.total, &w.target[target]} {
			t.add(*s, 1)
		}
		w.version++
		return
	}
}

func (w *window) trim(now Instant, span time.Duration) {
	for w.n > 0 {
		age := now - w.ring[w.head].at
		if age <= span || w.n <= leastSamples && age <= longestWindow {
			return
		}
		w.pop()
	}
}

func (w *window) pop() {
	s := w.ring[w.head]
	w.head = (w.head + 1) % len(w.ring)
	w.n--
	w.total.add(s, -1)
	w.target[s.target].add(s, -1)
}

func (w *window) grow() {
	ring := make([]sample, min(mostSamples, max(64, 2*len(w.ring))))
	for i := range w.n {
		ring[i] = w.ring[(w.head+i)%len(w.ring)]
	}
	w.ring, w.head = ring, 0
}

// drop removes one target's samples.
func (w *window) drop(target int) {
	kept := window{
		ring: make([]sample, len(w.ring)), start: w.start, target: make([]tally, len(w.target)), version: w.version + 1,
	}
	for i := range w.n {
		s := w.ring[(w.head+i)%len(w.ring)]
		if s.target == target {
			continue
		}
		kept.ring[kept.n] = s
		kept.n++
		kept.total.add(s, 1)
		kept.target[s.target].add(s, 1)
	}
	*w = kept
}

// known reports whether there are enough samples for a figure.
func (w *window) known() bool { return w.n >= leastSamples }

// outlasts reports whether all samples are later than an instant, and the latest is
// longestWindow later or more. It depends on samples alone, not on the time at which
// it is asked.
func (w *window) outlasts(since Instant) bool {
	if w.n == 0 || w.ring[w.head].at <= since {
		return false
	}
	return w.ring[(w.head+w.n-1)%len(w.ring)].at-since >= longestWindow
}

// reach is the time that the samples cover, up to now.
func (w *window) reach(now Instant) time.Duration {
	if w.n == 0 {
		return 0
	}
	return now - w.ring[w.head].at
}

// full reports whether the samples cover the window's whole span, and no more.
func (w *window) full(now Instant, span time.Duration) bool {
	return now-w.start >= span && w.reach(now) <= span
}

// chanceOnce is the negative logarithm of the probability up to which a count
// of losses is attributed to chance: 10^-10, about once in a hundred years at
// three probes a second.
const chanceOnce = 23

// beyondChance reports whether so many losses among n probes are more than
// chance makes of a true loss ratio of p. By Chernoff's bound the probability
// of that many is at most exp(-n·D(lost/n ‖ p)).
func beyondChance(lost, n int, p float64) bool {
	q := float64(lost) / float64(n)
	if q <= p {
		return false
	}
	if p <= 0 {
		return true
	}
	d := q * math.Log(q/p)
	if q < 1 {
		d += (1 - q) * math.Log((1-q)/(1-p))
	}
	return float64(n)*d >= chanceOnce
}
