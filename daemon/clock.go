package daemon

import (
	"maps"
	"slices"
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
	// base is the same, as [clock.setBy] last saw it.
	base time.Time
	// boot is the present one.
	boot boot
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

// settingSlack is what the wall clock may gain or lose between two calls of setBy
// without having been set: it is slewed, and machines pause.
const settingSlack = time.Minute

// setBy returns by how much the wall clock was set since the last call; 0 at the first.
func (c *clock) setBy() time.Duration {
	base, before := c.today().Round(0).Add(-c.now()), c.base
	c.base = base
	if by := base.Sub(before); !before.IsZero() && by.Abs() > settingSlack {
		return by
	}
	return 0
}

// dated returns the time by the wall clock, for dates of the state. If the clock was set
// meanwhile the state's dates are moved with it: a machine without a clock of its own
// begins in another year, and what it saw a minute ago is not forgotten as old.
func dated(l *loop) time.Time {
	by, today := l.clock.setBy(), l.clock.today()
	if by != 0 {
		l.state = l.state.moved(by, today, l.clock.boot.name)
		clockSet(l)
	}
	return today
}

// moved returns the state after the clock was set: its dates are moved as well, but not
// beyond the present one. Those of holds follow from their ages. The ends of overrides are
// moved where they were commanded in this boot.
func (s state) moved(by time.Duration, today time.Time, boot string) state {
	date := func(t time.Time) time.Time {
		if t = storedTime(t.Add(by)); t.After(today) {
			return storedTime(today)
		}
		return t
	}
	s.Auto, s.UsedMarks = slices.Clone(s.Auto), slices.Clone(s.UsedMarks)
	for i := range s.Auto {
		s.Auto[i].Last = date(s.Auto[i].Last)
	}
	for i := range s.UsedMarks {
		s.UsedMarks[i].Seen = date(s.UsedMarks[i].Seen)
	}
	learned := func(all patiences) patiences {
		out := maps.Clone(all)
		for name, families := range out {
			families = maps.Clone(families)
			for family, p := range families {
				p.Since = date(p.Since)
				families[family] = p
			}
			out[name] = families
		}
		return out
	}
	s.Patience, s.Lapses = learned(s.Patience), learned(s.Lapses)
	s.Overrides = slices.Clone(s.Overrides)
	for i, o := range s.Overrides {
		if o.End != nil && o.End.Boot == boot {
			s.Overrides[i].End = o.End.moved(by)
		}
	}
	return s
}
