package main

import (
	"encoding/json"
	"math"
	"time"

	"swerve/testenv/traffic"
)

// Run is one run of a fault, with what its clients sent and received. Times are
// milliseconds.
type Run struct {
	Group string `json:"group"`
	// Phase is how long after the daemon's first answer the fault began, a random time.
	Phase float64 `json:"phase_ms"`
	// Reported is when the kernel reported the lost carrier, after the onset.
	Reported *float64  `json:"reported_ms,omitempty"`
	Sessions []Session `json:"sessions,omitempty"`
}

// Session is one client's requests around a fault, from just before its onset to just
// after its end.
type Session struct {
	Kind     string  `json:"kind"`
	Family   string  `json:"family"`
	Requests []Stamp `json:"requests"`
}

// Stamp is a request: when it was sent, after the onset, and how long its answer
// took. As JSON it is [sent, took], or [sent, null] without an answer.
type Stamp struct {
	Sent float64
	Took *float64
}

// MarshalJSON implements json.Marshaler.
func (s Stamp) MarshalJSON() ([]byte, error) { return json.Marshal([]any{s.Sent, s.Took}) }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Stamp) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&s.Sent, &s.Took})
}

// around is how much of a log before and after an interruption is kept.
const around = 30 * time.Millisecond

// stamps returns the requests of an interruption, and a few before and after it.
func stamps(log []traffic.Request, onset time.Time, interruption time.Duration) []Stamp {
	all := []Stamp{}
	for _, r := range log {
		at := r.Sent
		if at.IsZero() {
			at = r.Due
		}
		if at.Before(onset.Add(-around)) || at.After(onset.Add(interruption+around)) {
			continue
		}
		s := Stamp{Sent: hundredths(at.Sub(onset))}
		if !r.Answered.IsZero() {
			took := hundredths(r.Answered.Sub(at))
			s.Took = &took
		}
		all = append(all, s)
	}
	return all
}

// millis converts a time to milliseconds, hundredths likewise to two digits.
func millis(d time.Duration) float64     { return float64(d) / float64(time.Millisecond) }
func hundredths(d time.Duration) float64 { return math.Round(millis(d)*100) / 100 }
