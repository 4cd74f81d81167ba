package config

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// duration reads a duration from least to most, both included.
func duration(least, most time.Duration) reader[time.Duration] {
	return func(d *decoder, n node) (time.Duration, bool) {
		s, ok := d.text(n, "a duration such as 500ms, 30s or 1h30m")
		if !ok {
			return 0, false
		}
		v, wrong, right := parseDuration(s, least, most)
		if wrong != "" {
			d.wrong(n, wrong, right)
		}
		return v, wrong == ""
	}
}

// firstPatience is the patience with a line of which little is known yet.
const firstPatience = 500 * time.Millisecond

// patience reads the silence after which sessions are moved: a duration, which is then the
// least one, or auto.
func patience(d *decoder, n node, into *failover.Health) {
	s, ok := d.text(n, "auto or a duration such as 500ms")
	switch {
	case !ok:
		return
	case s == autoWord:
		into.Patience, into.LearnPatience = firstPatience, true
		return
	}
	v, wrong, right := parseDuration(s, 50*time.Millisecond, time.Minute)
	if wrong != "" {
		d.wrong(n, wrong, right+", or auto")
		return
	}
	into.Patience, into.LearnPatience = v, false
}

// parseDuration reads a duration within bounds, or returns what is wrong with it
// and what would be right.
func parseDuration(s string, least, most time.Duration) (v time.Duration, wrong, right string) {
	v, ok := durationOf(s)
	if !ok && hugeDuration.MatchString(s) {
		return 0, show(s) + " is above the maximum", "at most " + FormatDuration(most)
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && !ok {
		return 0, show(s) + " has no unit", "a duration such as " + s + "s or " + s + "ms"
	}
	switch {
	case !ok:
		return 0, show(s) + " is not a duration", "a duration such as 500ms, 30s, 1h30m or 2d"
	case v < least:
		return 0, show(s) + " is below the minimum", "at least " + FormatDuration(least)
	case v > most:
		return 0, show(s) + " is above the maximum", "at most " + FormatDuration(most)
	}
	return v, "", ""
}

// hugeDuration matches what is written as a duration, and is too long for one where it
// cannot be read.
var hugeDuration = regexp.MustCompile(`^\+?([0-9]{1,9}d)?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))*$|^\+?[0-9]+d$`)

// durationOf reads a duration in Go's notation, optionally preceded by whole days
// (d).
func durationOf(s string) (time.Duration, bool) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		v, err := time.ParseDuration(s)
		return v, err == nil
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, false
	}
	v := time.Duration(0)
	if rest != "" {
		v, err = time.ParseDuration(rest)
	}
	const maxDays = 10_000
	if err != nil || v < 0 || v > day || n > maxDays {
		return 0, false
	}
	return time.Duration(n)*day + v, true
}

const day = 24 * time.Hour

// FormatDuration formats a duration as a configuration file has it, such as "500ms"
// or "1h30m", without the trailing zero units of [time.Duration.String].
func FormatDuration(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
