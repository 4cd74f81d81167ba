package programs

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

//go:embed unpack
var unpack string

//go:embed inside
var inside string

// Unpack returns a folder with Debian packages and what they need, beyond what is
// installed here; they are downloaded unless an earlier call has done so.
func Unpack(packages ...string) (folder string, err error) {
	var said strings.Builder
	cmd := exec.Command("sh", append([]string{"-c", unpack, "unpack"}, packages...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("programs: download %s: %w\n%s", strings.Join(packages, ", "), err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Place is where programs run: a network namespace that is given, the programs' folder
// over the machine's root file system, and mounts and processes of its own.
type Place struct {
	ns     *netns.NS
	cmd    *exec.Cmd // its first process, and what it wrote
	said   *strings.Builder
	init   int    // the first process, as nsenter(1) needs it
	folder string // where the mounts have their files
}

// Open makes a place in a namespace, with the programs of a folder of Unpack's.
func Open(ns *netns.NS, folder string) (*Place, error) {
	work, err := os.MkdirTemp("", "swerve-place-")
	if err != nil {
		return nil, fmt.Errorf("programs: make a place: %w", err)
	}
	p := &Place{ns: ns, said: new(strings.Builder), folder: work}
	p.cmd = ns.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--uts",
		"sh", "-c", inside, "inside", folder, work)
	p.cmd.Stderr = p.said
	if err = ns.Start(p.cmd); err == nil {
		if err = p.await(); err == nil {
			return p, nil
		}
		p.Close()
		err = fmt.Errorf("%w\n%s", err, p.said)
	} else {
		os.Remove(work)
	}
	return nil, fmt.Errorf("programs: make a place: %w", err)
}

// await waits until all is mounted.
func (p *Place) await() error {
	children := fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid)
	ctx, cancel := wait.Bounded(context.Background())
	defer cancel()
	return wait.Until(ctx, "the first process of the programs' place", func() bool {
		if p.init == 0 {
			text, _ := os.ReadFile(children)
			_, _ = fmt.Sscan(string(text), &p.init) // none yet
		}
		_, err := os.Stat(p.root("/run/ready"))
		return p.init != 0 && err == nil
	})
}

// Close ends all that runs in the place.
func (p *Place) Close() {
	_ = p.cmd.Process.Kill() // the others end with it
	_ = p.cmd.Wait()
	os.Remove(p.folder)
}

// root is how a path in the place is seen from outside.
func (p *Place) root(path string) string { return fmt.Sprintf("/proc/%d/root%s", p.init, path) }

// Said is what the place's own first process wrote, which is for the case that it failed.
// It is called after Close.
func (p *Place) Said() string { return p.said.String() }

// Command prepares a script for sh(1) in the place, for Start. Killing the command kills
// the shell, or what it has replaced itself with by exec.
func (p *Place) Command(script string) *exec.Cmd {
	return p.ns.Command("nsenter", "--target", fmt.Sprint(p.init), "--mount", "--pid", "--ipc", "--uts", "--wd=/",
		"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "setpriv", "--pdeathsig", "KILL", "sh", "-euc", script)
}

// Start starts a command; the caller waits for it.
func (p *Place) Start(cmd *exec.Cmd) error { return p.ns.Start(cmd) }

// Run runs a script to its end, for at most a minute, and returns all that it wrote. What
// it leaves running in the background goes on.
func (p *Place) Run(script string) (string, error) {
	var out strings.Builder
	cmd := p.Command(script)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := p.Start(cmd); err != nil {
		return "", err
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) { // a daemon that it started keeps the pipe open
		err = nil
	}
	return out.String(), err
}

// Write writes a file in the place, whose folder it makes.
func (p *Place) Write(path, text string) error {
	if err := os.MkdirAll(p.root(filepath.Dir(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p.root(path), []byte(text), 0o644)
}
