package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// baseline is what there is in calm: before the storm, and after it.
type baseline struct {
	proc
	goroutines int
	ours       string // rules and routes of protocol 83, as ip(8) lists them, sorted
}

// What a daemon may have more after the storm than before it.
const (
	moreFiles      = 12
	moreGoroutines = 30
	moreThreads    = 128      // they stay: as many as there were system calls at a time
	moreMemory     = 64 << 20 // several times as much with the race detector
)

// shrinkLimit is how long what is there for a time alone may stay: a probe has a socket
// until it is too late for its answer.
const shrinkLimit = 20 * time.Second

// calmLimit is how long the status may take to become ok again after the storm: at the
// default configuration windows are a minute long.
const calmLimit = 3 * time.Minute

// settled reports that all is well. With defaults an uplink that was down often is held
// back for most of an hour, which is no fault.
func (s *stage) settled(st *control.Status) bool {
	if st.Overall != "ok" || s.opts.defaults && s.stormy {
		return st.Overall == "ok"
	}
	return lab.Settled(st)
}

// awaitCalm waits until the status says that all is well.
func (s *stage) awaitCalm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, calmLimit)
	defer cancel()
	st, err := lab.Await(ctx, s.swerve, "the status to be ok", s.settled)
	if err != nil && st != nil {
		return fmt.Errorf("%w; overall %s, problems %+v", err, st.Overall, st.Problems)
	}
	return err
}

// measure returns what the daemon and the kernel have now. The smallest of several
// looks counts, since probes come and go.
func (s *stage) measure() (b baseline, err error) {
	for i := range 20 {
		p := s.proc(s.swerve.Pid())
		if i == 0 {
			b.proc = p
		}
		b.files, b.threads, b.resident = min(b.files, p.files), min(b.threads, p.threads), min(b.resident, p.resident)
		time.Sleep(50 * ms)
	}
	b.ours, err = s.ours()
	return b, err
}

// ours lists our rules and routes.
func (s *stage) ours() (string, error) {
	var lines []string
	for _, what := range []string{"-4 rule", "-6 rule", "-4 route show table all proto 83", "-6 route show table all proto 83"} {
		out, err := s.lab.Gateway.Run("ip", strings.Fields("-N "+what)...)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(what, "rule") || strings.Contains(line, "proto 83") {
				lines = append(lines, what[:2]+" "+strings.TrimSpace(line))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

var routine = regexp.MustCompile(`(?m)^goroutine \d+ `)

// goroutines ends the daemon by SIGQUIT, which makes it tell its goroutines, and
// returns their number.
func (s *stage) goroutines() (int, error) {
	s.hand.Lock()
	defer s.hand.Unlock()
	if err := s.swerve.Signal(syscall.SIGQUIT); err != nil {
		return 0, err
	}
	<-s.swerve.Done()
	log := s.swerve.Log()
	at := strings.LastIndex(log, "SIGQUIT: quit")
	if at < 0 {
		return 0, fmt.Errorf("SIGQUIT made the daemon say nothing:\n%s", lastLines(log, 10))
	}
	return len(routine.FindAllString(log[at:], -1)), s.start()
}

// plan returns what swerve plan would change.
func (s *stage) plan() (string, error) {
	out, err := s.lab.Gateway.Run(s.opts.command, "plan", "-c", s.swerve.Config())
	return out, err
}

// repairs counts the repairs that the daemon has told.
func (s *stage) repairs(ctx context.Context) (n int, err error) {
	events, err := lab.Events(ctx, s.swerve)
	for _, e := range events {
		if e.Type() == control.EventRepair {
			n++
		}
	}
	return n, err
}

// afterwards makes the checks after the storm, while the daemon runs.
func (s *stage) afterwards(ctx context.Context, was baseline) error {
	if err := s.awaitCalm(ctx); err != nil {
		s.broken("after the storm: %v", err)
	}
	var script string
	err := wait.Until(ctx, "a plan of nothing", func() bool {
		var err error
		script, err = s.plan()
		return err == nil && script == ""
	})
	if err != nil {
		s.broken("after the storm the kernel does not hold the plan: %v\n%s", err, script)
	}
	before, err := s.repairs(ctx)
	if err != nil {
		return err
	}
	if err := wait.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	if after, err := s.repairs(ctx); err != nil || after != before {
		s.broken("after the storm the daemon goes on repairing: %d repairs, then %d (%v)", before, after, err)
	}
	now, err := s.measure()
	for end := time.Now().Add(shrinkLimit); err == nil && now.files > was.files+moreFiles && time.Now().Before(end); {
		now, err = s.measure()
	}
	if err != nil {
		return err
	}
	differ := was.ours != now.ours
	if s.opts.defaults { // in another order
		differ = strings.Count(was.ours, "\n") != strings.Count(now.ours, "\n")
	}
	if differ {
		s.broken("after the storm there are other rules and routes:\n%s", difference(was.ours, now.ours))
	}
	s.grown(was, now)
	return nil
}

// moreMemory is how much memory the daemon may have more, in bytes.
func (s *stage) moreMemory() uint64 {
	if s.opts.raced {
		return 4 * moreMemory
	}
	return moreMemory
}

// grown compares what the daemon has with what it had.
func (s *stage) grown(was, now baseline) {
	s.journal.note("the daemon had %d files, %d threads, %d MiB; has %d, %d, %d MiB",
		was.files, was.threads, was.resident>>20, now.files, now.threads, now.resident>>20)
	s.journal.checked("growth", 3)
	if now.files > was.files+moreFiles || now.threads > was.threads+moreThreads || now.resident > was.resident+s.moreMemory() {
		s.broken("the daemon has grown")
	}
}

// ending ends the daemon and makes the checks of what is left: nothing.
func (s *stage) ending(was baseline, pristine string) error {
	n, err := s.goroutines()
	if err != nil {
		return err
	}
	s.journal.note("the daemon had %d goroutines; has %d", was.goroutines, n)
	s.journal.checked("growth", 1)
	if n > was.goroutines+moreGoroutines {
		s.broken("goroutines have grown:\n%s", lastLines(s.swerve.Log(), 400))
	}
	s.hand.Lock() // for good
	if err := s.stop(); err != nil {
		s.broken("at the end: %v", err)
	}
	if _, err := s.lab.Gateway.Run(s.opts.command, "teardown", "-c", s.swerve.Config(), "--socket", s.swerve.Socket()); err != nil {
		s.broken("teardown: %v", err)
	}
	left, err := s.everything()
	if err != nil {
		return err
	}
	s.journal.checked("teardown", 1)
	if left != pristine {
		s.broken("teardown left something, or removed too much:\n%s", difference(pristine, left))
	}
	return s.flows()
}

// flows checks that no flow has a mark of ours after a teardown.
func (s *stage) flows() error {
	flows, err := s.lab.Gateway.Run("conntrack", "-L")
	if err != nil {
		return err
	}
	six, err := s.lab.Gateway.Run("conntrack", "-L", "-f", "ipv6")
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(flows + six) {
		n++
		if strings.Contains(line, "mark=") && !strings.Contains(line, "mark=0 ") {
			s.broken("after the teardown a flow is marked: %s", line)
			break
		}
	}
	s.journal.note("the kernel tracks %d flows", n)
	return nil
}

var volatile = regexp.MustCompile(` expires -?[0-9a-z]+| linkdown|packets \d+ bytes \d+|# handle \d+`)

// everything lists rules, routes and tables of everybody, sorted.
func (s *stage) everything() (string, error) {
	var lines []string
	for _, what := range []string{"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "nft list ruleset"} {
		words := strings.Fields(what)
		out, err := s.lab.Gateway.Run(words[0], words[1:]...)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(volatile.ReplaceAllString(out, "")) {
			lines = append(lines, what+": "+strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// difference lists the lines that only one of two lists has.
func difference(before, after string) string {
	var b strings.Builder
	one, other := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range one {
		if !slices.Contains(other, line) {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, line := range other {
		if !slices.Contains(one, line) {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	return b.String()
}

// broken reports a break that is of now.
func (s *stage) broken(format string, args ...any) {
	s.journal.broken(time.Now(), s.truth.all(), format, args...)
}
