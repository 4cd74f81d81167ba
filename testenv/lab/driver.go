package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"swerve/control"
	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

// TB is the part of testing.TB that labs in tests need.
type TB interface {
	netns.TB
	Context() context.Context
	Logf(format string, args ...any)
	Failed() bool
}

// Driver operates a gateway in a test. If one of its operations fails, the test ends.
type Driver struct {
	t TB
	g Gateway
}

// Drive returns the driver of a gateway. If the test fails, its log contains the
// daemon's.
func Drive(t TB, g Gateway) Driver {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", g.Log())
		}
	})
	return Driver{t, g}
}

// Drive makes a gateway with NewSwerve for a test, and returns it with its driver.
func (lab *Lab) Drive(t TB, setup Setup) (*Swerve, Driver) {
	t.Helper()
	s, err := lab.NewSwerve(setup)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s, Drive(t, s)
}

func (d Driver) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%v", err)
	}
}

// Configure writes the daemon's configuration.
func (d Driver) Configure(config string) {
	d.t.Helper()
	d.must(d.g.Configure(config))
}

// Start starts the daemon and waits until it answers.
func (d Driver) Start() {
	d.t.Helper()
	d.must(d.g.Start())
	d.Status()
}

// Stop ends the daemon as systemd would, and checks that its exit code is 0.
func (d Driver) Stop() {
	d.t.Helper()
	ctx, cancel := wait.Bounded(d.t.Context())
	defer cancel()
	if err := d.g.Stop(ctx); err != nil {
		d.t.Fatalf("SIGTERM: %v", err)
	}
}

// Kill ends the daemon by SIGKILL.
func (d Driver) Kill() {
	d.t.Helper()
	d.must(d.g.Kill())
}

// Break breaks an uplink (from 0), as ParseSpec reads it.
func (d Driver) Break(uplink int, spec string) *Fault {
	d.t.Helper()
	f, err := d.g.Fault(uplink, spec)
	d.must(err)
	return f
}

// Mend undoes a fault.
func (d Driver) Mend(f *Fault) {
	d.t.Helper()
	d.must(f.Undo())
}

// Run runs a command on the gateway, for at most wait.Patience.
func (d Driver) Run(name string, args ...string) Result {
	d.t.Helper()
	ctx, cancel := wait.Bounded(d.t.Context())
	defer cancel()
	r, err := d.g.Exec(ctx, name, args...)
	d.must(err)
	return r
}

// Until waits until a condition holds.
func (d Driver) Until(what string, holds func() bool) {
	d.t.Helper()
	wait.For(d.t, what, holds)
}

// Await waits until the daemon's status meets a condition, and returns that status.
func (d Driver) Await(what string, holds func(*control.Status) bool) *control.Status {
	d.t.Helper()
	s, err := Await(d.t.Context(), d.g, what, holds)
	d.must(err)
	return s
}

// Status is the daemon's status now.
func (d Driver) Status() *control.Status {
	d.t.Helper()
	return d.Await("the daemon to answer", func(*control.Status) bool { return true })
}

// Events returns the events of the daemon's present run so far.
func (d Driver) Events() []control.Event {
	d.t.Helper()
	all, err := Events(d.t.Context(), d.g)
	d.must(err)
	return all
}

// Build builds a command of this project, such as cmd/swerve, with additional flags of
// go build, into a folder, which it creates, and returns the program's path.
func Build(folder, command string, flags ...string) (string, error) {
	path := filepath.Join(folder, filepath.Base(command))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "swerve/"+command)...)
	if slices.Contains(flags, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
	}
	return path, nil
}

// DaemonRaced reports whether the daemon under test is to have the race detector:
// whether the environment's SWERVE_RACED is set, as make test does. The labs' own threads
// do without, since the detector costs them several times the time.
func DaemonRaced() bool { return os.Getenv("SWERVE_RACED") != "" }

// BuildPair builds cmd/swerve into a folder: for commands, and for the daemon, which has
// the race detector if DaemonRaced. The detector would slow commands.
func BuildPair(folder string) (command, daemon string, err error) {
	command, err = Build(folder, "cmd/swerve")
	if err != nil || !DaemonRaced() {
		return command, command, err
	}
	// At its end a program with the race detector sleeps for a second, for late reports.
	os.Setenv("GORACE", "atexit_sleep_ms=50")
	daemon, err = Build(filepath.Join(folder, "raced"), "cmd/swerve", "-race")
	return command, daemon, err
}
