package linkmon

import (
	"time"

	"swerve/failover"
)

const (
	// busyEvery is the time between two samples while any interface is busy.
	busyEvery = 10 * time.Millisecond
	// idleEvery is the time between two samples while none is. It is long because
	// each sample wakes a sleeping processor.
	idleEvery = 500 * time.Millisecond
	// busyRate is the packets per second in each direction that make an interface
	// busy, which is decided each judgeEvery and holds for busyFor. An uplink's
	// probes are six per second.
	busyRate   = 50
	judgeEvery = 100 * time.Millisecond
	busyFor    = time.Second
	// quietShare is the share of the usual rate up to which a sample counts as
	// silent: broadcasts go on where the path to the internet is cut.
	quietShare = 1.0 / 16
	// smooth is the weight of one sample in the usual rate. fade is the factor by
	// which one sample shortens the longest wait: by half in a third of a second.
	smooth = 0.02
	fade   = 0.98
	// firstWait is the longest wait that is assumed while an interface's traffic is
	// not known, leastWait the shortest that is ever assumed.
	firstWait = 100 * time.Millisecond
	leastWait = 2 * busyEvery
	// waits is the multiple of the longest recent wait that makes a hint.
	waits = 2
	// restAfter is how long nothing may leave before a wait ends without an answer:
	// the last packet then needed none.
	restAfter = 3 * busyEvery
)

// packets are an interface's counters.
type packets struct{ rx, tx uint64 }

// pulse follows the traffic of one interface by samples of its counters, and detects
// when packets leave while nothing comes back for longer than is usual there.
type pulse struct {
	at   failover.Instant
	last packets
	// judged are the counters at judgedAt, when it was last decided whether the
	// interface is busy.
	judged    packets
	judgedAt  failover.Instant
	busyUntil failover.Instant
	// usual is the smoothed number of packets received between two samples.
	usual float64
	// waiting is for how long packets have left while none came back, longest how
	// long that recently took until some came.
	waiting, longest time.Duration
	// resting is for how long nothing has left.
	resting time.Duration
}

// newPulse starts with a first sample.
func newPulse(at failover.Instant, now packets) *pulse {
	return &pulse{at: at, last: now, judged: now, judgedAt: at, longest: firstWait}
}

// busy reports whether the interface has enough traffic to detect a silence in it.
func (p *pulse) busy() bool { return p.at < p.busyUntil }

// sample adds a reading of the counters. unanswered is when the first of the packets
// left to which nothing came back; silent says that this is too long ago.
func (p *pulse) sample(at failover.Instant, now packets) (unanswered failover.Instant, silent bool) {
	if now.rx < p.last.rx || now.tx < p.last.tx {
		*p = *newPulse(at, now) // another interface has this name now
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
		p.learn(float64(came), left > 0, min(since, 2*busyEvery))
	}
	return at - p.waiting, p.busy() && left > 0 && p.waiting >= waits*p.longest
}

// judge decides each judgeEvery whether the interface is busy.
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

// learn adds a sample of a busy interface. The time since the one before is bounded,
// so that a pause of this machine does not count as silence.
func (p *pulse) learn(came float64, left bool, since time.Duration) {
	quiet := came <= p.usual*quietShare
	p.usual += smooth * (came - p.usual)
	p.resting += since
	if left {
		p.resting = 0
	}
	switch {
	case !quiet:
		p.longest = max(p.waiting, leastWait, time.Duration(fade*float64(p.longest)))
		p.waiting = 0
	case p.resting > restAfter:
		p.waiting = 0
	case left || p.waiting > 0:
		p.waiting += since
	}
}
