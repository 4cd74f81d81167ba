package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// answerLimit is how long the daemon may take until it answers after a start.
const answerLimit = 30 * time.Second

// start starts the daemon and waits until it answers.
func (s *stage) start() error {
	if err := s.swerve.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	_, err := lab.Await(ctx, s.swerve, "the daemon to answer", func(*control.Status) bool { return true })
	return err
}

// answers waits until the daemon answers, which is true, or has ended.
func (s *stage) answers() (answered bool) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	_ = wait.Until(ctx, "the daemon to answer or to end", func() bool {
		st, err := s.swerve.API().Status(ctx)
		answered = err == nil && st.Daemon.PID == s.swerve.Pid()
		return answered || s.swerve.Pid() == 0
	})
	return answered
}

func kill(s *stage, _ fault) (func() error, error) {
	s.hand.Lock()
	return func() error { defer s.hand.Unlock(); return s.start() }, s.swerve.Kill()
}

func restart(s *stage, _ fault) (func() error, error) {
	s.hand.Lock()
	return func() error { defer s.hand.Unlock(); return s.start() }, s.stop()
}

// stopLimit is what systemd grants by the unit.
const stopLimit = 10 * time.Second

// stop ends the daemon as systemd would.
func (s *stage) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := s.swerve.Stop(ctx); err != nil && !errors.Is(err, exec.ErrWaitDelay) { // this process was late to read its log
		return fmt.Errorf("SIGTERM: %w", err)
	}
	return nil
}

func stop(s *stage, _ fault) (func() error, error) {
	return func() error { return s.swerve.Signal(syscall.SIGCONT) }, s.swerve.Signal(syscall.SIGSTOP)
}

func hangup(s *stage, _ fault) (func() error, error) {
	return nothing, s.swerve.Signal(syscall.SIGHUP)
}

// limit sets a resource limit of the daemon, and returns what restores the old one.
func (s *stage) limit(resource int, most uint64) (restore func() error, err error) {
	pid := s.swerve.Pid()
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		return nil, fmt.Errorf("read a limit of process %d: %w", pid, err)
	}
	tight := unix.Rlimit{Cur: min(most, old.Max), Max: old.Max}
	if err := unix.Prlimit(pid, resource, &tight, nil); err != nil {
		return nil, fmt.Errorf("limit process %d: %w", pid, err)
	}
	return func() error { return unix.Prlimit(pid, resource, &old, nil) }, nil
}

// memory leaves the daemon so many MiB of addresses. It may die of that; then it is
// started when the fault ends, as by systemd.
func memory(s *stage, f fault) (func() error, error) {
	s.hand.Lock()
	more, err := strconv.ParseUint(f.value, 10, 64)
	if err != nil {
		return nil, err
	}
	restore, err := s.limit(unix.RLIMIT_AS, s.proc(s.swerve.Pid()).addresses+more<<20)
	return func() error {
		defer s.hand.Unlock()
		if restore() == nil && s.answers() { // one that is dying still has its process
			return nil
		}
		s.journal.note("the daemon died of want of memory")
		return s.start()
	}, err
}

// descriptors leaves the daemon so many more file descriptors.
func descriptors(s *stage, f fault) (func() error, error) {
	more, err := strconv.ParseUint(f.value, 10, 64)
	if err != nil {
		return nil, err
	}
	return s.limit(unix.RLIMIT_NOFILE, uint64(s.proc(s.swerve.Pid()).files)+more)
}

// diskFull fills the disk of the daemon's folder.
func diskFull(s *stage, _ fault) (func() error, error) {
	if own, err := lab.OwnMemory(s.swerve.Dir); err != nil || !own {
		return nothing, err
	}
	path := s.swerve.File("filling")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return nil, err
	}
	return func() error { return os.Remove(path) }, nil
}

func inodesFull(s *stage, _ fault) (func() error, error) { return lab.LeaveNoFiles(s.swerve.Dir) }

func (s *stage) stateFolder() string { return s.swerve.File("state") }

func stateRemoved(s *stage, _ fault) (func() error, error) {
	_ = os.RemoveAll(s.stateFolder()) // the daemon may write into it meanwhile
	return nothing, nil
}

// stateReplaced puts a file in the place of the state folder.
func stateReplaced(s *stage, _ fault) (func() error, error) {
	away := s.swerve.File("state.away")
	if err := os.RemoveAll(away); err != nil {
		return nil, err
	}
	_ = os.Rename(s.stateFolder(), away) // it may not exist
	err := os.WriteFile(s.stateFolder(), []byte("not a folder\n"), 0o600)
	if errors.Is(err, unix.EISDIR) { // the daemon was faster
		return nothing, nil
	}
	return func() error {
		_ = os.Remove(s.stateFolder())
		_ = os.Rename(away, s.stateFolder())
		return nil
	}, err
}

// stateReadOnly puts a folder with the same files in the place of the state folder, on a
// file system that is read-only, as a disk is that had errors.
func stateReadOnly(s *stage, _ fault) (func() error, error) {
	copied, release, err := lab.ReadOnlyCopy(s.stateFolder())
	if err != nil {
		return nil, err
	}
	away := s.swerve.File("state.away")
	if err := os.RemoveAll(away); err != nil {
		return nil, err
	}
	_ = os.Rename(s.stateFolder(), away)                        // it may not exist
	if err := os.Symlink(copied, s.stateFolder()); err != nil { // the daemon was faster
		release()
		return nothing, nil
	}
	return func() error {
		defer release()
		_ = os.Remove(s.stateFolder())
		_ = os.Rename(away, s.stateFolder())
		return nil
	}, nil
}

// logUnread has nobody read what the daemon writes, over a small pipe. Meanwhile it is
// not ended: its end could not be seen.
func logUnread(s *stage, _ fault) (func() error, error) {
	for _, fd := range []string{"1", "2"} {
		pipe, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%s", s.swerve.Pid(), fd), os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		_, err = unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
		pipe.Close()
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	release := s.swerve.HoldLog()
	return func() error { release(); return nil }, nil
}

// configure writes a configuration and has the daemon read it.
func (s *stage) configure(config string) error {
	if err := s.swerve.Configure(config); err != nil {
		return err
	}
	s.hand.Lock() // a process that has just been started may not handle signals yet; systemd waits as well
	defer s.hand.Unlock()
	err := s.swerve.Signal(syscall.SIGHUP)
	if errors.Is(err, lab.ErrNotRunning) { // it reads it when it starts
		return nil
	}
	return err
}

// variants are what a valid reload adds to the configuration; MORE stands for the
// uplinks after the second.
var variants = []string{
	"policies: [{name: default, tiers: [lte, fiber MORE]}]\n",
	"policies: [{name: default, tiers: [{fiber: 3, lte: 1} MORE]}]\n",
	"policies: [{name: default, tiers: [fiber, lte MORE]}, {name: guests, tiers: [lte]}]\nrules: [{from: 192.168.20.0/24, use: guests}]\n",
	"sets: {video: {}}\npolicies: [{name: default, tiers: [fiber, lte MORE]}, {name: films, tiers: [lte, fiber]}]\nrules: [{to: {set: video}, use: films}]\n",
	"kernel: {main_default: leave}\n",
	"sessions: {on_failback: move}\n",
	"rescue: {enabled: false}\n",
	"log: {level: debug}\n",
}

func reload(s *stage, f fault) (func() error, error) {
	n, err := strconv.Atoi(f.value)
	if err != nil {
		return nil, err
	}
	more := ""
	for i := 2; i < len(s.lab.Uplinks); i++ {
		more += ", " + uplinkNames[i]
	}
	return func() error { return s.configure(s.config) }, s.configure(s.config + strings.ReplaceAll(variants[n], " MORE", more))
}

// refused are configurations that are refused.
var refused = []string{"uplinks: [\n", "uplinks: []\nsurely: not\n", "uplinks:\n  - {name: fiber, interface: wan0, gateway: nowhere}\n"}

// reloadRefused has the daemon read a bad file, which is put right without its knowledge.
func reloadRefused(s *stage, f fault) (func() error, error) {
	n, err := strconv.Atoi(f.value)
	if err != nil {
		return nil, err
	}
	return func() error { return s.configure(s.config) }, s.configure(refused[n])
}

// proc is what the kernel says of a process.
type proc struct {
	addresses, resident, anonymous uint64 // bytes
	files, threads                 int
}

// proc reads what the kernel says of a process; zero where there is none.
func (s *stage) proc(pid int) (p proc) {
	folder := "/proc/" + strconv.Itoa(pid)
	status, _ := os.ReadFile(folder + "/status")
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(words[1], 10, 64)
		switch words[0] {
		case "VmSize:":
			p.addresses = n << 10
		case "VmRSS:":
			p.resident = n << 10
		case "RssAnon:":
			p.anonymous = n << 10
		case "Threads:":
			p.threads = int(n)
		}
	}
	files, _ := os.ReadDir(folder + "/fd")
	p.files = len(files)
	return p
}

// waited returns how long the threads of a process have waited for a processor, in all.
func waited(pid int) (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		if words := strings.Fields(string(text)); len(words) > 1 {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
