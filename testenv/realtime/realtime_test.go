package realtime

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestThread(t *testing.T) {
	type outcome struct {
		policy uint32
		child  string
		err    error
	}
	result := make(chan outcome)
	go func() {
		Thread()
		var o outcome
		attr, err := unix.SchedGetAttr(0, 0)
		if o.err = err; err == nil {
			o.policy = attr.Policy
		}
		out, err := exec.Command("sh", "-c", "cut -d' ' -f19,41 /proc/self/stat").Output() // nice, policy
		o.child = strings.TrimSpace(string(out))
		if err != nil {
			o.err = err
		}
		result <- o
	}()
	o := <-result
	if o.err != nil || o.policy != schedFIFO {
		t.Errorf("the thread's policy is %d, %v; want %d", o.policy, o.err, schedFIFO)
	}
	if o.child != "0 0" {
		t.Errorf("a child process has nice and policy %q, want ordinary ones", o.child)
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
