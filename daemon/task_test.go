package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swerve/control"
)

func newTasks() tasks {
	begin := time.Now()
	return tasks{problems: &problems{now: func() time.Duration { return time.Since(begin) }}, log: slog.New(slog.DiscardHandler)}
}

func (t tasks) standing() []control.Problem { return t.problems.list(time.Unix(0, 0).Add) }

func untilDone(ctx context.Context) error { <-ctx.Done(); return nil }

// A vital task that fails ends all others, and the error names it.
func TestVitalTaskEndsTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		all := newTasks()
		ended := false
		all.vital = []task{
			{name: "watch", run: func(context.Context) error { time.Sleep(time.Second); return broken }},
			{name: "other", run: func(ctx context.Context) error { defer func() { ended = true }(); return untilDone(ctx) }},
		}
		err := all.run(t.Context(), func(context.Context) {})
		if !errors.Is(err, broken) || err.Error() != "watch: broken" || !ended {
			t.Errorf("error %v, the other ended: %v", err, ended)
		}
	})
}

// An optional task that fails or panics is reported as a problem, restarted at
// growing intervals, and ends nothing else. Once it has run for a while the problem
// is cleared.
func TestOptionalTaskIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newTasks()
		var starts []time.Duration
		begin := time.Now()
		all.optional = []task{{name: "history", run: func(ctx context.Context) error {
			starts = append(starts, time.Since(begin))
			switch len(starts) {
			case 1:
				return errors.New("no space left")
			case 2:
				panic("a mistake")
			}
			return untilDone(ctx)
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- all.run(ctx, func(context.Context) {}) }()

		time.Sleep(restartFirst / 2)
		synctest.Wait()
		if got := all.standing(); len(got) != 1 || got[0].Code != "part-failed" || got[0].Object != "history" ||
			got[0].Severity != control.Warning || !strings.Contains(got[0].Text, "no space left") {
			t.Errorf("after an error: %+v", got)
		}
		time.Sleep(restartFirst)
		synctest.Wait()
		if got := all.standing(); len(got) != 1 || !strings.Contains(got[0].Text, "panic: a mistake") || strings.Contains(got[0].Text, "\n") {
			t.Errorf("after a panic: %+v", got)
		}
		time.Sleep(3*restartFirst + taskCalm)
		synctest.Wait()
		if got := all.standing(); len(got) != 0 {
			t.Errorf("once it runs: %+v", got)
		}
		if len(starts) != 3 || starts[1] != restartFirst || starts[2] != 3*restartFirst {
			t.Errorf("started at %v", starts)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the daemon ended: %v", err)
		}
	})
}

// The daemon is ready when all vital tasks are, and not before.
func TestReadyWhenAllAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newTasks()
		slow := make(chan struct{})
		all.vital = []task{{name: "at once", run: untilDone}, {name: "slow", run: untilDone, ready: slow}}
		ctx, cancel := context.WithCancel(t.Context())
		isReady := false
		done := make(chan error, 1)
		go func() { done <- all.run(ctx, func(context.Context) { isReady = true }) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if isReady {
			t.Error("ready before the slow one")
		}
		close(slow)
		synctest.Wait()
		if !isReady {
			t.Error("not ready although all are")
		}
		cancel()
		<-done
	})
}
