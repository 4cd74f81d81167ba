package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"swerve/failover"
)

// What is granted before something is promised.
const (
	// uplinkSettles is what an uplink has after it was mended: its next probe is sent
	// within a second, a neighbour that failed is asked for again after another.
	uplinkSettles = 2 * time.Second
	// daemonSettles is what a daemon has after its absence, where something happened
	// meanwhile: a round of probes to each target, and a burst.
	daemonSettles = 2 * time.Second
	// repairLasts is what a repair takes: 20 ms until it begins, and the reading of
	// everything.
	repairLasts = time.Second
	// promised is how long new sessions may fail while an uplink works.
	promised = time.Second
)

// span is a time in which a fault was there.
type span struct {
	fault
	// begun is when its beginning was over, mending when its end began, to when it was
	// mended; zero until then.
	from, begun, mending, to time.Time
}

// truth is what the run has done so far.
type truth struct {
	mu    sync.Mutex
	spans []span
}

// began records a fault before it begins, and returns its number for ended.
func (t *truth) began(f fault) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans = append(t.spans, span{fault: f, from: time.Now()})
	return len(t.spans) - 1
}

// begun records that a fault is there in full.
func (t *truth) begun(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans[n].begun = time.Now()
}

// mending records that a fault is about to be mended.
func (t *truth) mending(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans[n].mending = time.Now()
}

// ended records that a fault is mended.
func (t *truth) ended(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans[n].to = time.Now()
}

// all returns what has happened, in the order of its beginnings.
func (t *truth) all() history {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.spans)
}

// history is a list of faults in the order of their beginnings.
type history []span

// interval is from one instant to another.
type interval struct{ from, to time.Time }

func (i interval) has(at time.Time) bool { return !at.Before(i.from) && !at.After(i.to) }

func (i interval) meets(o interval) bool { return !i.to.Before(o.from) && !o.to.Before(i.from) }

// within returns the span's time; one that goes on ends with the storm.
func (s span) within(end time.Time) interval {
	if s.to.IsZero() {
		return interval{s.from, end}
	}
	return interval{s.from, s.to}
}

// repaired is when a deletion has to be repaired, in calm.
func (s span) repaired() time.Time { return later(s.from, s.begun).Add(repairLasts) }

// dealtWith returns when the daemon has to have dealt with something: as due, or after
// its absence.
func (h history) dealtWith(from, due, now time.Time) time.Time {
	for _, s := range h {
		if in := s.within(now); s.harm() == absents && in.meets(interval{from.Add(-repairLasts), due}) {
			due = later(due, in.to.Add(daemonSettles))
		}
	}
	return due
}

// addressless reports whether a fault has taken an uplink's addresses, or had until
// just now: an interface that is down loses those of IPv6, and has none for a while when
// it is up again, under its name or another one.
func (h history) addressless(uplink int, now time.Time) bool {
	return slices.ContainsFunc(h, func(s span) bool {
		in := s.within(now)
		in.to = h.dealtWith(in.to, in.to.Add(repairLasts), now)
		takes := strings.HasPrefix(s.kind.name, "address-") || slices.Contains([]string{"interface-down", "rename"}, s.kind.name)
		return s.uplink == uplink && takes && in.has(now)
	})
}

// during reports whether a kind of fault is there, or was until just now.
func (h history) during(kind string, now time.Time, rest time.Duration) bool {
	return slices.ContainsFunc(h, func(s span) bool {
		in := s.within(now)
		in.to = in.to.Add(rest)
		return s.kind.name == kind && in.has(now)
	})
}

// recent lists the faults that were there in the seconds before an instant.
func (h history) recent(at time.Time, before time.Duration) (out history) {
	for _, s := range h {
		if s.within(at).meets(interval{at.Add(-before), at}) {
			out = append(out, s)
		}
	}
	return out
}

// working returns the times between two instants in which an uplink has to carry new
// sessions of a family if no other does.
func (h history) working(uplink int, family failover.Family, storm interval) []interval {
	bad := h.excused(storm)
	for _, s := range h {
		in := s.within(storm.to)
		switch {
		case !s.harms(uplink, family):
		case s.harm() == cuts, s.harm() == weakens,
			s.harm() == withdraws && h.forgets(in):
			bad = append(bad, interval{in.from, in.to.Add(uplinkSettles)})
		case s.harm() == changes:
			bad = append(bad, s.unsettled(in)...)
		}
	}
	return without(storm, bad)
}

// unsettled returns the times around the beginning and the end of a change.
func (s span) unsettled(in interval) []interval {
	if s.begun.IsZero() || s.mending.IsZero() {
		return []interval{{in.from, in.to.Add(uplinkSettles)}}
	}
	return []interval{{in.from, s.begun.Add(uplinkSettles)}, {s.mending, in.to.Add(uplinkSettles)}}
}

// forgets reports whether the daemon may have lost what it knew of a gateway: it was
// away, or its routes were.
func (h history) forgets(in interval) bool {
	return slices.ContainsFunc(h, func(s span) bool {
		return slices.Contains([]harm{absents, takes, leaks}, s.harm()) && s.within(in.to).meets(interval{in.from.Add(-repairLasts), in.to})
	})
}

// excused returns the times in which nothing is promised of any uplink.
func (h history) excused(storm interval) (out []interval) {
	for _, s := range h {
		in := s.within(storm.to)
		switch s.harm() {
		case takes, leaks:
			out = append(out, interval{in.from, s.repaired()})
		case isolates:
			out = append(out, interval{in.from, in.to.Add(uplinkSettles)})
		case absents:
			if at, disturbed := h.disturbance(in); disturbed {
				out = append(out, interval{at, in.to.Add(daemonSettles)})
			}
		}
	}
	return out
}

// disturbance returns since when an absence of the daemon matters: the first thing that
// a running one would have had to deal with. What happened just before is unfinished
// business. Traffic goes on without the daemon where nothing happens.
func (h history) disturbance(away interval) (at time.Time, disturbed bool) {
	seen := interval{away.from.Add(-promised), away.to}
	note := func(t time.Time) {
		if t = later(t, away.from); seen.has(t) && (!disturbed || t.Before(at)) {
			at, disturbed = t, true
		}
	}
	for _, s := range h {
		if s.harm() == none || s.harm() == absents {
			continue
		}
		for _, t := range []time.Time{s.from, s.begun, s.mending, s.to} {
			if seen.has(t) {
				note(t)
			}
		}
	}
	return at, disturbed
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// without returns what is left of an interval.
func without(whole interval, bad []interval) (out []interval) {
	bad = slices.Clone(bad)
	slices.SortFunc(bad, func(a, b interval) int { return a.from.Compare(b.from) })
	from := whole.from
	for _, b := range bad {
		if b.from.After(from) {
			out = append(out, interval{from, earlier(b.from, whole.to)})
		}
		from = later(from, b.to)
		if !from.Before(whole.to) {
			return out
		}
	}
	return append(out, interval{from, whole.to})
}
