package others

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

// view is a place where the programs run: a network namespace that is given, the
// programs over the machine's root file system, and mounts and processes of its own. All
// that runs there ends with it.
type view struct {
	t    *testing.T
	ns   *netns.NS
	init int // the first process, as nsenter(1) needs it
}

// newView makes a place in a namespace; without programs it ends the test.
func newView(t *testing.T, ns *netns.NS) *view {
	t.Helper()
	if *programs == "" {
		t.Fatal("without -others.programs")
	}
	inside, err := filepath.Abs("inside")
	if err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--uts",
		"sh", inside, *programs, t.TempDir())
	var said strings.Builder
	cmd.Stderr = &said
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the others end with it
		_ = cmd.Wait()
		if t.Failed() && said.Len() > 0 {
			t.Logf("the programs' place wrote:\n%s", said.String())
		}
	})
	v := &view{t: t, ns: ns}
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	wait.For(t, "the first process of the programs' place", func() bool {
		text, _ := os.ReadFile(children)
		_, err := fmt.Sscan(string(text), &v.init)
		return err == nil
	})
	wait.For(t, "the programs' place", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/ready", v.init))
		return err == nil
	})
	return v
}

// command prepares a script for sh(1) in the place.
func (v *view) command(script string) *exec.Cmd {
	return v.ns.Command("nsenter", "--target", fmt.Sprint(v.init), "--mount", "--pid", "--ipc", "--uts", "--wd=/",
		"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "sh", "-euc", script)
}

// try runs a script to its end, for at most a minute, and returns all that it wrote.
func (v *view) try(script string) (string, error) {
	var out strings.Builder
	cmd := v.command(script)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := v.ns.Start(cmd); err != nil {
		return "", err
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	err := cmd.Wait()
	if err == exec.ErrWaitDelay { // a daemon that it started keeps the pipe open
		err = nil
	}
	return out.String(), err
}

// sh is try that ends the test where the script fails.
func (v *view) sh(script string) string {
	v.t.Helper()
	out, err := v.try(script)
	if err != nil {
		v.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// write writes a file in the place, whose folder it makes.
func (v *view) write(path, text string) {
	v.t.Helper()
	v.sh("mkdir -p " + filepath.Dir(path))
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root%s", v.init, path), []byte(text), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// program runs in a place.
type program struct {
	v    *view
	name string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	said strings.Builder
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.Len() < 1<<20 {
		p.said.Write(b)
	}
	return len(b), nil
}

// log is what it wrote so far.
func (p *program) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// start starts a program that stays in the foreground. If the test fails, its log has
// what it wrote.
func (v *view) start(name, line string) *program {
	v.t.Helper()
	p := &program{v: v, name: name, done: make(chan struct{})}
	p.cmd = v.command(fmt.Sprintf("echo $$ >/run/%s.process; exec %s", name, line))
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	if err := v.ns.Start(p.cmd); err != nil {
		v.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	v.t.Cleanup(func() {
		if v.t.Failed() {
			log := p.log()
			v.t.Logf("%s wrote:\n%s", name, log[max(0, len(log)-6000):])
		}
	})
	return p
}

// signal sends it a signal, by kill(1)'s name.
func (p *program) signal(name string) {
	p.v.t.Helper()
	p.v.sh(fmt.Sprintf("kill -%s $(cat /run/%s.process)", name, p.name))
}

// stop asks it to end, and waits until it has.
func (p *program) stop() {
	p.v.t.Helper()
	p.signal("TERM")
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.v.t.Fatalf("%s does not end:\n%s", p.name, p.log())
	}
}
