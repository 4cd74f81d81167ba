package linkmon

import (
	"math/rand/v2"
	"testing"
	"time"

	"swerve/failover"
)

// passing plays traffic to a pulse: each millisecond, packets come and leave.
type passing struct {
	p   *pulse
	now failover.Instant
	sum packets
}

func newPassing() *passing { return &passing{p: newPulse(0, packets{})} }

// play plays for a while and returns the instants of the hints, and for how long
// each said that nothing had come.
func (f *passing) play(span time.Duration, each func(ms int) (came, left uint64)) (hints []failover.Instant, waits []time.Duration) {
	for ms := range int(span / time.Millisecond) {
		f.now += time.Millisecond
		came, left := each(ms)
		f.sum.rx += came
		f.sum.tx += left
		every := idleEvery
		if f.p.busy() {
			every = busyEvery
		}
		if f.now-f.p.at < every {
			continue
		}
		if unanswered, ok := f.p.sample(f.now, f.sum); ok {
			hints = append(hints, f.now)
			waits = append(waits, f.now-unanswered)
		}
	}
	return hints, waits
}

// evenly is traffic of so many packets per second in each direction.
func evenly(came, left int) func(int) (uint64, uint64) {
	at := func(ms, rate int) uint64 { return uint64((ms+1)*rate/1000 - ms*rate/1000) }
	return func(ms int) (uint64, uint64) { return at(ms, came), at(ms, left) }
}

func TestPulseDetectsSilence(t *testing.T) {
	tests := []struct {
		name       string
		came, left int
		within     time.Duration
	}{
		{"hundred a second", 100, 100, 70 * time.Millisecond},
		{"thousand a second", 1000, 1000, 60 * time.Millisecond},
		{"download", 20000, 800, 60 * time.Millisecond},
		{"upload", 800, 20000, 60 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newPassing()
			if hints, _ := f.play(10*time.Second, evenly(test.came, test.left)); len(hints) > 0 {
				t.Fatalf("hints at %v while all was answered", hints)
			}
			cut := f.now
			hints, waits := f.play(time.Second, evenly(0, test.left))
			if len(hints) == 0 {
				t.Fatal("no hint in a second of silence")
			}
			if after := hints[0] - cut; after > test.within || waits[0] > after+busyEvery {
				t.Errorf("a hint after %v, of a silence of %v; want one within %v", after, waits[0], test.within)
			}
		})
	}
}

func TestPulseGivesNoFalseHint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	poisson := func(rate float64) func(int) (uint64, uint64) {
		one := func() uint64 {
			if random.Float64() < rate/1000 {
				return 1
			}
			return 0
		}
		return func(int) (uint64, uint64) { return one(), one() }
	}
	tests := []struct {
		name  string
		plays []func(int) (uint64, uint64)
	}{
		{"nothing at all", []func(int) (uint64, uint64){evenly(0, 0)}},
		{"probes alone, unanswered", []func(int) (uint64, uint64){evenly(0, 12)}},
		{"what is only sent", []func(int) (uint64, uint64){evenly(0, 1000)}},
		{"what is only received", []func(int) (uint64, uint64){evenly(1000, 0)}},
		{"an end", []func(int) (uint64, uint64){evenly(1000, 1000), evenly(0, 0), evenly(0, 12)}},
		{"an end, and beginnings anew", []func(int) (uint64, uint64){
			evenly(1000, 1000), evenly(0, 0), evenly(100, 100), evenly(0, 1), evenly(1000, 1000),
		}},
		{"answers in bursts", []func(int) (uint64, uint64){inBursts(100)}},
		{"at random", []func(int) (uint64, uint64){poisson(300)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newPassing()
			for i, each := range test.plays {
				if hints, waits := f.play(10*time.Second, each); len(hints) > 0 {
					t.Errorf("part %d: hints at %v, of silences of %v", i, hints, waits)
				}
			}
		})
	}
}

// inBursts is traffic that leaves evenly, and whose answers come together after
// each period of so many milliseconds.
func inBursts(period int) func(int) (uint64, uint64) {
	return func(ms int) (uint64, uint64) {
		if ms%period == 0 {
			return 50, 1
		}
		return 0, 1
	}
}

// TestPulseLearns has answers come so rarely that the first silence is unusual.
func TestPulseLearns(t *testing.T) {
	f := newPassing()
	if hints, _ := f.play(time.Second, inBursts(500)); len(hints) == 0 {
		t.Error("no hint at silences of half a second, before they are known")
	}
	if hints, _ := f.play(10*time.Second, inBursts(500)); len(hints) > 0 {
		t.Errorf("hints at %v, where a silence of half a second is usual", hints)
	}
}

// TestPulseSurvivesPauses has the reader of the counters held up for a while, in
// which nothing is received because the whole machine pauses.
func TestPulseSurvivesPauses(t *testing.T) {
	f := newPassing()
	f.play(10*time.Second, evenly(1000, 1000))
	for range 20 {
		f.now += 150 * time.Millisecond
		f.sum.tx += 2
		if _, ok := f.p.sample(f.now, f.sum); ok {
			t.Fatal("a pause of the machine was taken for a silence")
		}
		if hints, _ := f.play(500*time.Millisecond, evenly(1000, 1000)); len(hints) > 0 {
			t.Fatalf("hints at %v after a pause", hints)
		}
	}
}

func TestPulseBeginsAnewWithAnotherInterface(t *testing.T) {
	f := newPassing()
	f.play(10*time.Second, evenly(1000, 1000))
	f.sum = packets{}
	if hints, _ := f.play(500*time.Millisecond, evenly(0, 1000)); len(hints) > 0 {
		t.Errorf("hints at %v from counters that began anew", hints)
	}
}

func TestPacketsOf(t *testing.T) {
	const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1704116    6613    0    0    0     0          0         0  1704116    6613    0    0    0     0       0          0
  eth0: 2110    18446744073709551615    0    0    0     0          0         0     1466      14    0    0    0     0       0          0
wan0:1 2 3
  wan1: 1 x 0 0 0 0 0 0 1 2 0 0 0 0 0 0
`
	tests := []struct {
		name string
		want packets
		ok   bool
	}{
		{"lo", packets{6613, 6613}, true},
		{"eth0", packets{1<<64 - 1, 14}, true},
		{"eth", packets{}, false},
		{"wan0", packets{}, false},
		{"wan1", packets{}, false},
		{"", packets{}, false},
	}
	for _, test := range tests {
		got, ok := packetsOf([]byte(table), test.name)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%q: %v, %v; want %v, %v", test.name, got, ok, test.want, test.ok)
		}
	}
}
