package linkmon

import (
	"time"

	"swerve/failover"
)

// pace keeps readings of the kernel rare when its messages come in storms: a
// burst at once, then one each interval. It is the generic cell rate algorithm,
// whose whole state is the instant at which the allowance would be used up.
type pace struct {
	interval time.Duration
	burst    int
	due      failover.Instant
}

// wait takes one from the allowance at an instant and returns how long to wait
// before it may be used; 0 while there is allowance left.
func (p *pace) wait(now failover.Instant) time.Duration {
	p.due = max(p.due, now) + p.interval
	return max(0, p.due-now-time.Duration(p.burst)*p.interval)
}
