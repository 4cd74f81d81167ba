package wire

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newLane(p Path) *lane {
	return &lane{path: p, rng: rand.New(rand.NewPCG(1, 2))}
}

// offer sends frames of a length at offsets and returns when each accepted one leaves.
func offer(l *lane, length int, at ...time.Duration) (due []time.Duration) {
	for _, d := range at {
		if l.accept(make([]byte, length), start.Add(d)) {
			due = append(due, l.last.Sub(start))
		}
	}
	return due
}

func TestWhenFramesLeave(t *testing.T) {
	for _, tc := range []struct {
		name   string
		path   Path
		length int
		at     []time.Duration
		due    []time.Duration
	}{
		{"a bare cable", Path{}, 100, []time.Duration{0, ms}, []time.Duration{0, ms}},
		{"delay", Path{Delay: 10 * ms}, 100, []time.Duration{0, ms}, []time.Duration{10 * ms, 11 * ms}},
		{"rate: 1000 bits at 1 Mbit/s take 1 ms, one after the other",
			Path{Rate: 1e6}, 125, []time.Duration{0, 0, 0, 10 * ms}, []time.Duration{ms, 2 * ms, 3 * ms, 11 * ms}},
		{"rate, then delay", Path{Rate: 1e6, Delay: 5 * ms}, 125, []time.Duration{0, 0}, []time.Duration{6 * ms, 7 * ms}},
		{"a full queue drops", Path{Delay: 10 * ms, Queue: 2}, 100, []time.Duration{0, 1, 2}, []time.Duration{10 * ms, 10*ms + 1}},
		{"loss 1 drops all", Path{Loss: 1}, 100, []time.Duration{0, 1, 2}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := offer(newLane(tc.path), tc.length, tc.at...); !slices.Equal(got, tc.due) {
				t.Errorf("frames leave at %v, want %v", got, tc.due)
			}
		})
	}
}

func TestOrderIsKept(t *testing.T) {
	l := newLane(Path{Delay: 100 * ms, Jitter: 50 * ms})
	var at []time.Duration
	for i := range 1000 {
		at = append(at, time.Duration(i)*ms)
	}
	due := offer(l, 100, at...)
	l.path = Path{Delay: ms} // later frames are faster now, and still come after
	due = append(due, offer(l, 100, time.Second, time.Second+200*ms)...)
	if !slices.IsSorted(due) {
		t.Error("a frame overtakes another")
	}
	if got, want := due[len(due)-1], time.Second+201*ms; got != want {
		t.Errorf("once the slow ones are through, a frame leaves at %v, want %v", got, want)
	}
	spread := map[time.Duration]bool{}
	for i, d := range due[:1000] {
		late := d - at[i]
		if late < 100*ms || late > 150*ms {
			t.Fatalf("frame %d takes %v, want 100 to 150 ms", i, late)
		}
		spread[late] = true
	}
	if len(spread) < 100 {
		t.Errorf("only %d different times in 1000 frames: no jitter", len(spread))
	}
}

func TestLossIsAsOftenAsSaidAndSeeded(t *testing.T) {
	run := func() Counters {
		l := newLane(Path{Loss: 0.3, Queue: 20000})
		offer(l, 100, make([]time.Duration, 10000)...)
		return l.count
	}
	c := run()
	if c.Lost < 2800 || c.Lost > 3200 {
		t.Errorf("%d of 10000 lost at 30 %%", c.Lost)
	}
	if again := run(); again != c {
		t.Errorf("the same seed gives %+v, then %+v", c, again)
	}
}

func TestAStallKeepsFramesUntilItsEnd(t *testing.T) {
	l := newLane(Path{Delay: 10 * ms})
	if _, ok := l.next(); ok {
		t.Error("an empty lane has a frame to send")
	}
	offer(l, 100, 0)
	l.heldTo = start.Add(50 * ms)
	if at, ok := l.next(); !ok || !at.Equal(l.heldTo) {
		t.Errorf("held frame leaves at %v, %v; want %v", at, ok, l.heldTo)
	}
	l.heldTo = time.Time{}
	if at, ok := l.next(); !ok || !at.Equal(start.Add(10*ms)) {
		t.Errorf("after the stall it leaves at %v, %v; want its own time", at, ok)
	}
}

// A plain slice is the reference.
func TestRingAgainstASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var r ring
	var want []byte
	for i := range 10000 {
		if rng.IntN(5) < 3 {
			r.push(frame{data: []byte{byte(i)}})
			want = append(want, byte(i))
		} else if len(want) > 0 {
			if got := r.pop().data[0]; got != want[0] {
				t.Fatalf("step %d: popped %d, want %d", i, got, want[0])
			}
			want = want[1:]
		}
		if r.len() != len(want) {
			t.Fatalf("step %d: length %d, want %d", i, r.len(), len(want))
		}
	}
}
