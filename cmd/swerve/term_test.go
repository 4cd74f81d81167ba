package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new terminal: the screen's and the program's.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return screen, program
}

// shown runs a command line on a terminal and returns what stands on its screen.
func (d *fakeDaemon) shown(t *testing.T, args ...string) string {
	t.Helper()
	screen, program := openTerminal(t)
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(screen) // ends with an error when the program's end is closed
		text <- string(b)
	}()
	execute(t.Context(), append(args, "--socket", d.socket), program, io.Discard)
	program.Close()
	return strings.ReplaceAll(<-text, "\r\n", "\n")
}

func TestOnATerminal(t *testing.T) {
	d := startDaemon(t, busyStatus())
	for _, e := range someEvents() {
		d.hub.Publish(e)
	}
	for _, c := range []struct {
		noColor, term string
		coloured      bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		if got := d.shown(t, "status"); got != statusScreen(d.status, paint(c.coloured)) {
			t.Errorf("NO_COLOR=%s TERM=%s: %q", c.noColor, c.term, got)
		}
	}
	want, err := os.ReadFile("testdata/events-80.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.shown(t, "events"); got != string(want) {
		t.Errorf("events:\n%s\nwant\n%s", got, want)
	}
}
