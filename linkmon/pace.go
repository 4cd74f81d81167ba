package linkmon

import (
	"time"

	"swerve/failover"
)

// pace limits the rate of readings when the kernel's messages come in bursts: burst
// readings at once, then one per interval. It is the generic cell rate algorithm,
// whose only state is the time up to which the allowance is used.
type pace struct {
	interval time.Duration
	burst    int
	due      failover.Instant
}

// wait uses one reading of the allowance at an instant, and returns how long to wait
// before it; 0 while there is allowance left.
func (p *pace) wait(now failover.Instant) time.Duration {
	p.due = max(p.due, now) + p.interval
	return max(0, p.due-now-time.Duration(p.burst)*p.interval)
}
