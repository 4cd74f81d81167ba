// Package realtime gives the lab's own threads priority over everything else on the
// machine. A wire or a client that waits for a processor behind a compiler measures
// the compiler. What is measured, the daemon and the kernel, keeps its ordinary
// priority.
package realtime

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	schedFIFO   = 1    // SCHED_FIFO of <linux/sched.h>
	resetOnFork = 0x01 // SCHED_FLAG_RESET_ON_FORK
	priority    = 1    // the lowest of the real-time ones: before all ordinary threads
	nice        = -15  // of the other threads
)

// enoughPs: a thread that wakes needs one of the runtime's Ps at once. If there are
// only as many as CPUs, all may belong to threads that wait for a CPU.
const enoughPs = 8

// Run runs fn on a separate thread, at the lowest real-time priority, and returns
// when fn has returned. The thread ends with fn, so fn may change it in any way. Child
// processes that fn starts have ordinary priority.
//
// It also raises GOMAXPROCS to 8 and the nice value of the whole process: when the
// garbage collector stops the world, every thread has to be scheduled before any
// continues.
//
// Without the right to raise the priority fn runs at the ordinary one, and Refused
// reports that: the lab is then only as exact as the machine is idle.
func Run(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		apart(func() {
			raise()
			fn()
		})
	}()
	<-done
}

// apart runs fn locked to a thread that ends afterwards. That cannot be the process's
// first thread: the runtime never ends it, so whatever fn did to it, such as entering
// a namespace, would remain.
func apart(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		fn()
		return // still locked, so the thread ends with the goroutine
	}
	// While this goroutine occupies the first thread, the next one gets another.
	locked, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		close(locked)
		fn()
	}()
	<-locked
	runtime.UnlockOSThread()
	<-done
}

func raise() {
	if runtime.GOMAXPROCS(0) < enoughPs {
		runtime.GOMAXPROCS(enoughPs)
	}
	raiseProcess()
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedFIFO, Flags: resetOnFork, Priority: priority}
	if unix.SchedSetAttr(0, attr, 0) != nil {
		refused.Store(true)
	}
}

var refused atomic.Bool

// Refused reports whether the kernel has refused any Run its priority so far. Figures
// are then only as exact as the machine is idle.
func Refused() bool { return refused.Load() }

// raiseProcess sets the nice value of each thread; later ones inherit it.
func raiseProcess() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
		}
	}
}

// SleepUntil sleeps in the kernel: the runtime's timers run on ordinary threads.
func SleepUntil(at time.Time) {
	for wait := time.Until(at); wait > 0; wait = time.Until(at) {
		ts := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&ts, nil) // EINTR: sleep the rest
	}
}
