package daemon

import (
	"time"

	"swerve/failover"
)

// The pace of repairs. Other programs delete in bursts, and one repair should
// cover a burst; where one deletes again and again, each repair waits longer,
// so that two programs do not keep the machine busy undoing each other's work.
const (
	repairAfter = 20 * time.Millisecond
	repairFirst = 100 * time.Millisecond
	repairMost  = 10 * time.Second
	repairCalm  = time.Minute
)

// The pace at which changes of the default routes of others are followed: so many
// at once, then one in a while. One that flaps costs no more than that.
const (
	foreignBurst = 5
	foreignEvery = 500 * time.Millisecond
)

// repairs paces the comparisons with the kernel that hints ask for.
type repairs struct {
	// at is when to compare; 0 for no reason to.
	at failover.Instant
	// last is the last repair, and pause what has to lie between it and the next.
	last  failover.Instant
	pause time.Duration
	// paid is until when the changes of others' defaults that were followed are
	// paid for; the next comparison waits for it.
	paid failover.Instant
}

// hint records that the kernel may hold something else than it should.
func (r *repairs) hint(now failover.Instant) {
	if r.at == 0 {
		r.at = max(now+repairAfter, r.last+r.pause, r.paid)
	}
}

// hurry is a hint whose comparison should not wait for more of its kind.
func (r *repairs) hurry(now failover.Instant) {
	r.hint(now)
	r.at = min(r.at, max(now, r.last+r.pause, r.paid))
}

// followed records that a change of the default routes of others was found.
func (r *repairs) followed(now failover.Instant) {
	r.paid = max(r.paid, now-foreignBurst*foreignEvery) + foreignEvery
}

// due reports whether it is time to compare.
func (r *repairs) due(now failover.Instant) bool { return r.at != 0 && now >= r.at }

// next is when to compare, far away when there is no reason to.
func (r *repairs) next() failover.Instant {
	if r.at == 0 {
		return 1 << 62
	}
	return r.at
}

// compared records that the kernel was compared, and whether a repair was needed.
func (r *repairs) compared(now failover.Instant, needed bool) {
	r.at = 0
	if now-r.last > repairCalm {
		r.pause = 0
	}
	if needed {
		r.pause = min(max(2*r.pause, repairFirst), repairMost)
		r.last = now
	}
}
