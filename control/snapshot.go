package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// sharedFor is how old an answer may be that another client already got: a crowd of
// clients that poll the status costs the daemon at most 20 of them a second, and the
// memory of one.
const sharedFor = 50 * time.Millisecond

// snapshot is the status as the last client got it.
type snapshot struct {
	backend Backend

	mu   sync.Mutex
	body []byte
	at   time.Time
	seq  uint64 // the hub's, when it was taken
}

// get returns the status as JSON, taken after the hub's event before seq, and
// within sharedFor of now.
func (s *snapshot) get(now time.Time, seq uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body != nil && s.seq >= seq && now.Sub(s.at) < sharedFor {
		return s.body, nil
	}
	body, err := encodeStatus(s.backend.Status())
	if err != nil {
		return nil, err
	}
	s.body, s.at, s.seq = body, now, seq
	return body, nil
}

// forget makes the next get build a new one.
func (s *snapshot) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = nil
}

func encodeStatus(from *Status) ([]byte, error) {
	if from == nil {
		return nil, errors.New("the daemon is still starting")
	}
	s := *from
	s.Version = Version
	s.Overall = Overall(s)
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("the status cannot be written as JSON: %w", err)
	}
	return append(body, '\n'), nil
}
