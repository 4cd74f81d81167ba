package daemon

import (
	"log/slog"
	"reflect"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
)

// store keeps the state file and what it should hold.
type store struct {
	folder string
	state  state
	// keepBad: the file there could not be read, so it is kept beside ours.
	keepBad bool
	// readOnly: nothing is ever written.
	readOnly bool
	// unread is why it began without the file that was there; nil when it did not.
	unread error
	// unwritten is why it could not be written last; nil when it could. While it is
	// nil and keepBad is not set, the file holds kept.
	unwritten error
	kept      state
	// tried is when it was written last, or could not be.
	tried time.Time
}

// saveAgain is how long a state waits that could not be written.
const saveAgain = 10 * time.Second

// openStore reads the state of a folder. The daemon runs on without it.
func openStore(folder string, log *slog.Logger) *store {
	s := &store{folder: folder}
	s.state, s.unread = loadState(folder)
	s.kept, s.keepBad = s.state, s.unread != nil
	if s.unread != nil {
		log.Warn("begin without the saved state", "err", s.unread)
	}
	return s
}

// setLanes remembers lanes, with those of names that are not configured now.
func (s *store) setLanes(l lanes) {
	s.state.Lanes = l.remember(s.state.Lanes)
	s.save()
}

// adoptLanes takes from the kernel's own rules the lanes of interfaces whose
// uplinks the state file does not know: without it they tell which is which.
func (s *store) adoptLanes(uplinks []config.Uplink, byInterface map[string]lane.Lane) {
	known := lanes{Uplinks: map[string]lane.Lane{}}
	for _, u := range uplinks {
		_, remembered := s.state.Lanes.Uplinks[u.Name]
		if n, ok := byInterface[configuredName(u)]; ok && !remembered {
			known.Uplinks[u.Name] = n
		}
	}
	s.state.Lanes = s.state.Lanes.remember(known)
}

// see remembers the families in which uplinks were offered, and writes once more
// what could not be written.
func (s *store) see(view failover.View) {
	next, changed := s.state.withSeen(view)
	s.state = next
	if changed || s.unwritten != nil && time.Since(s.tried) >= saveAgain {
		s.save()
	}
}

// save writes the state, where the file does not hold it: the loop waits for that,
// and disks of gateways are slow and wear out.
func (s *store) save() {
	if s.readOnly || !s.keepBad && s.unwritten == nil && reflect.DeepEqual(s.state, s.kept) {
		return
	}
	s.tried = time.Now()
	s.unwritten = s.state.save(s.folder, s.keepBad)
	if s.unwritten == nil {
		s.kept, s.keepBad = s.state, false
	}
}
