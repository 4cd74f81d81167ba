package tui

import (
	"io"

	"github.com/charmbracelet/lipgloss"

	"swerve/control"
)

// tone is what a piece of text means to the eye. It repeats what the text says: on
// a terminal without colours, or with NO_COLOR, nothing is lost.
type tone int

const (
	plain  tone = iota
	faint       // titles, rules, units: what is there to be overlooked
	strong      // what a reader looks for first
	good
	warn
	bad
	alarm // bad, and must be seen
)

// theme is how the page looks on one terminal.
type theme struct {
	glyphs
	styles [alarm + 1]lipgloss.Style
}

// newTheme returns the looks for the terminal w. Whether it has colours is for its
// kind and for NO_COLOR (no-color.org) to say. They are those of the terminal's own
// palette, so that they suit dark and light ones. With ascii nothing but ASCII is
// drawn, for terminals and fonts that have no more.
func newTheme(w io.Writer, ascii bool) *theme {
	r := lipgloss.NewRenderer(w)
	r.SetHasDarkBackground(true) // else it would ask the terminal, in vain
	r.ColorProfile()             // decides now, not at the first use
	style := r.NewStyle
	t := &theme{glyphs: unicodeGlyphs}
	if ascii {
		t.glyphs = asciiGlyphs
	}
	red, green, yellow := lipgloss.Color("1"), lipgloss.Color("2"), lipgloss.Color("3")
	t.styles = [...]lipgloss.Style{
		plain:  style(),
		faint:  style().Faint(true),
		strong: style().Bold(true),
		good:   style().Foreground(green),
		warn:   style().Foreground(yellow),
		bad:    style().Foreground(red),
		alarm:  style().Foreground(red).Bold(true),
	}
	return t
}

// glyphs are the signs of the page. Marks, rule and bars take one cell each.
type glyphs struct {
	full, half, empty, cross, dot string // marks of states
	carries                       string // before the name of an uplink that carries traffic
	rule, to, down, up, scroll    string
	ellipsis, between, hook, upTo string
	// bars are the levels of a trend, from the least.
	bars [8]string
}

var unicodeGlyphs = glyphs{
	full: "●", half: "◐", empty: "○", cross: "×", dot: "·",
	carries: "►",
	rule:    "─", to: "→", down: "↓", up: "↑", scroll: "↕",
	ellipsis: "…", between: " · ", hook: "└", upTo: "–",
	bars: [...]string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
}

var asciiGlyphs = glyphs{
	full: "*", half: "~", empty: "o", cross: "x", dot: ".",
	carries: ">",
	rule:    "-", to: "->", down: "v", up: "^", scroll: "|",
	ellipsis: "...", between: ", ", hook: "`", upTo: "-",
	bars: [...]string{"_", ".", ":", "=", "+", "*", "#", "@"},
}

// stateSpan is a state with its mark.
func (t *theme) stateSpan(s control.State) span {
	mark, how := t.empty, plain
	switch s {
	case control.Up:
		mark, how = t.full, good
	case control.Degraded, control.Suspect, control.Recovering:
		mark, how = t.half, warn
	case control.Down, control.Shunned:
		mark, how = t.cross, bad
	case control.Absent:
		mark, how = t.dot, faint
	}
	return say(how, mark+" "+string(s))
}

// severityTone is how a problem, or the whole, looks.
func severityTone(s control.Severity) tone {
	switch s {
	case control.OK:
		return good
	case control.Info:
		return plain
	case control.Warning:
		return warn
	}
	return alarm
}

// severityMark stands before the word.
func (t *theme) severityMark(s control.Severity) string {
	switch s {
	case control.OK:
		return t.full
	case control.Info:
		return t.empty
	case control.Warning:
		return t.half
	}
	return t.cross
}
