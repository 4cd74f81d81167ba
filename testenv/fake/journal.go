package fake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Journal lists what was done to the fake kernel, in order.
type Journal struct {
	sync.Mutex
	lines []string
	// Dead: after some lines nothing is done any more, as if the daemon was killed.
	Dead      bool
	DeadAfter int
}

var errKilled = errors.New("the daemon is dead")

// Note records a line, or returns the error why the request fails.
func (j *Journal) Note(format string, args ...any) error {
	j.Lock()
	defer j.Unlock()
	if j.Dead && len(j.lines) >= j.DeadAfter {
		return errKilled
	}
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	return nil
}

// Take returns the lines recorded since the last call.
func (j *Journal) Take() []string {
	j.Lock()
	defer j.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// With returns the lines that contain a text.
func With(lines []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, text) })
}

// Poke leaves a token in a channel with room for one.
func Poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
