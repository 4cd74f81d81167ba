package say

import (
	"fmt"
	"time"

	"swerve/control"
)

// Age is a span in its two largest units, such as 3m12s or 5d4h, in at most six
// characters up to 99999 days. Negative spans count as none.
func Age(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	switch {
	case days >= 100:
		return fmt.Sprintf("%dd", days)
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, rest/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}

// AgeAt is the age at now of something that began at since.
func AgeAt(now, since control.Time) string {
	if since.IsZero() || now.IsZero() {
		return NotKnown
	}
	return Age(now.Sub(since.Time))
}

// Moment is a local time of day. Its date stands before it where that is not the day
// of now, its year only where that is another one too. With a zero now it is complete.
func Moment(now, t control.Time) string {
	local, today := t.Local(), now.Local()
	switch {
	case now.IsZero(), local.Year() != today.Year():
		return local.Format(time.DateTime)
	case local.YearDay() != today.YearDay():
		return local.Format("01-02 15:04:05")
	}
	return local.Format(time.TimeOnly)
}
