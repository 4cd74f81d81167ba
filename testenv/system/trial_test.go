package system

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A scenario that fails after this machine paused its lab for longer than pauseLimit is
// void: the failure may be the machine's. It is repeated, at most tries times in all,
// and logs that.
const (
	pauseLimit = 50 * time.Millisecond
	tries      = 4
)

// trial is one run of a scenario. It serves a scenario as testing.T serves a test, but
// keeps failures and log lines until it is known to count.
type trial struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	said     strings.Builder
	failed   bool
	cleanups []func()
	pause    time.Duration
}

// scenario runs a scenario in parallel with others.
func scenario(t *testing.T, play func(*trial)) {
	t.Helper()
	t.Parallel()
	serial(t, play)
}

// serial runs a scenario that needs the machine for itself.
func serial(t *testing.T, play func(*trial)) {
	t.Helper()
	for left := tries - 1; ; left-- {
		r := &trial{t: t, ctx: t.Context()}
		r.run(play)
		void := r.failed && r.pause > pauseLimit && left > 0
		if void {
			t.Logf("void and repeated: this machine paused the lab for %v. Its log:", r.pause)
		}
		t.Log(r.said.String())
		switch {
		case void:
			continue
		case r.failed:
			t.Errorf("failed; the lab was never paused for longer than %v", r.pause)
		}
		return
	}
}

// run runs the scenario to its end, however it ends, and cleans up.
func (r *trial) run(play func(*trial)) {
	over := make(chan any, 1)
	go func() {
		defer func() { over <- recover() }()
		play(r)
	}()
	panicked := <-over
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		fn := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		fn()
	}
	if panicked != nil {
		panic(panicked)
	}
}

// paused records that the lab was paused for d.
func (r *trial) paused(d time.Duration) { r.pause = max(r.pause, d) }

// The methods below are as in testing.T. Fatal and Fatalf are for the scenario's goroutine.

func (r *trial) Helper()                  {}
func (r *trial) Context() context.Context { return r.ctx }
func (r *trial) Cleanup(fn func())        { r.cleanups = append(r.cleanups, fn) }

func (r *trial) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *trial) Log(args ...any)                 { r.say(false, fmt.Sprintln(args...)) }
func (r *trial) Logf(format string, args ...any) { r.say(false, fmt.Sprintf(format, args...)) }

func (r *trial) Error(args ...any)                 { r.say(true, fmt.Sprintln(args...)) }
func (r *trial) Errorf(format string, args ...any) { r.say(true, fmt.Sprintf(format, args...)) }

func (r *trial) Fatal(args ...any) {
	r.say(true, fmt.Sprintln(args...))
	runtime.Goexit()
}

func (r *trial) Fatalf(format string, args ...any) {
	r.say(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// say keeps a line with its position in the test.
func (r *trial) say(failure bool, text string) {
	place := testLine()
	r.mu.Lock()
	defer r.mu.Unlock()
	mark := ""
	if failure {
		r.failed, mark = true, "FAILED: "
	}
	fmt.Fprintf(&r.said, "\n%s: %s%s", place, mark, strings.TrimRight(text, "\n"))
}

// testLine is the line in a function Test… from which the caller was called.
func testLine() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "/system.Test") {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "at the end"
		}
	}
}
