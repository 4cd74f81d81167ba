package tui

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

var sizes = []size{{80, 24}, {120, 40}, {60, 20}}

// states are the situations that every size is drawn in.
var states = []struct {
	name string
	snap func() *Snapshot
}{
	{"all-up", allUp}, {"carrier-lost", carrierLost}, {"degraded", degraded}, {"no-daemon", noDaemon},
	{"stale", stale}, {"crowd", crowd}, {"long-names", longNames},
}

// looks returns the theme of a terminal without colours.
func looks() *theme { return newTheme(new(strings.Builder), false) }

// colours returns the theme of a terminal with colours.
func colours(t *testing.T) *theme {
	t.Setenv("CLICOLOR_FORCE", "1")
	return newTheme(new(strings.Builder), false)
}

// modelOf returns a model that shows a snapshot.
func modelOf(looks *theme, snap *Snapshot, s size) *model {
	m := newModel(nil, looks, snap.Socket, noon.Add(800*time.Millisecond))
	m.snap, m.size = snap, s
	return m
}

// pictureOf returns the overview of a snapshot.
func pictureOf(looks *theme, snap *Snapshot, s size) *picture {
	return newOverview().picture(&canvas{looks, s, noon}, snap)
}

func TestPages(t *testing.T) {
	for _, s := range sizes {
		for _, state := range states {
			name := fmt.Sprintf("%s-%dx%d", state.name, s.width, s.height)
			got := modelOf(looks(), state.snap(), s).View()
			golden(t, name, got+"\n")
			wellFormed(t, name, got, s)
		}
	}
}

// wellFormed checks that a page has exactly as many lines as the terminal, none wider
// than it, and no control characters.
func wellFormed(t *testing.T, name, got string, s size) {
	t.Helper()
	lines := strings.Split(got, "\n")
	if len(lines) != s.height {
		t.Errorf("%s: %d lines, want %d", name, len(lines), s.height)
	}
	for i, l := range lines {
		if columns(l) > s.width || strings.TrimRight(l, " ") != l {
			t.Errorf("%s: line %d has %d columns, or a space at its end: %q", name, i+1, columns(l), l)
		}
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' || r == '\u200b' }) {
			t.Errorf("%s: line %d controls the terminal: %q", name, i+1, l)
		}
	}
}

// The page fits any size of terminal, in every state.
func TestPagesOfAnySize(t *testing.T) {
	for _, state := range states {
		snap := state.snap()
		for width := 1; width < 180; width += 13 {
			for height := 1; height < 60; height += 5 {
				for _, help := range []bool{false, true} {
					p := modelOf(looks(), snap, size{width, height})
					p.help = help
					if width < leastWidth && height < 2 {
						continue
					}
					wellFormed(t, fmt.Sprintf("%s %dx%d", state.name, width, height), p.View(), p.size)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// drawAll draws every state in every size.
func drawAll(looks *theme) (pages []string) {
	for _, state := range states {
		for _, s := range sizes {
			pages = append(pages, modelOf(looks, state.snap(), s).View())
		}
	}
	return pages
}

// Colours change nothing else, and NO_COLOR removes all of them.
func TestColours(t *testing.T) {
	bare := drawAll(looks())
	coloured := drawAll(colours(t))
	golden(t, "colours-80x24", modelOf(colours(t), carrierLost(), sizes[0]).View()+"\n")
	golden(t, "colours-stale-80x24", modelOf(colours(t), stale(), sizes[0]).View()+"\n")
	t.Setenv("NO_COLOR", "1")
	none := drawAll(colours(t))
	for i := range bare {
		if got := sgr.ReplaceAllString(coloured[i], ""); got != bare[i] || coloured[i] == bare[i] {
			t.Errorf("without its colours:\n%s\nwant\n%s", got, bare[i])
		}
		if none[i] != bare[i] {
			t.Errorf("with NO_COLOR:\n%q\nwant\n%q", none[i], bare[i])
		}
	}
}

// The events take no more rows than they have, and the first line starts an event.
func TestEventsAreWhole(t *testing.T) {
	begins := regexp.MustCompile(`^ +(\d\d-\d\d )?\d\d:`)
	for _, width := range []int{60, 80, 120} {
		p := pictureOf(looks(), carrierLost(), size{width, 24})
		for rows := 1; rows < 30; rows++ {
			lines, _ := p.eventLines(p.snap.events, rows, 0)
			if len(lines) > rows || !begins.MatchString(p.draw(lines[0])) {
				t.Errorf("%d columns: %d lines for %d rows, from %q", width, len(lines), rows, p.draw(lines[0]))
			}
		}
	}
}

func TestASCII(t *testing.T) {
	got := modelOf(newTheme(new(strings.Builder), true), degraded(), sizes[0]).View()
	golden(t, "ascii-80x24", got+"\n")
	if strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
		t.Errorf("not ASCII:\n%s", got)
	}
}

func TestHelpPage(t *testing.T) {
	for _, s := range []size{{80, 24}, {60, 20}} {
		p := modelOf(looks(), allUp(), s)
		p.help = true
		got := p.View()
		golden(t, fmt.Sprintf("help-%dx%d", s.width, s.height), got+"\n")
		if !strings.Contains(got, p.snap.Socket) || !strings.Contains(got, "not measured") {
			t.Errorf("%v: the end of the help is missing:\n%s", s, got)
		}
	}
}

// A paused page shows the moment at which the pause began.
func TestPausedPage(t *testing.T) {
	p := modelOf(looks(), allUp(), sizes[0])
	live := p.View()
	p.frozen, p.paused, p.now = p.snap, noon.Add(time.Second), noon.Add(time.Hour)
	got := strings.Split(p.View(), "\n")
	if !strings.HasSuffix(got[0], "PAUSED 59m59s") || !strings.HasPrefix(got[0], "● OK") {
		t.Errorf("head %q", got[0])
	}
	want := strings.Split(live, "\n")
	if a, b := strings.Join(got[1:23], "\n"), strings.Join(want[1:23], "\n"); a != b {
		t.Errorf("the rest changed:\n%s\nwant\n%s", a, b)
	}
}

// What is not measured is "-", and a measured 0 is not.
func TestUnknownIsNotZero(t *testing.T) {
	snap := allUp()
	u := &snap.Status.Uplinks[1]
	u.RxBPS, u.TxBPS, u.IPv4.Loss, u.IPv4.RTTMS, u.IPv4.JitterMS = nil, nil, nil, nil, nil
	u.IPv4.Gateway, u.IPv4.Since = nil, control.Time{}
	snap.trends = trends{}
	for d, lines := range map[density]int{full: 3, compact: 2, dense: 1} {
		p := pictureOf(looks(), snap, size{160, 40})
		_, body := p.uplinkTable(d)
		var text strings.Builder
		for _, l := range body[len(body)-lines:] { // of the second uplink
			text.WriteString(p.draw(l) + "\n")
		}
		figures := strings.NewReplacer("IPv4", "", "IPv6", "", "wwan0", "").Replace(text.String())
		if strings.ContainsAny(figures, "0123456789▁") || strings.Count(figures, " -") < 4 {
			t.Errorf("density %d:\n%s", d, text.String())
		}
	}
}

func TestOutageThatHasNotFailedYet(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want string
	}{{2 * time.Second, "live "}, {4 * time.Second, "NO ANSWER for 4s"}} {
		snap := allUp()
		snap.Received = noon.Add(-c.age)
		p := modelOf(looks(), snap, sizes[0])
		p.now = noon
		if got := p.View(); !strings.Contains(got, c.want) {
			t.Errorf("after %v: no %q in\n%s", c.age, c.want, got)
		}
	}
	if got := modelOf(looks(), &Snapshot{Socket: "/s", trends: trends{}}, sizes[0]).View(); !strings.Contains(got, "Asking the daemon on /s") {
		t.Errorf("before the first answer:\n%s", got)
	}
}
