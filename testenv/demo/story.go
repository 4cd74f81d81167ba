package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"swerve/control"
)

// story prints the timeline: what was done, what the daemon decided and on what
// evidence, what the clients felt.
type story struct {
	mu    sync.Mutex
	w     io.Writer
	begin time.Time
}

func newStory(w io.Writer) *story { return &story{w: w, begin: time.Now()} }

// chapter begins an act.
func (s *story) chapter(title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "\n── %s\n", title)
}

// tell prints one line with the time at which it happened.
func (s *story) tell(at time.Time, who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "%9.3fs  %-7s %s\n", at.Sub(s.begin).Seconds(), who, fmt.Sprintf(format, args...))
}

// follow prints the daemon's events until ctx ends or the daemon does.
func (s *story) follow(ctx context.Context, c *control.Client) {
	for event, err := range c.Events(ctx, s.begin, true) {
		if err != nil {
			return // the daemon was killed; the next one is followed again
		}
		if line := sentence(event); line != "" {
			s.tell(event.Time.Time, "swerve", "%s", line)
		}
	}
}

// sentence is an event in words, empty for those that would only be noise here.
func sentence(e control.Event) string {
	switch {
	case e.Health != nil:
		h := e.Health
		if h.To == control.Suspect || h.From == control.Suspect && h.To.Answering() {
			return "" // doubts that an answer settled; swerve events has them
		}
		return fmt.Sprintf("%s %s: %s → %s%s", h.Uplink, h.Family, h.From, h.To, because(h.Reason, h.EvidenceMS))
	case e.Switch != nil:
		c := e.Switch
		line := fmt.Sprintf("%s %s: %s → %s%s", strings.ToUpper(c.Kind), c.Family,
			strings.Join(c.From, "+"), strings.Join(c.To, "+"), because(c.Reason, c.EvidenceMS))
		if c.SwitchMS != nil {
			line += fmt.Sprintf(", kernel read back after %.1f ms", *c.SwitchMS)
		}
		return line
	case e.Type == control.EventSessions && e.Detail.Uplink != "":
		return fmt.Sprintf("sessions of %s %s moved in %.1f ms", e.Detail.Uplink, e.Detail.Family, *e.Detail.TookMS)
	}
	return strings.TrimSpace(e.Detail.Object+" "+e.Detail.Action) + ": " + e.Detail.Reason
}

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
