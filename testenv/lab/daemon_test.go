package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/testenv/wait"
)

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// startDaemon starts a daemon. It returns the daemon also if the start failed.
func startDaemon(lab *Lab, binary string, args ...string) (*Daemon, error) {
	d, err := lab.NewDaemon(binary, args...)
	if err != nil {
		return nil, err
	}
	return d, d.Start()
}

// awaitLog waits until the daemon has written a text, in any of its runs.
func (d *Daemon) awaitLog(ctx context.Context, text string) error {
	return wait.Until(ctx, fmt.Sprintf("%s to write %q", d.name, text),
		func() bool { return strings.Contains(d.Log(), text) })
}

// A shell plays the daemon: it lists its links and keeps a file.
const script = `trap 'echo bye; exit 7' TERM
ip -br link show dev wan0; echo one more >>{dir}/state; cat {dir}/state; echo ready >&2
while :; do sleep 0.01; done`

func TestDaemonsLife(t *testing.T) {
	lab := NewTest(t, Options{Uplinks: 1})
	d, err := startDaemon(lab, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.awaitLog(bounded(t), "ready"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(d.Log(), "wan0@") {
		t.Errorf("the daemon does not run in the gateway: %s", d.Log())
	}
	if err := d.Start(); err == nil {
		t.Error("it can be started twice at once")
	}
	if err := d.Kill(); err != nil {
		t.Error(err)
	}
	if d.Pid() != 0 {
		t.Errorf("after Kill it is process %d", d.Pid())
	}
	if err := d.Kill(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a second Kill: %v, want ErrNotRunning", err)
	}
	if err := d.Start(); err != nil { // with the same folder
		t.Fatal(err)
	}
	if err := d.awaitLog(bounded(t), "one more\none more\nready"); err != nil {
		t.Errorf("%v in\n%s", err, d.Log())
	}
	var exit *exec.ExitError
	if err := d.Stop(bounded(t)); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("Stop: %v, want the daemon's own exit code 7", err)
	}
	if !strings.HasSuffix(d.Log(), "bye\n") {
		t.Errorf("its last output is missing: %s", d.Log())
	}
}

func TestDaemonsEndWithTheLab(t *testing.T) {
	lab := NewTest(t, Options{Uplinks: 1})
	var pids []int
	for range 2 {
		d, err := startDaemon(lab, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.awaitLog(bounded(t), "ready"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(d.Dir); err != nil {
			t.Error(err)
		}
		pids = append(pids, d.Pid())
	}
	lab.Close()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("daemon %d outlived the lab: %v", pid, err)
		}
	}
	if _, err := lab.NewDaemon("true"); err == nil {
		t.Error("a closed lab takes a new daemon")
	}
}

func TestDaemonThatIsMissing(t *testing.T) {
	lab := NewTest(t, Options{Uplinks: 1})
	d, err := startDaemon(lab, "/no/such/program")
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("error %v, want one that names the program", err)
	}
	if err := d.Stop(bounded(t)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Stop of what never ran: %v", err)
	}
}

// The test's own program, run again as a child, builds a lab with a daemon and is
// killed: nothing of it may remain.
func TestNothingStaysAfterSIGKILL(t *testing.T) {
	if os.Getenv("LAB_VICTIM") != "" {
		lab := NewTest(t, Options{})
		d, err := startDaemon(lab, "sleep", "1000")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\ndaemon %d\n", d.Pid())
		time.Sleep(time.Hour)
	}
	before := traces(t)
	victim := exec.Command(os.Args[0], "-test.run", "^TestNothingStaysAfterSIGKILL$", "-test.v")
	victim.Env = append(os.Environ(), "LAB_VICTIM=1")
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var daemon int
	for word := ""; word != "daemon"; {
		if _, err := fmt.Fscan(out, &word); err != nil {
			t.Fatalf("the victim did not come up: %v", err)
		}
	}
	if _, err := fmt.Fscan(out, &daemon); err != nil {
		t.Fatal(err)
	}
	_ = victim.Process.Kill()
	_ = victim.Wait()
	wait.For(t, "the daemon to die", func() bool { return !alive(daemon) })
	before.await(t)
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
