package fake

import (
	"slices"
	"sync"
	"time"

	"swerve/routing"
)

// Sysctls have wrong values until they are set. The mutex guards the fields below it.
type Sysctls struct {
	Journal *Journal

	sync.Mutex
	right []routing.Interface
	// Refuse, if set, is the error of each setting.
	Refuse error
	// Report: the daemon may only report them, not set them.
	Report bool
	// RPFilter: reverse path filtering is strict.
	RPFilter bool
	// Tries are the times of the attempts.
	Tries []time.Time
}

// Set sets those that are not right yet.
func (s *Sysctls) Set(uplinks []routing.Interface, _ bool) ([]routing.Setting, error) {
	s.Lock()
	defer s.Unlock()
	s.Tries = append(s.Tries, time.Now())
	var wrong []routing.Setting
	for _, u := range uplinks {
		switch {
		case slices.Contains(s.right, u):
		case s.Refuse != nil || s.Report:
			wrong = append(wrong, routing.Setting{Interface: u.Name, Key: "net/ipv4/conf/" + u.Name + "/src_valid_mark", Value: "0", Want: "1"})
		default:
			if err := s.Journal.Note("sysctl %s", u.Name); err != nil {
				return nil, err
			}
			s.right = append(s.right, u)
		}
	}
	if len(wrong) == 0 {
		return nil, nil
	}
	return wrong, s.Refuse
}

// Bridged reports that no uplink is a bridge.
func (s *Sysctls) Bridged(string) bool { return false }

// Strict reports whether reverse path filtering is strict.
func (s *Sysctls) Strict(string) bool { return s.RPFilter }

func (s *Sysctls) forget() {
	s.Lock()
	defer s.Unlock()
	s.right = nil
}
