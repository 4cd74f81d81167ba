package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// whether is a choice of the flag -dashboard.
type whether string

const (
	ask whether = "ask" // on a terminal that has room for both
	yes whether = "yes"
	no  whether = "no"
)

func (w *whether) String() string { return string(*w) }

func (w *whether) Set(text string) error {
	switch whether(text) {
	case ask, yes, no:
		*w = whether(text)
		return nil
	}
	return fmt.Errorf("%q is none of ask, yes and no", text)
}

// answerTime is how long the question stands; nobody may be there.
const answerTime = 8 * time.Second

// wanted reports whether to show the dashboard. What keeps it from being shown is
// an error only where it was asked for.
func (w whether) wanted(ctx context.Context, t terminal, limit time.Duration) (bool, error) {
	obstacle := t.obstacle()
	switch {
	case w == no:
		return false, nil
	case w == yes && obstacle != nil:
		return false, fmt.Errorf("show the dashboard: %w", obstacle)
	case w == yes:
		return true, nil
	case obstacle != nil:
		return false, nil
	}
	if _, _, roomy := t.layout(); !roomy {
		return false, nil
	}
	return t.question(ctx, limit), nil
}

// terminal is where the demo is shown and may be answered.
type terminal struct{ in, out *os.File }

// obstacle is why no dashboard can be shown on the terminal; nil: it can.
func (t terminal) obstacle() error {
	switch {
	case !isTerminal(t.in):
		return errors.New("standard input is not a terminal")
	case !isTerminal(t.out):
		return errors.New("standard output is not a terminal")
	}
	if kind := os.Getenv("TERM"); kind == "" || kind == "dumb" {
		return fmt.Errorf("the terminal's kind is %q", kind)
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		return errors.New("tmux is missing; sudo apt-get install tmux")
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Room for both: a line of the timeline seldom has more than 120 columns, and the
// dashboard wants 80 by 24.
const (
	besideColumns  = 200
	belowRows      = 40
	leastColumns   = 80
	dashboardRows  = 24
	dashboardWidth = 80
)

// layout is how tmux(1) is told to split the terminal, and to what size of the
// dashboard. It is not roomy where one of the two would be cramped.
func (t terminal) layout() (direction string, size int, roomy bool) {
	ws, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return "-v", dashboardRows, false
	}
	return split(int(ws.Col), int(ws.Row))
}

func split(columns, rows int) (direction string, size int, roomy bool) {
	if columns >= besideColumns {
		return "-h", max(dashboardWidth, columns/2-20), rows >= dashboardRows
	}
	return "-v", max(dashboardRows, rows/2), columns >= leastColumns && rows >= belowRows
}

// question asks once. No answer is a no.
func (t terminal) question(ctx context.Context, limit time.Duration) bool {
	fmt.Fprintf(t.out, "Show the dashboard (swerve tui) beside the timeline? [y/N, no in %.0f s] ", limit.Seconds())
	answer := t.line(ctx, limit)
	if !strings.HasSuffix(answer, "\n") {
		fmt.Fprintln(t.out)
	}
	fmt.Fprintln(t.out)
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// line reads a line that comes in time.
func (t terminal) line(ctx context.Context, limit time.Duration) string {
	const step = 50 // ms; a signal does not always end a poll
	var buf [128]byte
	for end := time.Now().Add(limit); ctx.Err() == nil && time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, step); n <= 0 || err != nil {
			continue
		}
		n, err := unix.Read(int(t.in.Fd()), buf[:])
		if err != nil {
			return ""
		}
		return string(buf[:n])
	}
	return ""
}
