package say

import (
	"fmt"
	"time"
)

// Percent writes a ratio from 0 to 1 in at most five characters.
func Percent(ratio *float64) string {
	switch {
	case ratio == nil:
		return NotKnown
	case *ratio > 0.9995:
		return fmt.Sprintf("%.0f%%", *ratio*100)
	case *ratio > 0 && *ratio < 0.0005:
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", *ratio*100)
}

// Milliseconds writes a time in at most eight characters up to 99999 ms.
func Milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return NotKnown
	case *ms >= 999.95:
		return fmt.Sprintf("%.0f ms", *ms)
	}
	return fmt.Sprintf("%.1f ms", *ms)
}

// Span writes a time of milliseconds as the configuration does, such as 500ms or 1.5s.
func Span(ms float64) string {
	return (time.Duration(ms) * time.Millisecond).String()
}

// Rate writes bits a second in at most nine characters, with decimal prefixes.
func Rate(bps *uint64) string {
	if bps == nil {
		return NotKnown
	}
	v, prefix := float64(*bps), ""
	for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
		if v < 999.5 {
			break
		}
		v, prefix = v/1000, p
	}
	if prefix == "" || v >= 99.95 {
		return fmt.Sprintf("%.0f %sb/s", v, prefix)
	}
	return fmt.Sprintf("%.1f %sb/s", v, prefix)
}
