package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"swerve/control"
)

// task is a part of the daemon with a goroutine of its own.
type task struct {
	name string
	// run works until ctx ends, and then returns nil; otherwise it returns the
	// reason why it cannot continue.
	run func(ctx context.Context) error
	// ready is closed once the task does its work; nil if it does so from the
	// beginning.
	ready <-chan struct{}
}

// String returns the task's name, as it appears in errors and problems.
func (t task) String() string { return t.name }

// Run runs the task, and adds its name to its error.
func (t task) Run(ctx context.Context) error {
	if err := t.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	return nil
}

// Ready returns a channel that is closed once the task does its work.
func (t task) Ready() <-chan struct{} {
	if t.ready == nil {
		return closedChannel
	}
	return t.ready
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// wake puts a token into a channel of length 1. One that is there covers this one too.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// each calls do after every interval, and whenever changed yields a token, until ctx ends.
func each(ctx context.Context, interval time.Duration, changed <-chan struct{}, do func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-changed:
		}
		do()
	}
}

// tasks are all parts of a daemon.
type tasks struct {
	// vital ones end the daemon with their error.
	vital []task
	// optional ones are restarted when they fail or panic, and reported as a
	// problem; they never end the daemon.
	optional []task
	problems *problems
	log      *slog.Logger
}

// run runs all tasks until ctx ends or a vital one fails. ready is called once
// all vital tasks are ready.
func (t tasks) run(ctx context.Context, ready func(context.Context)) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, v := range t.vital {
		g.Go(func() error { return v.Run(ctx) })
	}
	for _, o := range t.optional {
		g.Go(func() error { t.supervise(ctx, o); return nil })
	}
	g.Go(func() error {
		for _, v := range t.vital {
			select {
			case <-v.Ready():
			case <-ctx.Done():
				return nil
			}
		}
		ready(ctx)
		return nil
	})
	return g.Wait()
}

// The pace at which a failing optional task is restarted: the pause doubles with
// each failure, and is reset once a task has run for taskCalm.
const (
	restartFirst = time.Second
	restartMost  = time.Minute
	taskCalm     = time.Minute
)

// supervise runs an optional task until ctx ends, and restarts it if it fails.
func (t tasks) supervise(ctx context.Context, o task) {
	for pause := restartFirst; ctx.Err() == nil; pause = min(2*pause, restartMost) {
		begin := time.Now()
		well := time.AfterFunc(taskCalm, func() { t.report(o, nil) })
		err := t.attempt(ctx, o)
		well.Stop()
		if err == nil {
			return
		}
		if time.Since(begin) >= taskCalm {
			pause = restartFirst
		}
		t.log.Error("a part of the daemon failed", "part", o.String(), "err", err, "again_in", pause)
		t.report(o, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// attempt runs a task once. A panic is returned as an error: an optional task must
// not end the daemon.
func (t tasks) attempt(ctx context.Context, o task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", o, p, debug.Stack())
		}
	}()
	return o.Run(ctx)
}

// report sets or clears the problem of a task that fails.
func (t tasks) report(o task, cause error) {
	if cause != nil {
		line, _, _ := strings.Cut(cause.Error(), "\n") // a panic's stack is in the log
		cause = fmt.Errorf("a part of the daemon failed, and failover goes on without it: %s", line)
	}
	t.problems.set(o.String(), "part-failed", control.Warning, cause,
		"see the log for the cause; the part is started again by itself")
}
