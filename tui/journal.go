package tui

import (
	"slices"
	"time"

	"swerve/control"
)

// maxEvents is how many events can be scrolled through; the oldest go first.
const maxEvents = 1000

// journal is the events so far, over the lives of several daemons. A stream begins
// anew with each connection, with all that the daemon keeps; the journal takes what
// it does not have yet.
type journal struct {
	events []control.Event // the oldest first
	// seen has the time of each event of the present daemon's life that it may
	// still repeat, by sequence number.
	seen map[uint64]time.Time
	last uint64
}

// add takes those events that are new, and returns them.
func (j *journal) add(events []control.Event) (fresh []control.Event) {
	for _, e := range events {
		if j.note(e) {
			fresh = append(fresh, e)
		}
	}
	j.events = append(j.events, fresh...)
	if over := len(j.events) - maxEvents; over > 0 {
		j.events = slices.Clone(j.events[over:])
	}
	return fresh
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

// doubt reports whether an event only tells that an uplink was suspected, or no
// longer is, and still answers. There are many, and they move nothing.
func doubt(e control.Event) bool {
	if e.Health == nil {
		return false
	}
	h := e.Health
	return h.To == control.Suspect && h.From.Answering() || h.From == control.Suspect && h.To == control.Up
}

// worthwhile leaves out doubts.
func worthwhile(events []control.Event) (kept []control.Event) {
	for _, e := range events {
		if !doubt(e) {
			kept = append(kept, e)
		}
	}
	return kept
}
