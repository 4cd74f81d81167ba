package config

import (
	"math"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// A measure reads and formats one side of a limit. right says what it takes.
type measure struct {
	read  func(s string) (float64, bool)
	right string
	show  func(v float64) string
}

// ratios measures loss: "20%" or 0.2, above 0 and up to 100%.
var ratios = measure{
	read: func(s string) (float64, bool) {
		percent, ok := strings.CutSuffix(s, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if ok {
			return v / 100, err == nil && v > 0 && v <= 100
		}
		return v, err == nil && v > 0 && v < 1
	},
	right: "a share such as 20% or 0.2, above 0% and at most 100%, or never",
	show:  func(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e4, 'g', -1, 64) + "%" },
}

// times measures latency and jitter, in seconds: above 0, up to a minute.
var times = measure{
	read: func(s string) (float64, bool) {
		v, ok := durationOf(s)
		return v.Seconds(), ok && v > 0 && v <= time.Minute
	},
	right: "a duration such as 300ms, above 0 and at most 1m, or never",
	show: func(v float64) string {
		return FormatDuration(time.Duration(math.Round(v * float64(time.Second))))
	},
}

// threshold is one side of a limit: a measure, or never.
type threshold struct {
	never bool
	value float64
}

func (m measure) threshold(d *decoder, n node) (threshold, bool) {
	s, ok := d.text(n, m.right)
	if !ok {
		return threshold{}, false
	}
	if isNone(s) {
		return threshold{never: true}, true
	}
	v, ok := m.read(s)
	if !ok {
		d.wrong(n, show(s)+" is not a valid limit", m.right)
	}
	return threshold{value: v}, ok
}

// limitSides is a limit as the file has it; nil sides are not given.
type limitSides struct{ degraded, clear, unusable *threshold }

// limit returns a field for a limit. Where only degraded is given and the present
// clear is not below it, clear becomes clearShare of it, so that there is always
// some hysteresis between the two. unusable is nil where the figure has no such side.
func limit(key string, m measure, place func(*failover.Health) *failover.Limit, unusable func(*failover.Health) *float64) field[failover.Health] {
	side := func(key string, place func(*limitSides) **threshold) field[limitSides] {
		return set(key, place, func(d *decoder, n node) (*threshold, bool) {
			t, ok := m.threshold(d, n)
			return &t, ok
		})
	}
	below := fields[limitSides]{
		side("degraded", func(l *limitSides) **threshold { return &l.degraded }),
		side("clear", func(l *limitSides) **threshold { return &l.clear }),
	}
	if unusable != nil {
		below = append(below, side("unusable", func(l *limitSides) **threshold { return &l.unusable }))
	}
	return field[failover.Health]{key: key, keys: below.keys(), read: func(d *decoder, n node, into *failover.Health) {
		var sides limitSides
		before := d.count()
		below.read(d, n, &sides)
		if d.count() == before {
			m.apply(d, n, sides, place(into))
		}
		if d.count() == before && unusable != nil {
			m.applyUnusable(d, n, sides, place(into), unusable(into))
		}
	}}
}

// clearShare is the default of clear, as a share of degraded.
const clearShare = 0.6

// apply overrides a limit with the sides that are given, and checks that the result
// is consistent.
func (m measure) apply(d *decoder, n node, given limitSides, l *failover.Limit) {
	result := *l
	if t := given.degraded; t != nil {
		result.Never, result.Degraded = t.never, t.value
	}
	if t := given.clear; t != nil {
		result.Clear = t.value
	}
	neverClear := given.clear != nil && given.clear.never
	switch {
	case result.Never:
		result = failover.Limit{Never: true}
	case neverClear:
		d.wrongAt(keyPath(n.path, "clear"), "is never, although degraded is not", "at most degraded, "+m.show(result.Degraded))
		return
	case given.clear == nil && result.Clear == 0 || given.clear == nil && result.Clear >= result.Degraded:
		result.Clear = result.Degraded * clearShare
	case result.Clear > result.Degraded:
		d.wrongAt(keyPath(n.path, "clear"), m.show(result.Clear)+" is above degraded",
			"at most "+m.show(result.Degraded))
		return
	}
	*l = result
}

// applyUnusable overrides the value over which no session lives, which is at least that
// which degrades. Where only the latter is given the former follows it.
func (m measure) applyUnusable(d *decoder, n node, given limitSides, l *failover.Limit, unusable *float64) {
	switch t := given.unusable; {
	case t == nil && l.Never, t != nil && t.never:
		*unusable = 0
	case t == nil:
		if *unusable != 0 {
			*unusable = max(*unusable, l.Degraded)
		}
	case !l.Never && t.value < l.Degraded:
		d.wrongAt(keyPath(n.path, "unusable"), m.show(t.value)+" is below degraded", "at least "+m.show(l.Degraded)+", or never")
	default:
		*unusable = t.value
	}
}
