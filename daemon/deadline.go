package daemon

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is an end that outlives the daemon. In the boot in which it was set it is
// measured by the time since that boot, whatever the wall clock is set to; in a later one
// by the wall clock. There a clock that stands before Set is not set yet, so that the whole
// time is left until it is; one that is set later counts from then on.
type deadline struct {
	// Set is when it was set, and Until when it ends, by the wall clock.
	Set   time.Time `json:"set"`
	Until time.Time `json:"until"`
	// Boot names the boot in which it was set, and UptimeMS is when it ends by the time since
	// then, in milliseconds; empty and 0 where the kernel did not tell.
	Boot     string `json:"boot,omitempty"`
	UptimeMS int64  `json:"uptime_ms,omitempty"`
}

// boot is a boot of this machine.
type boot struct {
	// name is the kernel's identifier of it; empty where it did not tell.
	name string
	// uptime is the time since then, suspensions included.
	uptime func() time.Duration
}

// thisBoot returns the boot in which this process runs.
func thisBoot() boot {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	b := boot{name: strings.TrimSpace(string(id)), uptime: func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
			return 0
		}
		return time.Duration(t.Nano())
	}}
	if err != nil || b.uptime() == 0 {
		b.name = ""
	}
	return b
}

// deadline returns the one that ends after d.
func (c *clock) deadline(d time.Duration) *deadline {
	now := c.today()
	end := &deadline{Set: storedTime(now), Until: storedTime(now.Add(d))}
	if c.boot.name != "" {
		end.Boot, end.UptimeMS = c.boot.name, (c.boot.uptime() + d).Milliseconds()
	}
	return end
}

// moment returns the time that was so long ago, as the deadline that ended then.
func (c *clock) moment(ago time.Duration) *deadline {
	then := storedTime(c.today().Add(-ago))
	d := &deadline{Set: then, Until: then}
	if c.boot.name != "" {
		d.Boot, d.UptimeMS = c.boot.name, max(0, (c.boot.uptime()-ago).Milliseconds())
	}
	return d
}

// left returns the time that is left of a deadline, at most all of it; 0 or less for none.
func (c *clock) left(d *deadline) time.Duration {
	whole := d.Until.Sub(d.Set)
	now := c.today()
	switch {
	case c.ofThisBoot(d):
		return time.Duration(d.UptimeMS)*time.Millisecond - c.boot.uptime()
	case now.Before(d.Set):
		return whole
	}
	return min(whole, d.Until.Sub(now))
}

// ofThisBoot reports whether a deadline was set since the machine booted.
func (c *clock) ofThisBoot(d *deadline) bool { return d.Boot != "" && d.Boot == c.boot.name }

// moved returns the deadline after the wall clock was set in the boot of the deadline.
func (d *deadline) moved(by time.Duration) *deadline {
	return &deadline{Set: storedTime(d.Set.Add(by)), Until: storedTime(d.Until.Add(by)), Boot: d.Boot, UptimeMS: d.UptimeMS}
}

// check rejects what this version could not have written.
func (d *deadline) check(most time.Duration) error {
	if whole := d.Until.Sub(d.Set); whole < 0 || whole > most+time.Second || d.UptimeMS < 0 {
		return fmt.Errorf("an end after %v is not 0 to %v", whole, most)
	}
	return nil
}
