package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keyboard is the other end of a terminal: what is typed, and what was shown.
type keyboard struct{ *os.File }

// newTerminal makes a terminal of a size.
func newTerminal(t *testing.T, columns, rows uint16) (terminal, keyboard) {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := keyboard{os.NewFile(uintptr(fd), "ptmx")}
	t.Cleanup(func() { k.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return terminal{tty, tty}, k
}

// shown is what the terminal shows when nobody has it any more.
func (k keyboard) shown(t terminal) string {
	t.in.Close()
	text, _ := io.ReadAll(k) // EIO: the end
	return string(text)
}

func TestAnswers(t *testing.T) {
	for typed, want := range map[string]bool{"y\n": true, " YES \n": true, "\n": false, "n\n": false, "": false, "y": false} {
		term, k := newTerminal(t, 220, 50)
		if _, err := k.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		limit := time.Minute
		if !strings.HasSuffix(typed, "\n") {
			limit = 200 * time.Millisecond // nothing will come
		}
		got, err := ask.wanted(t.Context(), term, limit)
		if err != nil || got != want {
			t.Errorf("typed %q: %v, %v; want %v", typed, got, err, want)
		}
		if text := k.shown(term); strings.Count(text, "swerve tui") != 1 {
			t.Errorf("typed %q: the terminal shows %q, want one question", typed, text)
		}
	}
}

// Ctrl-C ends the question as all else.
func TestInterruptedQuestion(t *testing.T) {
	term, _ := newTerminal(t, 220, 50)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := ask.wanted(ctx, term, time.Hour); got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Nobody is asked where there is no room, or no terminal; then nothing is printed
// that was not printed before.
func TestNoQuestion(t *testing.T) {
	small, k := newTerminal(t, 100, 30)
	if got, err := ask.wanted(t.Context(), small, time.Hour); got || err != nil {
		t.Errorf("without room: %v, %v", got, err)
	}
	if got, err := yes.wanted(t.Context(), small, time.Hour); !got || err != nil {
		t.Errorf("without room, but told to: %v, %v", got, err)
	}
	if text := k.shown(small); text != "" {
		t.Errorf("without room it prints %q", text)
	}
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tty, k := newTerminal(t, 220, 50)
	if got, err := no.wanted(t.Context(), tty, time.Hour); got || err != nil {
		t.Errorf("told not to: %v, %v", got, err)
	}
	for _, term := range []terminal{{file, file}, {tty.in, file}, {file, tty.out}} {
		if got, err := ask.wanted(t.Context(), term, time.Hour); got || err != nil {
			t.Errorf("without a terminal: %v, %v", got, err)
		}
		if _, err := yes.wanted(t.Context(), term, time.Hour); err == nil || !strings.Contains(err.Error(), "not a terminal") {
			t.Errorf("without a terminal, but told to: %v", err)
		}
	}
	if text := k.shown(tty); text != "" {
		t.Errorf("half a terminal shows %q", text)
	}
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("it wrote %d bytes into a file (%v)", info.Size(), err)
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		columns, rows int
		direction     string
		size          int
		roomy         bool
	}{
		{220, 50, "-h", 90, true},
		{200, 24, "-h", 80, true},
		{200, 23, "-h", 80, false},
		{199, 50, "-v", 25, true},
		{80, 40, "-v", 24, true},
		{80, 39, "-v", 24, false},
		{79, 60, "-v", 30, false},
	} {
		direction, size, roomy := split(c.columns, c.rows)
		if direction != c.direction || size != c.size || roomy != c.roomy {
			t.Errorf("%d by %d: %s %d %v, want %s %d %v", c.columns, c.rows, direction, size, roomy, c.direction, c.size, c.roomy)
		}
	}
}

func TestWhether(t *testing.T) {
	w := ask
	if err := w.Set("no"); err != nil || w != no {
		t.Errorf("no: %v, %v", w, err)
	}
	if err := w.Set("perhaps"); err == nil || w != no {
		t.Errorf("perhaps: %v, %v", w, err)
	}
}
