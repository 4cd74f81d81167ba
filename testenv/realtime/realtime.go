// Package realtime lets the lab's own threads go before everything else on the
// machine. A wire or a client that waits for its turn behind a compiler measures
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

// enoughPs: a thread that wakes needs one of the runtime's processors at once.
// With as few as there are CPUs, all may be with threads that wait for a CPU.
const enoughPs = 8

// Run runs fn on a thread of its own, at the lowest real-time priority, and returns
// when it has. The thread ends with fn, so fn may do to it what it likes. Child
// processes that fn starts are ordinary.
//
// It also raises GOMAXPROCS to 8 and the nice value of the whole process: where the
// garbage collector stops the world, every thread has to come to its turn before
// any goes on.
//
// Without the right to all that fn runs as well, and Refused tells: the lab is then
// as exact as the machine is idle.
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

// apart runs fn locked to a thread that ends afterwards. That cannot be the
// process's first one: the runtime never ends it, and whatever fn did to it, such
// as entering a namespace, would stay.
func apart(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		fn()
		return // still locked, so the thread ends with the goroutine
	}
	// While this goroutine keeps the first thread, the next one gets another.
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

// Refused reports whether the kernel has refused any Run its priority so far: for
// those who print figures, which are then as good as the machine is idle.
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

// SleepUntil sleeps in the kernel: the runtime's timers are served by ordinary
// threads.
func SleepUntil(at time.Time) {
	for wait := time.Until(at); wait > 0; wait = time.Until(at) {
		ts := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&ts, nil) // EINTR: sleep the rest
	}
}
