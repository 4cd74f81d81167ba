package tui_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/tmux"
)

// patience bounds every wait: generous, since it only ends tests that fail.
const patience = 40 * time.Second

// binary builds cmd/swerve.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "swerve")
	if out, err := exec.Command("go", "build", "-o", path, "swerve/cmd/swerve").CombinedOutput(); err != nil {
		t.Fatalf("build swerve: %v\n%s", err, out)
	}
	return path
}

// config has two uplinks, and forgives soon.
const config = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
health: {damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
state: %[1]s/state
control: {group: ""}
`

// startDaemon starts the real daemon in the gateway of a lab.
func startDaemon(t *testing.T, l *lab.Lab, swerve string) *lab.Daemon {
	t.Helper()
	d, err := l.NewDaemon(swerve, "run", "-c", "{dir}/swerve.yaml", "--socket", "{dir}/sock")
	if err == nil {
		err = os.WriteFile(filepath.Join(d.Dir, "swerve.yaml"), fmt.Appendf(nil, config, d.Dir), 0o644)
	}
	if err == nil {
		err = d.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", d.Log())
		}
	})
	return d
}

// multiplexer is a tmux server of the test's own.
type multiplexer struct {
	*testing.T
	*tmux.Server
}

// startTmux starts a server that ends with the lab.
func startTmux(t *testing.T, l *lab.Lab) *multiplexer {
	t.Helper()
	return &multiplexer{t, tmux.Start(t, l.Gateway, t.TempDir())}
}

// open runs a shell's command line in a terminal of that size and name.
func (m *multiplexer) open(name string, width, height int, command string) {
	m.Helper()
	m.Tmux("new-session", "-d", "-s", name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		command+`; echo "exit code $?"; sleep 1000`)
}

func (m *multiplexer) page(name string) string { return m.Tmux("capture-pane", "-p", "-t", name) }

func (m *multiplexer) eventually(what string, holds func() bool) {
	m.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// shows waits until a page has all those texts, and returns it.
func (m *multiplexer) shows(name string, texts ...string) (page string) {
	m.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		page = m.page(name)
		missing := ""
		for _, text := range texts {
			if !strings.Contains(page, text) {
				missing = text
			}
		}
		if missing == "" {
			return page
		}
		if time.Now().After(end) {
			m.Fatalf("waited %v in vain for %q on the page\n%s", patience, missing, page)
		}
	}
}

func (m *multiplexer) press(name string, keys ...string) {
	m.Helper()
	m.Tmux(append([]string{"send-keys", "-t", name}, keys...)...)
}

// The page of the real daemon, on a real terminal, through a fault, the daemon's
// death and its return.
func TestOnATerminal(t *testing.T) {
	swerve := binary(t)
	l := lab.NewTest(t, lab.Options{})
	daemon := startDaemon(t, l, swerve)
	m := startTmux(t, l)
	command := swerve + " tui --socket " + filepath.Join(daemon.Dir, "sock")
	m.open("page", 80, 24, command)
	t.Log("\n" + m.shows("page", "● OK", "► fiber", "IPv4  ● up", "IPv6  ● up", "203.0.113.1", "default  IPv4 fiber  IPv6 fiber"))

	onset := time.Now()
	fault, err := l.Fault(0, "carrier")
	if err != nil {
		t.Fatal(err)
	}
	page := m.shows("page", "◐ WARNING", "× down", "└ no carrier", "► lte", "IPv4 lte", "failover fiber → lte")
	t.Logf("the fault is on the page after %v\n%s", time.Since(onset).Round(10*time.Millisecond), page)
	for _, s := range [][2]int{{120, 40}, {60, 20}, {80, 24}} {
		m.Tmux("resize-window", "-t", "page", "-x", fmt.Sprint(s[0]), "-y", fmt.Sprint(s[1]))
		m.eventually("a page of that size", func() bool { return m.fits("page", s[0], s[1]) })
	}
	if err := fault.Undo(); err != nil {
		t.Fatal(err)
	}
	m.shows("page", "● OK", "► fiber", "failback lte → fiber")

	if err := daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + m.shows("page", "? was OK", "NOT CONNECTED for", "connection refused", " old"))
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	m.shows("page", "● OK", "live ", "none since the daemon's start")

	m.press("page", "?")
	m.shows("page", "not measured")
	m.press("page", "Escape")
	m.shows("page", "EVENTS ↕")
	m.press("page", "q")
	m.shows("page", "exit code 0")
}

// fits reports whether the title of the last section reaches to the right edge, and
// the keys are on the last line.
func (m *multiplexer) fits(name string, width, height int) bool {
	lines := strings.Split(strings.TrimRight(m.page(name), "\n"), "\n")
	if len(lines) != height || !strings.HasPrefix(lines[height-1], "q quit") {
		return false
	}
	for _, l := range lines {
		if strings.HasPrefix(l, "EVENTS") {
			return len([]rune(l)) == width
		}
	}
	return false
}

// Without a daemon the page says so, and so does the exit code; NO_COLOR has no
// colours, and else there are some.
func TestOnATerminalWithoutDaemon(t *testing.T) {
	swerve := binary(t)
	l := lab.NewTest(t, lab.Options{Uplinks: 1, NoIPv6: true})
	m := startTmux(t, l)
	nowhere := filepath.Join(t.TempDir(), "sock")
	command := swerve + " tui --socket " + nowhere
	for name, coloured := range map[string]bool{"plain": false, "coloured": true} {
		line := command
		if !coloured {
			line = "NO_COLOR=1 " + command
		}
		m.open(name, 80, 24, line)
		m.shows(name, "NOT CONNECTED: no daemon answers: there is no such socket", nowhere)
		if got := strings.Contains(m.Tmux("capture-pane", "-p", "-e", "-t", name), "\x1b["); got != coloured {
			t.Errorf("%s: colours: %v", name, got)
		}
		m.press(name, "q")
		m.shows(name, "exit code 3", "swerve: read the status from")
	}
	m.open("piped", 80, 24, command+" | cat")
	m.shows("piped", "swerve: show the dashboard on standard output: it is not a terminal; use")
	m.open("dumb", 80, 24, "TERM=dumb "+command)
	m.shows("dumb", "exit code 1", `it is of the kind "dumb"`)
	m.open("fed", 80, 24, command+" < /dev/null")
	m.shows("fed", "exit code 1", "standard input: it is not a terminal")
}
