package failover

import "time"

// Each uplink has a bucket of tokens that limits the probes beyond the schedule:
// bursts, inquiries, fast probing. A full one is enough for a whole incident. It is
// refilled at the rate of the regular probes, so that in the long run an uplink's
// volume at most doubles. While it is empty no extra probe is sent: a suspicion is
// then confirmed by the regular ones, which takes longer, and the end of an outage
// is noticed at the regular interval.

// incident is the extra probes for each target that one incident may cost: a
// burst of nine, 2 s of shunning at one each 50 ms, 5 s after the down at one
// each 100 ms, and some for the suspicions of other uplinks.
const incident = 128

// bucket counts in fractions of a token so that its sums are exact.
type bucket struct {
	// milli is what it holds, full what it can hold, in thousandths.
	milli, full int64
	// every is the time in which a thousandth is added.
	every time.Duration
	at    Instant
}

// tune sets the size and the rate: so many targets, each probed once an interval.
func (b *bucket) tune(now Instant, targets int, perSecond float64) {
	b.refill(now)
	full := int64(targets) * incident * 1000
	if b.full == 0 {
		b.milli = full
	}
	b.full = full
	b.milli = min(b.milli, full)
	b.every = 0
	if perSecond > 0 {
		b.every = max(1, time.Duration(float64(time.Millisecond)/perSecond))
	}
}

func (b *bucket) refill(now Instant) {
	if b.every == 0 {
		b.at = now
		return
	}
	n := (now - b.at) / b.every
	b.at += n * b.every
	b.milli = min(b.full, b.milli+int64(n))
}

// holds reports whether so many probes could be paid.
func (b *bucket) holds(now Instant, probes int64) bool {
	b.refill(now)
	return b.milli >= probes*1000
}

// spend pays for one probe, and reports whether there was enough.
func (b *bucket) spend(now Instant) bool {
	b.refill(now)
	if b.milli < 1000 {
		return false
	}
	b.milli -= 1000
	return true
}
