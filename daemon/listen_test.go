package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
)

// A socket whose file is removed or replaced is made again, and told; one on which
// another process answers is left to it.
func TestRemovedSocketIsMadeAgain(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	p := g.run()
	path := g.socket()
	answers := func(s *control.Status) bool { return !has(s, "control-socket", "") }
	client := func(what string) {
		t.Helper()
		p.client.Close()
		p.client = control.Dial(path)
		p.await(what, answers)
	}
	g.must(os.Remove(path))
	client("it answers after rm")
	beside := path + ".new"
	g.must(errors.Join(os.WriteFile(beside, nil, 0o600), os.Rename(beside, path)))
	g.must(os.Remove(path))
	client("it answers after a file stood there")

	other, err := net.Listen("unix", beside)
	g.must(err)
	g.must(os.Rename(beside, path))
	held, err := os.Stat(path)
	g.must(err)
	asked := make(chan struct{}, 100)
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			c.Close()
			select {
			case asked <- struct{}{}:
			default:
			}
		}
	}()
	for range 2 {
		<-asked // the daemon has looked who answers there
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(held, now) {
		t.Errorf("the socket of another process was taken: %v", err)
	}
	g.must(other.Close())
	client("it answers after the other process")
	g.must(p.end(syscall.SIGTERM))
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket's file is left at the end")
	}
	if log := p.stderr.String(); strings.Count(log, "is made again") < 3 || strings.Count(log, "cannot be made again") < 1 {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

// Files of the state folder that are none, which a person or a program has made there,
// hold up neither the start nor the end.
func TestRunBesideIrregularFiles(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"folder": func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			for _, file := range []string{"state.json", "events.ndjson", "events.ndjson.1"} {
				g.must(os.MkdirAll(filepath.Join(g.folder, "state"), 0o755))
				g.must(put(filepath.Join(filepath.Join(g.folder, "state"), file)))
			}
			g.must(put(sysctlFile(g.socket())))
			p := g.start()
			p.await("both uplinks are up, and the problem is told", func(s *control.Status) bool {
				return allUp(s) && has(s, "state-unreadable", "")
			})
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// A target that counts for nothing is a problem once that has lasted.
func TestTargetsSetAsideForAMoment(t *testing.T) {
	c := newProbeCheck()
	aside := control.Problem{Code: "target-set-aside", Object: "192.0.2.53"}
	other := control.Problem{Code: "icmp-policed", Object: "fiber"}
	at := failover.Instant(0)
	count := func(after time.Duration, found ...control.Problem) int {
		at += failover.Instant(after)
		return len(c.lasting(found, at))
	}
	for _, step := range []struct {
		after time.Duration
		found []control.Problem
		want  int
	}{
		{time.Second, []control.Problem{aside, other}, 1}, {9 * time.Second, []control.Problem{aside, other}, 1},
		{0, []control.Problem{other}, 1}, {2 * time.Second, []control.Problem{aside}, 0}, // it begins anew
		{9 * time.Second, []control.Problem{aside}, 0}, {time.Second, []control.Problem{aside}, 1}, {time.Minute, []control.Problem{aside}, 1},
		{0, nil, 0}, {time.Second, []control.Problem{aside}, 0},
	} {
		if got := count(step.after, step.found...); got != step.want {
			t.Errorf("at %v: %d problems, want %d", time.Duration(at), got, step.want)
		}
	}
}
