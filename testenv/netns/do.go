package netns

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"swerve/testenv/realtime"
)

// A task is one function on its way through the worker.
type task struct {
	fn       func() error
	err      error
	panicked any  // what fn panicked with, and where
	returned bool // false at the end: fn left by runtime.Goexit
	done     chan struct{}
}

// Do runs fn inside the namespace and returns its error. Functions run one at a
// time, in the order of the calls: fn should be short, since everything else in this
// namespace waits for it. A Do within fn runs at once. A panic in fn, and the Goexit
// of t.FailNow, propagate to the caller; after the latter the namespace is closed.
func (ns *NS) Do(fn func() error) error {
	if ns.here() {
		return fn()
	}
	t := &task{fn: fn, done: make(chan struct{})}
	select {
	case ns.tasks <- t:
	case <-ns.quit:
		return ErrClosed
	case <-ns.exited:
		return ErrClosed
	}
	<-t.done
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case !t.returned:
		runtime.Goexit()
	}
	return t.err
}

// Inside runs fn inside the namespace on a separate thread, and returns when fn has
// returned. Do within fn runs at once, without the worker: for clients that must not
// wait for other callers.
func (ns *NS) Inside(fn func()) (err error) {
	realtime.Run(func() {
		if err = unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("netns: enter %s: %w", ns, err)
			return
		}
		defer ns.register()()
		fn()
	})
	return err
}

// register records that the calling goroutine is locked to a thread inside, until the
// returned function is called.
func (ns *NS) register() (leave func()) {
	tid := unix.Gettid()
	ns.inside.Store(tid, true)
	return func() { ns.inside.Delete(tid) }
}

// here reports whether the calling goroutine is locked to a thread inside: no other
// goroutine runs on such a thread.
func (ns *NS) here() bool {
	_, ok := ns.inside.Load(unix.Gettid())
	return ok
}

// work is the worker goroutine: it unshares, reports, and serves until Close.
func (ns *NS) work(ready chan<- error) {
	defer close(ns.exited)
	if err := ns.unshare(); err != nil {
		ready <- err
		return
	}
	defer ns.register()()
	ready <- nil
	for {
		select {
		case t := <-ns.tasks:
			t.run()
		case <-ns.quit:
			return
		}
	}
}

func (t *task) run() {
	defer close(t.done)
	defer func() {
		if v := recover(); v != nil {
			t.panicked = fmt.Sprintf("%v\n\nin the namespace's worker:\n%s", v, debug.Stack())
		}
	}()
	t.err = t.fn()
	t.returned = true
}
