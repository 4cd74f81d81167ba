package simulator

import (
	"time"

	"swerve/failover"
)

// tokens is a bucket that limits how often something may happen: once in a time, and up
// to a number together. The zero value is full at the epoch of the instants.
type tokens struct {
	used float64
	at   failover.Instant
}

// take takes one out, and reports whether there was one.
func (b *tokens) take(now failover.Instant, each time.Duration, together float64) bool {
	b.used = max(0, b.used-float64(now-b.at)/float64(each))
	b.at = now
	if b.used > together-1 {
		return false
	}
	b.used++
	return true
}

// radioRests is how long nothing may be sent until a modem has no channel any more:
// networks take it away after 5 to 20 s, and modems give it up after 2 to 5 s (fast
// dormancy). The shortest is the worst here, since the probes of a metered standby are 5 s
// apart.
const radioRests = 2 * time.Second

// radio is a modem that has to be given a channel before it sends, where it rested: the
// promotion of RRC. Both families share it.
type radio struct {
	// promotion is how long that takes; 0 for an uplink that is no modem.
	promotion time.Duration
	// used is when it last sent.
	used failover.Instant
}

// leaves returns when a packet leaves that is sent now.
func (r *radio) leaves(now failover.Instant) failover.Instant {
	if r.promotion == 0 {
		return now
	}
	if now-r.used > radioRests {
		r.used = now + r.promotion
	}
	r.used = max(r.used, now) // until a promotion ends it is in the future
	return r.used
}

// How streams fill a queue. While TCP begins it sends twice what its acknowledgements
// confirm, so that the queue grows by as much as time passes; later by a fifth of that.
// Full, it drops until the senders notice, which reduce their windows to seven tenths, as
// cubic does.
const (
	beginning  = 1.0
	going      = 0.2
	reduced    = 0.7
	noticed    = 200 * time.Millisecond
	overshoot  = 0.5 // of what comes is dropped as the queue is full for the first time
	congestion = 0.1 // the same later
)

// load is what an uplink's own streams make of its queue.
type load struct {
	// full is the length of the queue in time; 0 where no stream fills it.
	full         time.Duration
	begun, ended failover.Instant
}

// set begins a load that fills a queue of a length, or ends one; its queue drains.
func (l *load) set(full time.Duration, now failover.Instant) {
	if full > 0 {
		*l = load{full: full, begun: now, ended: forever}
	} else {
		l.ended = min(l.ended, now)
	}
}

// queue returns how long the queue is at an instant, and what share of all it drops.
func (l *load) queue(now failover.Instant) (length time.Duration, loss float64) {
	switch {
	case l.full == 0:
		return 0, 0
	case now >= l.ended:
		length, _ = l.filling(l.ended - l.begun)
		return max(0, length-(now-l.ended)), 0
	}
	return l.filling(now - l.begun)
}

// filling returns the same of a load that began so long ago.
func (l *load) filling(age time.Duration) (length time.Duration, loss float64) {
	shrinks := time.Duration((1 - reduced) * float64(l.full)) // in as much time
	grows := time.Duration(float64(shrinks) / going)
	first := time.Duration(float64(l.full) / beginning)
	late := max(noticed, l.full) // an overshoot lasts for a round trip
	switch {
	case age < first:
		return time.Duration(beginning * float64(age)), 0
	case age < first+late:
		return l.full, overshoot
	}
	age = (age - first - late) % (shrinks + grows + noticed)
	switch {
	case age < shrinks:
		return l.full - age, 0
	case age < shrinks+grows:
		return l.full - shrinks + time.Duration(going*float64(age-shrinks)), 0
	}
	return l.full, congestion
}
