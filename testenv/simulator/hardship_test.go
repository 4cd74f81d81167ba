package simulator

import (
	"testing"
	"time"

	"swerve/failover"
)

const ms = time.Millisecond

// TestTokens: so many together, and then one in each time.
func TestTokens(t *testing.T) {
	var b tokens
	passed := map[failover.Instant]int{}
	for _, at := range []failover.Instant{0, time.Second / 2, time.Second, 3 * time.Second} {
		for range 3 {
			if b.take(at, time.Second, 2) {
				passed[at]++
			}
		}
	}
	if passed[0] != 2 || passed[time.Second/2] != 0 || passed[time.Second] != 1 || passed[3*time.Second] != 2 {
		t.Errorf("passed by instant: %v", passed)
	}
}

// TestRadio: what is sent after a rest waits for a channel, what follows does not.
func TestRadio(t *testing.T) {
	r := radio{used: never}
	if r.leaves(0) != 0 {
		t.Error("what is no modem waits")
	}
	r = radio{promotion: 700 * ms, used: never}
	for _, c := range []struct{ at, want failover.Instant }{
		{0, 700 * ms}, {100 * ms, 700 * ms}, {time.Second, time.Second}, {2500 * ms, 2500 * ms}, {5 * time.Second, 5700 * ms},
	} {
		if got := r.leaves(c.at); got != c.want {
			t.Errorf("sent at %v, it leaves at %v, want %v", c.at, got, c.want)
		}
	}
}

// TestLoad: a queue grows, is full, drops, shrinks and grows again, never by leaps, and
// drains when its streams end.
func TestLoad(t *testing.T) {
	var l load
	if length, loss := l.queue(time.Hour); length != 0 || loss != 0 {
		t.Errorf("without streams the queue is %v", length)
	}
	const begun = time.Minute
	l.set(time.Second, begun)
	least, most, dropped := time.Hour, time.Duration(0), 0
	last, _ := l.queue(begun)
	for at := begun; at < begun+time.Minute; at += 10 * ms {
		length, loss := l.queue(at)
		if leap := (length - last).Abs(); leap > 10*ms {
			t.Fatalf("after %v the queue leaps by %v", at-begun, leap)
		}
		if last = length; at > begun+2*time.Second {
			least, most = min(least, length), max(most, length)
		}
		if loss > 0 {
			dropped++
		}
	}
	if least != 700*ms || most != time.Second || dropped < 300 || dropped > 1200 {
		t.Errorf("from %v to %v, full for %d of 6000 looks", least, most, dropped)
	}
	l.set(0, begun+time.Minute)
	l.set(0, begun+2*time.Minute) // which ends nothing more
	if length, _ := l.queue(begun + time.Minute + 100*ms); length != last-100*ms && length != last-90*ms {
		t.Errorf("of %v there are %v after 100 ms", last, length)
	}
	if length, _ := l.queue(begun + time.Minute + time.Second); length != 0 {
		t.Errorf("%v never drain", length)
	}
}

// TestHardships checks what the script's words do to answers and flows.
func TestHardships(t *testing.T) {
	const target, other = "1.1.1.1", "8.8.8.8"
	for _, c := range []struct {
		words string
		sent  []failover.Instant
		rtts  []time.Duration // -1 for no answer
	}{
		{"rtt=20ms", []failover.Instant{0}, []time.Duration{20 * ms}},
		{"lost=100ms", []failover.Instant{0, 99 * ms, 100 * ms}, []time.Duration{-1, -1, 20 * ms}},
		{"beacon=100ms", []failover.Instant{0, 30 * ms, 85 * ms}, []time.Duration{100 * ms, 70 * ms, 115 * ms}},
		{"promotion=700ms", []failover.Instant{0, 800 * ms}, []time.Duration{720 * ms, 20 * ms}},
		{"limited=1s", []failover.Instant{0, 0, 0, time.Second}, []time.Duration{20 * ms, 20 * ms, -1, 20 * ms}},
		{"queue=1s", []failover.Instant{0, 500 * ms}, []time.Duration{20 * ms, 520 * ms}},
	} {
		w := settledWorld(t)
		l := w.lines[0]
		l.radio.used = never
		begun := w.now / (100 * ms) * (100 * ms)
		w.now = begun
		if err := w.Do("fiber " + c.words); err != nil {
			t.Fatal(err)
		}
		for i, at := range c.sent {
			rtt := time.Duration(-1)
			if arrives, ok := l.answer(failover.IPv4, target, begun+at); ok {
				rtt = arrives - begun - at
			}
			if rtt != c.rtts[i] {
				t.Errorf("%s: what is sent after %v takes %v, want %v", c.words, at, rtt, c.rtts[i])
			}
		}
		if _, ok := l.answer(failover.IPv4, other, begun+900*ms); !ok {
			t.Errorf("%s: another target does not answer", c.words)
		}
	}
}

// TestLostInTheAir: what is in the air when all is lost is lost, and flows receive nothing
// until that is over.
func TestLostInTheAir(t *testing.T) {
	w := settledWorld(t)
	l := w.lines[0]
	if !l.arrives(failover.IPv4, w.now) || !w.Works("fiber", failover.IPv4) {
		t.Fatal("a plain line does not work")
	}
	if err := w.Do("fiber lost=100ms"); err != nil {
		t.Fatal(err)
	}
	if l.arrives(failover.IPv4, w.now+99*ms) || w.Works("fiber", failover.IPv4) {
		t.Error("it works while all is lost")
	}
	if w.now += 100 * ms; !l.arrives(failover.IPv4, w.now) || !w.Works("fiber", failover.IPv4) {
		t.Error("it does not work after that")
	}
	if err := w.Do("fiber loss=0.06"); err != nil {
		t.Fatal(err)
	}
	if w.Works("fiber", failover.IPv4) {
		t.Error("sessions live with 6 % of loss")
	}
}
