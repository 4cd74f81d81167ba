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

// repairs paces the comparisons with the kernel that hints ask for.
type repairs struct {
	// at is when to compare; 0 for no reason to.
	at failover.Instant
	// last is the last repair, and pause what has to lie between it and the next.
	last  failover.Instant
	pause time.Duration
}

// hint records that the kernel may hold something else than it should.
func (r *repairs) hint(now failover.Instant) {
	if r.at == 0 {
		r.at = max(now+repairAfter, r.last+r.pause)
	}
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
