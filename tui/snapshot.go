package tui

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"swerve/control"
	human "swerve/control/say"
)

// staleAfter is the age from which data are no longer called live: a few polls.
const staleAfter = 3 * time.Second

// Snapshot is all that is known of the daemon at one moment.
type Snapshot struct {
	// Socket is the path of the daemon's socket.
	Socket string
	// Status is the latest one, received at Received; nil before the first.
	Status   *control.Status
	Received time.Time
	// Outage is nil while the daemon answers.
	Outage *Outage
	// Deaf is why no events arrive, nil while they do.
	Deaf error

	events []entry // the oldest first
	trends trends
}

// Outage is a period without an answer.
type Outage struct {
	Since time.Time // of the first attempt that failed
	Tries int       // number of attempts that failed so far
	Next  time.Time // of the next attempt
	Err   error     // of the latest attempt
}

// nextTry says when the daemon is asked again.
func (o *Outage) nextTry(now time.Time) string {
	wait := o.Next.Sub(now)
	if wait <= 0 {
		return "trying now"
	}
	return fmt.Sprintf("next try in %s", human.Age(wait+time.Second-1)) // 0.2 s is not 0 s
}

// cause returns why a request failed, without the request and the remedy.
func cause(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok && e.Cause != nil {
		return e.Cause.Error()
	}
	return err.Error()
}

// age returns how old the status is.
func (s *Snapshot) age(now time.Time) time.Duration { return max(now.Sub(s.Received), 0) }

// live reports whether the status is recent enough to be presented as current.
func (s *Snapshot) live(now time.Time) bool {
	return s.Status != nil && s.Outage == nil && s.age(now) < staleAfter
}

// clone returns a copy that later changes of the original do not reach.
func (s *Snapshot) clone() *Snapshot {
	c := *s
	c.events, c.trends = slices.Clone(s.events), s.trends.clone()
	if s.Outage != nil {
		o := *s.Outage
		c.Outage = &o
	}
	return &c
}
