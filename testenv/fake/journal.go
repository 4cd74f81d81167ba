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
	// Dead: nothing is done any more after some lines, as if the daemon was killed.
	Dead      bool
	DeadAfter int
}

var errKilled = errors.New("the daemon is dead")

// Note writes a line, or says why it is not done.
func (j *Journal) Note(format string, args ...any) error {
	j.Lock()
	defer j.Unlock()
	if j.Dead && len(j.lines) >= j.DeadAfter {
		return errKilled
	}
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	return nil
}

// Take returns what was noted since the last take.
func (j *Journal) Take() []string {
	j.Lock()
	defer j.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// With returns the lines that hold a text.
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
