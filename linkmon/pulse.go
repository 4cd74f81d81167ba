package linkmon

import (
	"time"

	"swerve/failover"
)

const (
	// busyEvery is how often the counters of an interface with traffic are read.
	busyEvery = 10 * time.Millisecond
	// idleEvery is how often those of one without are: each time costs more than
	// it seems, since the processor sleeps meanwhile.
	idleEvery = 500 * time.Millisecond
	// busyRate is the packets a second each way that make an interface busy, which
	// is judged each judgeEvery and holds for busyFor. An uplink's probes are six.
	busyRate   = 50
	judgeEvery = 100 * time.Millisecond
	busyFor    = time.Second
	// hush is the part of the usual rate under which little counts as nothing:
	// broadcasts go on where the way to the internet is cut.
	hush = 1.0 / 16
	// smooth is the weight of one sample in the usual rate, and fade what is left
	// of the longest wait after one: half in a third of a second.
	smooth = 0.02
	fade   = 0.98
	// strangeWait is the wait that an interface is taken to be used to before its
	// traffic is known, usualWait the least ever.
	strangeWait = 100 * time.Millisecond
	usualWait   = 2 * busyEvery
	// waits is how often the longest wait of late must be exceeded for a hint.
	waits = 2
	// lull is how long nothing may leave before a wait is over: what left last was
	// no question.
	lull = 3 * busyEvery
)

// packets are an interface's counters.
type packets struct{ rx, tx uint64 }

// pulse follows the traffic of one interface by samples of its counters, and tells
// when it leaves while nothing comes back for longer than is usual there.
type pulse struct {
	at   failover.Instant
	last packets
	// judged and at judgedAt are the counters by which it was last judged busy.
	judged    packets
	judgedAt  failover.Instant
	busyUntil failover.Instant
	// usual is how many packets come in a sample, smoothed.
	usual float64
	// waiting is for how long by now packets have left without that any came back,
	// and longest how long that took of late until some came.
	waiting, longest time.Duration
	// resting is for how long by now nothing has left.
	resting time.Duration
}

// newPulse begins with a first sample.
func newPulse(at failover.Instant, now packets) *pulse {
	return &pulse{at: at, last: now, judged: now, judgedAt: at, longest: strangeWait}
}

// busy reports whether the interface has traffic that is worth a close look.
func (p *pulse) busy() bool { return p.at < p.busyUntil }

// sample takes in the counters. unanswered is when the first packet left of those
// for which nothing came back; ok says that it is for too long.
func (p *pulse) sample(at failover.Instant, now packets) (unanswered failover.Instant, ok bool) {
	if now.rx < p.last.rx || now.tx < p.last.tx {
		*p = *newPulse(at, now) // another interface under this name
		return 0, false
	}
	wasBusy, since := p.busy(), at-p.at
	came, left := now.rx-p.last.rx, now.tx-p.last.tx
	p.at, p.last = at, now
	p.judge()
	switch {
	case !p.busy():
	case !wasBusy:
		p.usual, p.waiting, p.resting = 0, 0, 0
	default:
		p.feel(float64(came), left > 0, min(since, 2*busyEvery))
	}
	return at - p.waiting, p.busy() && left > 0 && p.waiting >= waits*p.longest
}

// judge decides from time to time whether the interface is busy.
func (p *pulse) judge() {
	span := p.at - p.judgedAt
	if span < judgeEvery {
		return
	}
	if least := uint64(busyRate * span.Seconds()); min(p.last.rx-p.judged.rx, p.last.tx-p.judged.tx) >= least {
		p.busyUntil = p.at + busyFor
	}
	p.judged, p.judgedAt = p.last, p.at
}

// feel takes in a sample of a busy interface. The span since the one before is
// bounded: a pause of this machine is no silence.
func (p *pulse) feel(came float64, left bool, since time.Duration) {
	quiet := came <= p.usual*hush
	p.usual += smooth * (came - p.usual)
	p.resting += since
	if left {
		p.resting = 0
	}
	switch {
	case !quiet:
		p.longest = max(p.waiting, usualWait, time.Duration(fade*float64(p.longest)))
		p.waiting = 0
	case p.resting > lull:
		p.waiting = 0
	case left || p.waiting > 0:
		p.waiting += since
	}
}
