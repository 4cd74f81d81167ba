package daemon

import (
	"time"

	"swerve/failover"
)

// The pace of repairs. Other programs delete in bursts, and one repair should cover
// a burst; if a program deletes repeatedly, each repair waits longer, so that two
// programs do not keep the machine busy undoing each other's work.
const (
	repairAfter = 20 * time.Millisecond
	repairFirst = 100 * time.Millisecond
	repairMost  = 10 * time.Second
	repairCalm  = time.Minute
)

// repairGrace is how many times as long as the pause what was repaired has to last for
// the next repair to be made at once again, repairCalm at most: a ruleset that somebody
// loads anew a few times in a minute should not keep the LAN offline. A program that
// deletes each second meets growing pauses, one that does each three seconds is
// answered each time.
const repairGrace = 20

// The rate at which changes to the default routes of others are followed: a burst
// of this many, then one per interval. This bounds the cost of a flapping route.
const (
	foreignBurst = 5
	foreignEvery = 500 * time.Millisecond
)

// The share of the time that comparisons take where tables are big: each is paid for
// with this many times as long as it took. Short ones are made on credit, so that what
// is deleted again soon after a repair is repaired without a delay.
const (
	compareRest   = 20
	compareCredit = time.Second
)

// repairs paces the comparisons with the kernel that hints request.
type repairs struct {
	// at is when to compare; 0 if there is no reason to.
	at failover.Instant
	// last is the time of the last repair, and pause the least time between it and
	// the next.
	last  failover.Instant
	pause time.Duration
	// paid and rested are the instants until which no comparison may follow: the
	// allowance for following others' default routes is used up, or that for the time
	// that comparisons take.
	paid, rested failover.Instant
	// took is the duration of the last comparison.
	took time.Duration
}

// hint records that the kernel may differ from the goal.
func (r *repairs) hint(now failover.Instant) {
	if r.at == 0 {
		r.at = max(now+repairAfter, r.last+r.pause, r.paid, r.rested)
	}
}

// hurry is a hint whose comparison should not wait for more hints.
func (r *repairs) hurry(now failover.Instant) {
	r.hint(now)
	r.at = min(r.at, max(now, r.last+r.pause, r.paid, r.rested))
}

// followed records that a change to the default routes of others was found.
func (r *repairs) followed(now failover.Instant) {
	r.paid = max(r.paid, now-foreignBurst*foreignEvery) + foreignEvery
}

// spent records how long a comparison took that ended now. The shorter of the last
// two counts, since this machine may pause.
func (r *repairs) spent(now failover.Instant, took time.Duration) {
	r.rested = max(r.rested, now-compareCredit) + compareRest*min(took, r.took)
	r.took = took
}

// due reports whether it is time to compare.
func (r *repairs) due(now failover.Instant) bool { return r.at != 0 && now >= r.at }

// next returns when to compare, far in the future if there is no reason to.
func (r *repairs) next() failover.Instant {
	if r.at == 0 {
		return 1 << 62
	}
	return r.at
}

// compared records that the kernel was compared, and whether a repair was needed.
func (r *repairs) compared(now failover.Instant, needed bool) {
	r.at = 0
	if now-r.last > min(repairGrace*r.pause, repairCalm) {
		r.pause = 0
	}
	if needed {
		r.pause = min(max(2*r.pause, repairFirst), repairMost)
		r.last = now
	}
}
