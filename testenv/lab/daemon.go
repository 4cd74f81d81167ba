package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Daemon is a program that runs in the gateway, usually swerve. It has its own folder
// for its config, socket and state, in memory, which outlives its restarts and is
// deleted with the lab. The kernel kills it when the lab or this process ends.
type Daemon struct {
	Dir string

	lab  *Lab
	name string
	args []string
	dir  *scratch
	log  tail

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{} // of the present run; nil before the first
	waitErr error
}

// ErrNotRunning is returned where an operation needs a running daemon.
var ErrNotRunning = errors.New("lab: the daemon does not run")

// NewDaemon prepares a daemon without starting it. In the arguments, {dir} is replaced
// by its folder.
func (lab *Lab) NewDaemon(binary string, args ...string) (*Daemon, error) {
	dir, err := newScratch()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Dir: dir.path, lab: lab, name: binary, dir: dir}
	for _, a := range args {
		d.args = append(d.args, strings.ReplaceAll(a, "{dir}", dir.path))
	}
	lab.mu.Lock()
	defer lab.mu.Unlock()
	if lab.closed {
		dir.close()
		return nil, errors.New("lab: the lab is closed")
	}
	lab.daemons = append(lab.daemons, d)
	return d, nil
}

// Start starts the daemon, also again after it has ended.
func (d *Daemon) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running() {
		return fmt.Errorf("lab: start %s: already running as process %d", d.name, d.cmd.Process.Pid)
	}
	cmd := d.lab.Gateway.Command(d.name, d.args...)
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	cmd.WaitDelay = time.Second // a grandchild may keep the pipe open
	if err := d.lab.Gateway.Start(cmd); err != nil {
		return fmt.Errorf("lab: start %s: %w", d.name, err)
	}
	done := make(chan struct{})
	d.cmd, d.done = cmd, done
	go func() {
		err := cmd.Wait()
		d.mu.Lock()
		d.waitErr = err
		d.mu.Unlock()
		close(done)
	}()
	return nil
}

// Stop asks the daemon to end (SIGTERM) and waits for it; ctx bounds the wait.
// The error is the daemon's if it failed.
func (d *Daemon) Stop(ctx context.Context) error {
	if err := d.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return d.Wait(ctx)
}

// Kill ends the daemon by SIGKILL and waits until it is gone.
func (d *Daemon) Kill() error {
	if err := d.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-d.Done()
	return nil
}

// Signal sends a signal.
func (d *Daemon) Signal(sig syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running() {
		return ErrNotRunning
	}
	return d.cmd.Process.Signal(sig)
}

// Wait waits for the daemon's end and returns its error: an *exec.ExitError where
// it failed or was killed.
func (d *Daemon) Wait(ctx context.Context) error {
	select {
	case <-d.Done():
	case <-ctx.Done():
		return fmt.Errorf("lab: wait for %s: %w", d.name, context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waitErr
}

// Done is closed when the present run has ended; it is closed before the first run.
func (d *Daemon) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return d.done
}

// Pid is the process's ID, 0 when it does not run.
func (d *Daemon) Pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running() {
		return 0
	}
	return d.cmd.Process.Pid
}

// Log returns what the daemon wrote to standard output and standard error, over all
// its runs: the latest MiB.
func (d *Daemon) Log() string { return d.log.String() }

// Logged returns how many bytes the daemon has written there, over all its runs.
func (d *Daemon) Logged() int64 {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	return d.log.total
}

// HoldLog stops reading what the daemon writes, as a log that hangs does, until the
// returned function is called. Meanwhile the daemon cannot be seen to end.
func (d *Daemon) HoldLog() (release func()) {
	d.log.gate.Lock()
	return sync.OnceFunc(d.log.gate.Unlock)
}

// running reports whether the process lives. The caller holds mu.
func (d *Daemon) running() bool {
	if d.done == nil {
		return false
	}
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// discard ends the daemon and deletes its folder.
func (d *Daemon) discard() {
	_ = d.Kill() // or it has ended by itself
	d.dir.close()
}

// closeDaemons returns the lab's daemons and prevents later starts.
func (lab *Lab) closeDaemons() []*Daemon {
	lab.mu.Lock()
	defer lab.mu.Unlock()
	lab.closed = true
	all := lab.daemons
	lab.daemons = nil
	return all
}

// tail keeps the latest part of what is written to it.
type tail struct {
	gate  sync.Mutex // held while nothing is read
	mu    sync.Mutex
	text  []byte
	total int64
}

const tailLimit = 1 << 20

func (t *tail) Write(p []byte) (int, error) {
	t.gate.Lock()
	defer t.gate.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.total += int64(len(p))
	if over := len(t.text) - tailLimit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
