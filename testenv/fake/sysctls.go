package fake

import (
	"slices"
	"sync"
	"time"

	"swerve/routing"
)

// Sysctls are wrong until they are set. The lock guards what is below it.
type Sysctls struct {
	Journal *Journal

	sync.Mutex
	right []routing.Interface
	// Refuse, when set, fails each setting.
	Refuse error
	// Report: they are not ours to set.
	Report bool
	// RPFilter: reverse paths are filtered strictly.
	RPFilter bool
	// Tries are when it was tried.
	Tries []time.Time
}

// Set sets what is not right yet.
func (s *Sysctls) Set(uplinks []routing.Interface) ([]routing.Setting, error) {
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

// Strict reports whether reverse paths are filtered.
func (s *Sysctls) Strict(string) bool { return s.RPFilter }

func (s *Sysctls) forget() {
	s.Lock()
	defer s.Unlock()
	s.right = nil
}
