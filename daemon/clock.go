package daemon

import (
	"time"

	"swerve/control"
	"swerve/failover"
)

// clock measures instants since the daemon's start, and converts them to wall time.
// Instants are monotonic: setting the wall clock does not disturb the engine. Past
// instants are converted by the wall clock as it is set now.
type clock struct {
	start time.Time
	// today reads the wall clock.
	today func() time.Time
	// epoch is the wall time of start, as last reported.
	epoch time.Time
}

// clockSlack is how far the wall clock may drift before past instants are converted
// with a new epoch. Without it, converted times would vary by the time between two
// readings.
const clockSlack = 10 * time.Millisecond

// now may be called from any goroutine; the other methods only from the loop's.
func (c *clock) now() failover.Instant { return time.Since(c.start) }

func (c *clock) wall(at failover.Instant) time.Time { return c.fixed()(at) }

// fixed returns the conversion that is valid now. The result may be used by any
// goroutine.
func (c *clock) fixed() control.Clock {
	if epoch := c.today().Round(0).Add(-c.now()); epoch.Sub(c.epoch).Abs() > clockSlack {
		c.epoch = epoch
	}
	epoch := c.epoch
	return func(at failover.Instant) time.Time { return epoch.Add(at) }
}
