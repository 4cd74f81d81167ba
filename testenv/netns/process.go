package netns

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// runLimit bounds a command that hangs.
const runLimit = 30 * time.Second

// Command prepares a command for Start.
func (ns *NS) Command(name string, args ...string) *exec.Cmd {
	return exec.Command(name, args...)
}

// Start starts cmd inside the namespace. The kernel kills it when the namespace is
// closed and when this process dies; the caller waits for it with cmd.Wait.
func (ns *NS) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal is sent when the parent *thread* ends. That is the worker's, which
	// lives exactly as long as the namespace.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return ns.Do(cmd.Start)
}

// Run runs a command inside the namespace to its end, for at most 30 s, and returns
// what it wrote to standard output. The error has the command and what it wrote to
// standard error.
func (ns *NS) Run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("netns: run %s: %w: %s", strings.Join(cmd.Args, " "), err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}
