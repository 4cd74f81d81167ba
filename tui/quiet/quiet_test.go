package quiet_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/lab"
)

// terminal returns a new terminal that answers no query, like a serial line with nothing
// connected.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// Commands that draw nothing do not query the terminal nor wait for its answer, and
// those that draw see the original type of the terminal.
func TestNoCommandAsksTheTerminal(t *testing.T) {
	swerve, err := lab.Build(t.TempDir(), "cmd/swerve")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(t.TempDir(), "sock")
	for args, want := range map[string]string{
		"version":                       "swerve dev",
		"--help":                        "Usage:",
		"status --socket " + nowhere:    "no daemon answers",
		"tui --socket " + nowhere + "x": "",
	} {
		got := onTerminal(t, exec.Command(swerve, strings.Fields(args)...))
		draws := strings.HasPrefix(args, "tui")
		if !strings.Contains(got, want) || strings.Contains(got, "\x1b") != draws || strings.Contains(got, "\x1b]11") {
			t.Errorf("swerve %s writes %q", args, got)
		}
	}
}

// onTerminal runs a command on a terminal of its own and returns all it wrote. A command
// that still runs after three seconds is asked to end.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	master, slave := terminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	limit := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer limit.Stop()
	text, err := io.ReadAll(master) // EIO: no process has the terminal open any more
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit codes are tested elsewhere
	return string(text)
}
