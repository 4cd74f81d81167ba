package tui

import (
	"slices"
	"time"

	"swerve/control"
)

// Bounds on the events that are kept. The oldest are dropped first, and doubts before
// others while there are more than maxDoubts.
const (
	maxEvents = 1000
	maxDoubts = 500
)

// entry is an event of the journal.
type entry struct {
	control.Event
	// doubt: it only reports that an uplink is suspect, or back in the state before
	// that. On a bad line there are many of those, and they change nothing.
	doubt bool
}

// journal holds the events so far, of one run of the daemon after another. Each stream
// starts again with all events that the daemon keeps; the journal adds those that it
// does not have yet.
type journal struct {
	entries []entry // the oldest first
	// seen has, by sequence number, the times of those events of the daemon's current
	// run that it may repeat; last is the latest number.
	seen map[uint64]time.Time
	last uint64
	// before is the state of each suspect uplink before it became suspect.
	before map[suspect]control.State
}

// suspect identifies an uplink in one family, as events do.
type suspect struct{ uplink, family string }

// add adds the events that are new, and returns them.
func (j *journal) add(events []control.Event) (fresh []entry) {
	for _, e := range events {
		if j.isNew(e) {
			fresh = append(fresh, entry{e, j.doubt(e)})
		}
	}
	j.entries = append(j.entries, fresh...)
	j.trim()
	return fresh
}

// trim enforces the bounds. Slices of entries that are in use elsewhere do not change.
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

// isNew reports whether an event is new, and registers it. Numbers start at 1 in each
// run of the daemon: a number that is known with another time belongs to a new run.
func (j *journal) isNew(e control.Event) bool {
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
	delete(j.seen, e.Seq-control.MaxEvents) // the daemon no longer has that one
	return true
}

// doubt reports whether an event is a doubt. Events have to be passed in their order.
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

// worthwhile returns the entries that are not doubts.
func worthwhile(all []entry) (kept []entry) {
	for _, e := range all {
		if !e.doubt {
			kept = append(kept, e)
		}
	}
	return kept
}
