package control

import (
	"fmt"
	"strings"
	"time"
)

// NotKnown stands on a page for what is not known, or not measured.
const NotKnown = "-"

// Age is a span in its two largest units, such as 3m12s or 5d4h, in at most six
// characters for a hundred days and more years than a router lives.
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

// AgeAt is the age of something that began at since.
func AgeAt(now, since Time) string {
	if since.IsZero() || now.IsZero() {
		return NotKnown
	}
	return Age(now.Sub(since.Time))
}

// Carriers names who carries, with weights where several share the load.
func Carriers(shares []Share) string {
	if len(shares) == 0 {
		return "nothing"
	}
	names := make([]string, len(shares))
	for i, s := range shares {
		names[i] = s.Uplink
		if len(shares) > 1 {
			names[i] += fmt.Sprintf(" (%d)", s.Weight)
		}
	}
	return strings.Join(names, " + ")
}
