package netns

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// firstThread is what came of a namespace begun on the process's first thread,
// which only TestMain can be sure to run on.
var firstThread error

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	firstThread = beginOnFirstThread()
	runtime.UnlockOSThread()
	goleak.VerifyTestMain(m)
}

// The runtime never ends the first thread, so a namespace there would never go.
func TestNoNamespaceOnTheFirstThread(t *testing.T) {
	if firstThread != nil {
		t.Error(firstThread)
	}
}

func beginOnFirstThread() error {
	if unix.Gettid() != os.Getpid() {
		return fmt.Errorf("TestMain runs on thread %d of process %d, not on the first", unix.Gettid(), os.Getpid())
	}
	ns := &NS{tasks: make(chan *task), quit: make(chan struct{}), exited: make(chan struct{})}
	ready := make(chan error, 1)
	before, _ := os.Readlink("/proc/thread-self/ns/net")
	go func() { // where the fault is back, workOffMain stays on this thread until then
		ns.tasks <- &task{fn: func() error { return nil }, done: make(chan struct{})}
		close(ns.quit)
	}()
	ns.workOffMain(ready)
	<-ns.exited
	if err := <-ready; err != nil {
		return err
	}
	defer ns.file.Close()
	if after, _ := os.Readlink("/proc/thread-self/ns/net"); after != before {
		return fmt.Errorf("the first thread went from %s to %s", before, after)
	}
	return nil
}
