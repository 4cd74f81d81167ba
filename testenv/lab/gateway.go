package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"swerve/control"
)

// Gateway is a machine that runs the daemon between a LAN and its uplinks. A
// scenario that uses nothing else of a lab runs wherever there is such a machine;
// Swerve is the one in a network namespace.
type Gateway interface {
	// Configure writes the daemon's configuration, in YAML. The daemon reads it
	// when it starts or is asked to reload.
	Configure(config string) error
	// Start starts the daemon, without waiting until it answers.
	Start() error
	// Stop asks the daemon to end (SIGTERM) and waits for it until ctx ends. The
	// error is the daemon's if it failed.
	Stop(ctx context.Context) error
	// Kill ends the daemon by SIGKILL and waits for its end.
	Kill() error
	// Signal sends the daemon a signal.
	Signal(sig syscall.Signal) error
	// Pid is the daemon's process ID on that machine, 0 if it does not run.
	Pid() int
	// Log returns what the daemon wrote to standard output and standard error.
	Log() string
	// API returns the client of the daemon's socket.
	API() *control.Client
	// Exec runs a command to its end, or kills it when ctx ends. It returns an error
	// if the command could not run; a command that failed has a nonzero exit code.
	Exec(ctx context.Context, name string, args ...string) (Result, error)
	// Fault breaks an uplink (from 0), as ParseSpec reads it.
	Fault(uplink int, spec string) (*Fault, error)
}

// Result is what a command wrote, and its exit code: -1 where a signal ended it.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// The two uplinks of most configurations, by their index in the lab.
const (
	Fiber = 0
	LTE   = 1
)

// TwoUplinks is the smallest configuration: everything but the uplinks is the
// default.
const TwoUplinks = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
`

// Setup describes how a gateway runs the daemon.
type Setup struct {
	// Binary is the path of swerve. Its configuration, state and socket are in the
	// daemon's folder.
	Binary string
	// Prefix precedes it on the command line: for example nice(1) with its arguments.
	Prefix []string
	// Config is the initial configuration.
	Config string

	// Installed, if not empty, replaces all this: the command line of a daemon with
	// files of its own, whose socket is Socket.
	Installed []string
	Socket    string
}

// Swerve is the daemon in the namespace of a lab's gateway. It is a Gateway.
type Swerve struct {
	*Lab
	*Daemon
	api *control.Client
}

var _ Gateway = (*Swerve)(nil)

// The files in a daemon's folder.
const (
	configFile = "swerve.yaml"
	socketFile = "swerve.sock"
	stateFile  = "state"
)

// NewSwerve prepares the daemon in the lab's gateway, without starting it. It ends
// with the lab.
func (lab *Lab) NewSwerve(setup Setup) (*Swerve, error) {
	args, socket := setup.Installed, setup.Socket
	if len(args) == 0 {
		args = slices.Concat(setup.Prefix, []string{setup.Binary, "run", "-c", "{dir}/" + configFile, "--socket", "{dir}/" + socketFile})
	}
	daemon, err := lab.NewDaemon(args[0], args[1:]...)
	if err != nil {
		return nil, err
	}
	s := &Swerve{Lab: lab, Daemon: daemon}
	if len(setup.Installed) == 0 {
		socket = s.Socket()
		if err := s.Configure(setup.Config); err != nil {
			return nil, err
		}
	}
	s.api = control.Dial(socket)
	lab.mu.Lock()
	defer lab.mu.Unlock()
	lab.clients = append(lab.clients, s.api)
	return s, nil
}

// File is the path of a file in the daemon's folder.
func (s *Swerve) File(name string) string { return filepath.Join(s.Dir, name) }

// Config and Socket return the paths of the configuration and the socket, unless the
// daemon is an installed one.
func (s *Swerve) Config() string { return s.File(configFile) }
func (s *Swerve) Socket() string { return s.File(socketFile) }

// Configure implements Gateway. It adds the keys that keep the daemon's files in its folder.
func (s *Swerve) Configure(config string) error {
	config += fmt.Sprintf("state: %s\ncontrol: {group: \"\"}\n", s.File(stateFile))
	return os.WriteFile(s.Config(), []byte(config), 0o644)
}

// API implements Gateway.
func (s *Swerve) API() *control.Client { return s.api }

// Exec implements Gateway.
func (s *Swerve) Exec(ctx context.Context, name string, args ...string) (Result, error) {
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second // a grandchild may keep the pipe open
	err := s.Gateway.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("lab: run %s in the gateway: %w", strings.Join(cmd.Args, " "), err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}, nil
}
