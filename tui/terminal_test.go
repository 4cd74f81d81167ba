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

// The page of the real daemon, on a real terminal, through a fault, the daemon's
// death and its return.
func TestOnATerminal(t *testing.T) {
	swerve := binary(t)
	l := lab.NewTest(t, lab.Options{})
	daemon, g := l.Drive(t, lab.Setup{Binary: swerve, Config: forgiving})
	g.Start()
	m := tmux.Start(t, l.Gateway, t.TempDir())
	command := swerve + " tui --socket " + daemon.Socket()
	m.Open("page", 80, 24, command)
	t.Log("\n" + m.Shows("page", "● OK", "► fiber", "IPv4  ● up", "IPv6  ● up", "203.0.113.1", "default  IPv4 fiber  IPv6 fiber"))

	onset := time.Now()
	fault := g.Break(lab.Fiber, "carrier")
	page := m.Shows("page", "◐ WARNING", "× down", "└ no carrier", "► lte", "IPv4 lte", "failover fiber → lte")
	t.Logf("the fault is on the page after %v\n%s", time.Since(onset).Round(10*time.Millisecond), page)
	for _, s := range [][2]int{{120, 40}, {60, 20}, {80, 24}} {
		m.Tmux("resize-window", "-t", "page", "-x", fmt.Sprint(s[0]), "-y", fmt.Sprint(s[1]))
		wait.For(t, "a page of that size", func() bool { return fits(m.Page("page"), s[0], s[1]) })
	}
	g.Mend(fault)
	m.Shows("page", "● OK", "► fiber", "failback lte → fiber")

	g.Kill()
	t.Log("\n" + m.Shows("page", "? was OK", "NOT CONNECTED for", "connection refused", " old"))
	g.Start()
	m.Shows("page", "● OK", "live ")

	m.Press("page", "?")
	m.Shows("page", "not measured")
	m.Press("page", "Escape")
	m.Shows("page", "EVENTS ↕")
	m.Press("page", "q")
	m.Shows("page", "exit code 0")
}

// fits reports whether the title of the last section of a page reaches to the right
// edge, and the keys are on the last line.
func fits(page string, width, height int) bool {
	lines := strings.Split(strings.TrimRight(page, "\n"), "\n")
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
	m := tmux.Start(t, l.Gateway, t.TempDir())
	nowhere := filepath.Join(t.TempDir(), "sock")
	command := swerve + " tui --socket " + nowhere
	for name, coloured := range map[string]bool{"plain": false, "coloured": true} {
		line := command
		if !coloured {
			line = "NO_COLOR=1 " + command
		}
		m.Open(name, 80, 24, line)
		m.Shows(name, "NOT CONNECTED: no daemon answers: there is no such socket", nowhere)
		if got := strings.Contains(m.Tmux("capture-pane", "-p", "-e", "-t", name), "\x1b["); got != coloured {
			t.Errorf("%s: colours: %v", name, got)
		}
		m.Press(name, "q")
		m.Shows(name, "exit code 3", "swerve: read the status from")
	}
	m.Open("piped", 80, 24, command+" | cat")
	m.Shows("piped", "swerve: show the dashboard on standard output: it is not a terminal; use")
	m.Open("dumb", 80, 24, "TERM=dumb "+command)
	m.Shows("dumb", "exit code 1", `its TERM is "dumb"`)
	m.Open("fed", 80, 24, command+" < /dev/null")
	m.Shows("fed", "exit code 1", "standard input: it is not a terminal")
}
