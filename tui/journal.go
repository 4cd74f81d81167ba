package tui

import (
	"slices"
	"time"

	"swerve/control"
)

// Bounds of what can be scrolled through; the oldest go first, and doubts before
// others where they take more than their share.
const (
	maxEvents = 1000
	maxDoubts = 500
)

// entry is an event as the page shows it.
type entry struct {
	control.Event
	// doubt: it only tells that an uplink was suspected, or is again what it was
	// before. There are many of those on a bad line, and they move nothing.
	doubt bool
}

// journal is the events so far, over the lives of several daemons. A stream begins
// anew with each connection, with all that the daemon keeps; the journal takes what
// it does not have yet.
type journal struct {
	entries []entry // the oldest first
	// seen has the time of each event of the present daemon's life that it may
	// still repeat, by sequence number.
	seen map[uint64]time.Time
	last uint64
	// before is what each suspected uplink was when it became so.
	before map[suspect]control.State
}

// suspect names an uplink's family as events do.
type suspect struct{ uplink, family string }

// add takes those events that are new, and returns how they are shown.
func (j *journal) add(events []control.Event) (fresh []entry) {
	for _, e := range events {
		if j.note(e) {
			fresh = append(fresh, entry{e, j.doubt(e)})
		}
	}
	j.entries = append(j.entries, fresh...)
	j.trim()
	return fresh
}

// trim keeps the bounds. What a page shows stays as it is.
func (j *journal) trim() {
	over := len(j.entries) - maxEvents
	if over <= 0 {
		return
	}
	doubts := len(j.entries) - len(worthwhile(j.entries))
	j.entries = slices.DeleteFunc(slices.Clone(j.entries), func(e entry) bool {
		drop := over > 0 && e.doubt && doubts > maxDoubts
		if drop {
			over, doubts = over-1, doubts-1
		}
		return drop
	})
	j.entries = j.entries[max(over, 0):]
}

// note reports whether an event is new. Numbers begin at 1 in each daemon's life: a
// number that was there with another time is of a new life.
func (j *journal) note(e control.Event) bool {
	if e.Seq == 0 {
		return true
	}
	at, known := j.seen[e.Seq]
	if known && at.Equal(e.Time.Time) {
		return false
	}
	if e.Seq <= j.last || j.seen == nil {
		j.seen = map[uint64]time.Time{}
	}
	j.seen[e.Seq], j.last = e.Time.Time, e.Seq
	delete(j.seen, e.Seq-control.MaxEvents) // the daemon keeps no more
	return true
}

// doubt reports whether an event is one, in its turn.
func (j *journal) doubt(e control.Event) bool {
	h, ok := e.Detail.(control.HealthDetail)
	if !ok {
		return false
	}
	key := suspect{h.Uplink, h.Family}
	switch {
	case h.To == control.Suspect && h.From.Answering():
		if j.before == nil || len(j.before) >= maxTracks {
			j.before = map[suspect]control.State{}
		}
		j.before[key] = h.From
		return true
	case h.From == control.Suspect:
		was := j.before[key]
		delete(j.before, key)
		return h.To == was
	}
	return false
}

// worthwhile leaves out doubts.
func worthwhile(all []entry) (kept []entry) {
	for _, e := range all {
		if !e.doubt {
			kept = append(kept, e)
		}
	}
	return kept
}
