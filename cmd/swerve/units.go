package main

import (
	"fmt"
	"strings"
	"time"

	"swerve/control"
)

// none stands for what is not known, or not there.
const none = control.NotKnown

// moment is a time of day, with its date when that is not today's.
func moment(now, t control.Time) string {
	local := t.Local()
	if now.Local().Format(time.DateOnly) == local.Format(time.DateOnly) {
		return local.Format(time.TimeOnly)
	}
	return local.Format(time.DateTime)
}

func percent(ratio *float64) string {
	if ratio == nil {
		return none
	}
	return fmt.Sprintf("%.1f%%", *ratio*100)
}

func milliseconds(ms *float64) string {
	if ms == nil {
		return none
	}
	return fmt.Sprintf("%.1f ms", *ms)
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

// route tells from where to where traffic went.
func route(from, to []string) string { return uplinks(from) + " -> " + uplinks(to) }

func uplinks(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, "+")
}
