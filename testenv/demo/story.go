package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"swerve/control"
	"swerve/control/say"
)

// story prints the timeline: what was done, what the daemon decided and on what
// evidence, and what the clients measured.
type story struct {
	mu    sync.Mutex
	w     io.Writer
	begin time.Time
	// last is the time of the latest event that was followed.
	last time.Time
}

func newStory(w io.Writer) *story { return &story{w: w, begin: time.Now()} }

// chapter begins an act.
func (s *story) chapter(title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "\n── %s\n", title)
}

// print prints one line with the time at which something happened.
func (s *story) print(at time.Time, who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "%9.3fs  %-7s %s\n", at.Sub(s.begin).Seconds(), who, fmt.Sprintf(format, args...))
}

// close prints what is left to say, and the last line. No event is printed after it.
func (s *story) close(rest func(io.Writer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest != nil {
		rest(s.w)
	}
	fmt.Fprint(s.w, "\nThe lab is gone with everything in it; this machine is as it was before.\n")
	s.w = io.Discard
}

// follow prints the daemon's events until ctx ends or the daemon does. A daemon that
// started anew serves those of before its start as well: what was followed already is
// not printed again.
func (s *story) follow(ctx context.Context, c *control.Client) {
	isNew := s.resume()
	for event, err := range c.Events(ctx, s.begin, true) {
		if err != nil {
			return // the daemon was killed; the next one is followed by another call
		}
		if line := sentence(event); isNew(event) && line != "" {
			s.print(event.Time.Time, "swerve", "%s", line)
		}
	}
}

// resume returns a function that notes an event as followed, and reports whether it
// is later than all that were followed before resume was called.
func (s *story) resume() (isNew func(control.Event) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.last
	return func(e control.Event) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.Time.After(s.last) {
			s.last = e.Time.Time
		}
		return e.Time.After(before)
	}
}

// sentence formats an event briefly, so that the timeline can be read while it passes.
// It is empty for an unconfirmed suspicion of an uplink, which only distracts here.
// `swerve events` shows everything.
func sentence(e control.Event) string {
	switch d := e.Detail.(type) {
	case control.HealthDetail:
		if d.To == control.Suspect || d.From == control.Suspect && d.To.Answering() {
			return ""
		}
		return fmt.Sprintf("%s %s: %s → %s%s", d.Uplink, d.Family, d.From, d.To, because(d.Reason, d.EvidenceMS))
	case control.SwitchDetail:
		line := fmt.Sprintf("%s %s: %s%s", strings.ToUpper(d.Kind), d.Family,
			phrases.Route(d.From, d.To), because(d.Reason, d.EvidenceMS))
		if d.SwitchMS != nil {
			line += ", kernel read back after " + say.Milliseconds(d.SwitchMS)
		}
		return line
	case control.SessionsDetail:
		if d.Action == "moved" {
			return fmt.Sprintf("sessions of %s %s moved in %s", d.Uplink, d.Family, say.Milliseconds(d.TookMS))
		}
	}
	return phrases.Event(e)
}

// phrases are the texts of all other events.
var phrases = say.Phrases{Arrow: "→"}

func because(reason string, evidence *float64) string {
	switch {
	case reason == "":
		return ""
	case evidence == nil || *evidence == 0:
		return ", " + reason
	}
	return fmt.Sprintf(", %s (after %.0f ms)", reason, *evidence)
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
