package main

import (
	"slices"
	"time"

	"swerve/testenv/traffic"
)

// gap is a time in which no request of a client was answered, by the times of sending.
type gap struct {
	from, to time.Time // the first and the last that was not
	requests int
}

func (g gap) lasts() time.Duration { return g.to.Sub(g.from) }

// gapsOf returns the gaps in a client's log, between two instants.
func gapsOf(log []traffic.Request, storm interval) (all []gap) {
	log = slices.Clone(log)
	at := func(r traffic.Request) time.Time {
		if r.Sent.IsZero() {
			return r.Due
		}
		return r.Sent
	}
	slices.SortStableFunc(log, func(a, b traffic.Request) int { return at(a).Compare(at(b)) })
	open := false
	for _, r := range log {
		switch {
		case !storm.has(at(r)):
		case !r.Answered.IsZero():
			open = false
		case open:
			last := &all[len(all)-1]
			last.to, last.requests = at(r), last.requests+1
		default:
			all = append(all, gap{at(r), at(r), 1})
			open = true
		}
	}
	return all
}

// owed returns the longest part of a gap in which one uplink worked all the time.
func (g gap) owed(working [][]interval) (longest interval) {
	for _, uplink := range working {
		for _, w := range uplink {
			in := interval{later(g.from, w.from), earlier(g.to, w.to)}
			if in.to.Sub(in.from) > longest.to.Sub(longest.from) {
				longest = in
			}
		}
	}
	return longest
}

// share returns the part of an interval in which at least one of the uplinks worked.
func share(whole interval, working [][]interval) float64 {
	var covered time.Duration
	at := whole.from
	all := slices.Concat(working...)
	slices.SortFunc(all, func(a, b interval) int { return a.from.Compare(b.from) })
	for _, i := range all {
		if from := later(at, i.from); i.to.After(from) {
			covered += i.to.Sub(from)
			at = i.to
		}
	}
	return float64(covered) / float64(max(1, whole.to.Sub(whole.from)))
}
