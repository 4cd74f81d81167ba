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
// time, in the order of their arrival: fn should be short, since everything else
// in this namespace waits for it. A Do within fn runs at once. A panic in fn, and
// the Goexit of t.FailNow, reach the caller; after the latter the namespace is
// closed.
func (ns *NS) Do(fn func() error) error {
	if unix.Gettid() == ns.tid {
		return fn() // only the worker's goroutine ever runs on its thread
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

// work is the worker's life: unshare, report, serve until Close.
func (ns *NS) work(ready chan<- error) {
	defer close(ns.exited)
	if err := ns.unshare(); err != nil {
		ready <- err
		return
	}
	// Clients open their sockets here: that must not wait for other programs.
	realtime.Thread()
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
