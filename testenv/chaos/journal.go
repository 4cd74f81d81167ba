package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"swerve/failover"
)

// journal is the log of a run: the faults with their times, and what broke.
type journal struct {
	mu     sync.Mutex
	out    io.Writer
	zero   time.Time // of the storm
	breaks int
	// checks counts what was looked at, by what it was.
	checks map[string]int
	voids  int
}

func newJournal(out io.Writer) *journal {
	return &journal{out: out, zero: time.Now(), checks: map[string]int{}}
}

// begin sets the instant that the log's times are counted from.
func (j *journal) begin() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.zero = time.Now()
	return j.zero
}

func (j *journal) print(at time.Time, text string) {
	fmt.Fprintf(j.out, "%9.3f  %s\n", at.Sub(j.zero).Seconds(), text)
}

// note writes a line.
func (j *journal) note(format string, args ...any) { j.noteAt(time.Now(), format, args...) }

// noteAt writes a line about a moment.
func (j *journal) noteAt(at time.Time, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.print(at, fmt.Sprintf(format, args...))
}

// checked counts looks at something that has to hold.
func (j *journal) checked(what string, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.checks[what] += n
}

// void counts what would be a break, had the machine not paused.
func (j *journal) void(at time.Time, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.voids++
	j.print(at, "void: "+fmt.Sprintf(format, args...))
}

// before is how far back the faults are told that precede a break.
const before = 8 * time.Second

// broken reports that something that has to hold does not, with the faults around.
func (j *journal) broken(at time.Time, h history, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.breaks++
	j.print(at, "BROKEN: "+fmt.Sprintf(format, args...))
	for _, s := range h.recent(at, before) {
		end := "goes on"
		if !s.to.IsZero() {
			end = fmt.Sprintf("mended at %.3f", s.to.Sub(j.zero).Seconds())
		}
		fmt.Fprintf(j.out, "           after %.3f #%d %s, %s\n", s.from.Sub(j.zero).Seconds(), s.number, s.fault, end)
	}
}

// failed reports how many things broke.
func (j *journal) failed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.breaks
}

// summary writes what the run came to.
func (j *journal) summary(h history, felt []felt, obliged [2]float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	count := map[string]int{}
	for _, s := range h {
		count[s.kind.name]++
	}
	list := func(counts map[string]int) string {
		var parts []string
		for what, n := range counts {
			parts = append(parts, fmt.Sprintf("%s %d", what, n))
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	}
	fmt.Fprintf(j.out, "\nfaults: %d: %s\n", len(h), list(count))
	fmt.Fprintf(j.out, "checks: %s\n", list(j.checks))
	fmt.Fprintf(j.out, "an uplink had to carry new sessions for %.0f %% of the time in IPv4, %.0f %% in IPv6\n", 100*obliged[failover.IPv4], 100*obliged[failover.IPv6])
	for _, f := range felt {
		fmt.Fprintf(j.out, "%-18s %6d requests, %5d unanswered, longest gap %v, while an uplink worked %v\n",
			f.name, f.requests, f.unanswered, f.longest.Round(ms), f.owed.Round(ms))
	}
	fmt.Fprintf(j.out, "void, since the machine paused: %d\nbroken: %d\n", j.voids, j.breaks)
}
