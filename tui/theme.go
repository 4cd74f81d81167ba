package tui

import (
	"io"

	"github.com/charmbracelet/lipgloss"

	"swerve/control"
)

// tone is how a piece of text is emphasised. It repeats what the text says: without
// colours, as on some terminals or with NO_COLOR, nothing is lost.
type tone int

const (
	plain  tone = iota
	faint       // less important: titles, rules, units
	strong      // what a reader looks for first
	good
	warn
	bad
	alarm // bad and urgent
)

// theme is the appearance of the dashboard on one terminal: its signs and colours.
type theme struct {
	glyphs
	styles [alarm + 1]lipgloss.Style
}

// newTheme returns the theme for the terminal w. Whether it has colours depends on its
// type and on NO_COLOR (no-color.org). The colours are from the terminal's own palette,
// so that they suit dark and light ones. With ascii nothing but ASCII is drawn, for
// terminals and fonts without other characters.
func newTheme(w io.Writer, ascii bool) *theme {
	r := lipgloss.NewRenderer(w)
	r.SetHasDarkBackground(true) // otherwise it would query the terminal, and get no answer
	r.ColorProfile()             // decides now instead of at the first use
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

// glyphs are the signs of the dashboard. Marks, rule and bars take one cell each.
type glyphs struct {
	full, half, empty, cross, dot string // marks of states
	carries                       string // before the name of an uplink that carries traffic
	rule, to, down, up, scroll    string
	ellipsis, between, hook, upTo string
	bar                           [8]string // of trends, from the lowest
}

var unicodeGlyphs = glyphs{
	full: "●", half: "◐", empty: "○", cross: "×", dot: "·",
	carries: "►",
	rule:    "─", to: "→", down: "↓", up: "↑", scroll: "↕",
	ellipsis: "…", between: " · ", hook: "└", upTo: "–",
	bar: [...]string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
}

var asciiGlyphs = glyphs{
	full: "*", half: "~", empty: "o", cross: "x", dot: ".",
	carries: ">",
	rule:    "-", to: "->", down: "v", up: "^", scroll: "|",
	ellipsis: "...", between: ", ", hook: "`", upTo: "-",
	bar: [...]string{"_", ".", ":", "=", "+", "*", "#", "@"},
}

// paint returns the text of a span with the terminal's codes for its tone.
func (t *theme) paint(s span) string {
	if s.text == "" || s.tone == plain {
		return s.text
	}
	return t.styles[s.tone].Render(s.text)
}

// stateSpan returns a state with its mark.
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

// severityTone returns the tone of a problem, or of the overall state.
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

// severityMark returns the sign that precedes the word for a severity.
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
