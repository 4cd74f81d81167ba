package main

import (
	"io"
	"testing"
	"time"

	"swerve/control"
)

// A daemon that starts anew serves its former events again; the timeline has each
// once, and all of those that share one instant.
func TestEventsAreFollowedOnce(t *testing.T) {
	s := newStory(io.Discard)
	at := func(ms int) control.Event { return control.Event{Time: control.At(time.UnixMilli(int64(ms)))} }
	for life, events := range []map[int]bool{{1000: true, 1001: true}, {1000: false, 1001: false, 1002: true}} {
		isNew := s.resume()
		for ms, want := range events {
			for range 2 {
				if got := isNew(at(ms)); got != want {
					t.Errorf("life %d: the event of %d ms is new: %t", life, ms, got)
				}
			}
		}
	}
}
