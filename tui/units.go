package tui

import (
	"fmt"
	"strings"
	"time"

	"swerve/control"
)

// none stands for what is not known, or not measured.
const none = control.NotKnown

// moment is a local time of day, with its date when that is not the day of now.
func moment(now, t time.Time) string {
	local := t.Local()
	if now.Local().Format(time.DateOnly) == local.Format(time.DateOnly) {
		return local.Format(time.TimeOnly)
	}
	return local.Format("01-02 15:04:05")
}

// percent writes a ratio in at most five characters.
func percent(ratio *float64) string {
	switch {
	case ratio == nil:
		return none
	case *ratio > 0.9995:
		return fmt.Sprintf("%.0f%%", *ratio*100)
	case *ratio > 0 && *ratio < 0.0005:
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", *ratio*100)
}

// milliseconds writes a time in at most eight characters.
func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return none
	case *ms >= 999.95:
		return fmt.Sprintf("%.0f ms", *ms)
	}
	return fmt.Sprintf("%.1f ms", *ms)
}

// rate writes bits a second in at most nine characters, with decimal prefixes.
func rate(bps *uint64) string {
	if bps == nil {
		return none
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

// timing tells the figures of a decision that are known.
func timing(evidence, change *float64) string {
	var parts []string
	if evidence != nil {
		parts = append(parts, "decided after "+milliseconds(evidence))
	}
	if change != nil {
		parts = append(parts, "done in "+milliseconds(change))
	}
	return strings.Join(parts, ", ")
}

// join is strings.Join of those parts that are not empty.
func join(separator string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, separator)
}

// family is how people write a family's name.
func family(name string) string { return strings.Replace(name, "ipv", "IPv", 1) }
