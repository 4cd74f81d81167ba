package tui

import (
	"slices"
	"strings"

	human "swerve/control/say"
)

// span is a piece of text in one tone. Its text is clean: say makes it so, and the
// few spans that are made without say are of texts that are clean already.
type span struct {
	text string
	tone tone
}

// say returns a span of a text from any source, which it cleans.
func say(how tone, text string) span { return span{human.Clean(text), how} }

// columns returns how many cells a span takes.
func (s span) columns() int { return columns(s.text) }

// line is one line of a screen.
type line []span

func (l line) columns() (n int) {
	for _, s := range l {
		n += s.columns()
	}
	return n
}

// blank returns n spaces.
func blank(n int) span { return span{strings.Repeat(" ", max(n, 0)), plain} }

// padTo returns the line filled with spaces up to a column.
func (l line) padTo(column int) line { return l.and(blank(column - l.columns())) }

// and returns the line with more spans at its end; the line itself stays.
func (l line) and(more ...span) line { return append(slices.Clip(l), more...) }

// from returns the line without its first n cells.
func (l line) from(n int) line {
	for i, s := range l {
		if w := s.columns(); w > n {
			return append(line{{s.text[len(fit(s.text, n)):], s.tone}}, l[i+1:]...)
		}
		n -= s.columns()
	}
	return nil
}

// aged returns the line without the colours that would present old states as current.
func (l line) aged() line {
	out := make(line, len(l))
	for i, s := range l {
		if s.tone == good || s.tone == warn || s.tone == bad {
			s.tone = faint
		}
		out[i] = s
	}
	return out
}
