package realtime

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"swerve/testenv/privilege"
)

// firstThread is the result of apart on the process's first thread, which only TestMain
// is sure to run on.
var firstThread error

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	firstThread = apartFromFirst()
	runtime.UnlockOSThread()
	goleak.VerifyTestMain(m)
}

func apartFromFirst() error {
	first := unix.Gettid()
	if first != os.Getpid() {
		return fmt.Errorf("TestMain runs on thread %d of process %d, not on the first", first, os.Getpid())
	}
	other := first
	apart(func() { other = unix.Gettid() })
	if other == first {
		return fmt.Errorf("apart ran on the first thread, which never ends")
	}
	return nil
}

func TestNeverOnTheFirstThread(t *testing.T) {
	if firstThread != nil {
		t.Error(firstThread)
	}
}

func TestTheThreadEnds(t *testing.T) {
	var tid int
	Run(func() { tid = unix.Gettid() })
	path := fmt.Sprintf("/proc/self/task/%d", tid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("thread %d is still there", tid)
		}
	}
}

func TestGoexitEndsIt(t *testing.T) {
	Run(runtime.Goexit) // and returns
}

func TestPriority(t *testing.T) {
	var attr *unix.SchedAttr
	var child []byte
	var errAttr, errChild error
	Run(func() {
		attr, errAttr = unix.SchedGetAttr(0, 0)
		child, errChild = exec.Command("cut", "-d ", "-f19,41", "/proc/self/stat").Output() // nice, policy
	})
	if errAttr != nil || attr.Policy != schedFIFO {
		t.Errorf("the thread has %+v, %v; want policy %d", attr, errAttr, schedFIFO)
	}
	if got := strings.TrimSpace(string(child)); errChild != nil || got != "0 0" {
		t.Errorf("a child process has nice and policy %q, %v; want ordinary ones", got, errChild)
	}
}

// A caller without the right to the priority runs without it, and Refused reports that.
func TestRefusedPriority(t *testing.T) {
	refused.Store(false)
	ran := false
	err := privilege.Without(unix.CAP_SYS_NICE, func() {
		raise()
		ran = true
	})
	if err != nil || !ran || !Refused() {
		t.Errorf("without the right it ran: %v, refused: %v; %v", ran, Refused(), err)
	}
}

func TestSleepUntil(t *testing.T) {
	at := time.Now().Add(20 * time.Millisecond)
	SleepUntil(at)
	if time.Now().Before(at) {
		t.Error("woke too early")
	}
	SleepUntil(time.Now().Add(-time.Hour)) // at once
}
