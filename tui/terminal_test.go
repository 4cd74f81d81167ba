package tui_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/tmux"
	"swerve/testenv/wait"
)

// forgiving has two uplinks, and forgives soon.
const forgiving = lab.TwoUplinks + `health: {damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// binary builds cmd/swerve.
func binary(t *testing.T) string {
	t.Helper()
	path, err := lab.Build(t.TempDir(), "cmd/swerve")
	if err != nil {
		t.Fatal(err)
	}
	return path
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
	if err := wait.Until(m.Context(), what, holds); err != nil {
		m.Fatal(err)
	}
}

// shows waits until a page has all those texts, and returns it.
func (m *multiplexer) shows(name string, texts ...string) (page string) {
	m.Helper()
	missing := ""
	err := wait.Until(m.Context(), fmt.Sprintf("a page with %q", texts), func() bool {
		page, missing = m.page(name), ""
		for _, text := range texts {
			if !strings.Contains(page, text) {
				missing = text
			}
		}
		return missing == ""
	})
	if err != nil {
		m.Fatalf("%v; %q is not on\n%s", err, missing, page)
	}
	return page
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
	daemon, g := l.Drive(t, lab.Setup{Binary: swerve, Config: forgiving})
	g.Start()
	m := startTmux(t, l)
	command := swerve + " tui --socket " + daemon.Socket()
	m.open("page", 80, 24, command)
	t.Log("\n" + m.shows("page", "● OK", "► fiber", "IPv4  ● up", "IPv6  ● up", "203.0.113.1", "default  IPv4 fiber  IPv6 fiber"))

	onset := time.Now()
	fault := g.Break(lab.Fiber, "carrier")
	page := m.shows("page", "◐ WARNING", "× down", "└ no carrier", "► lte", "IPv4 lte", "failover fiber → lte")
	t.Logf("the fault is on the page after %v\n%s", time.Since(onset).Round(10*time.Millisecond), page)
	for _, s := range [][2]int{{120, 40}, {60, 20}, {80, 24}} {
		m.Tmux("resize-window", "-t", "page", "-x", fmt.Sprint(s[0]), "-y", fmt.Sprint(s[1]))
		m.eventually("a page of that size", func() bool { return m.fits("page", s[0], s[1]) })
	}
	g.Mend(fault)
	m.shows("page", "● OK", "► fiber", "failback lte → fiber")

	g.Kill()
	t.Log("\n" + m.shows("page", "? was OK", "NOT CONNECTED for", "connection refused", " old"))
	g.Start()
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
