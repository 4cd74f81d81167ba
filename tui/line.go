package tui

import (
	"slices"
	"strings"

	human "swerve/control/say"
)

// span is a piece of text in one tone. Its text is clean: say makes it so, and
// nothing else makes one.
type span struct {
	text string
	tone tone
}

// say returns a span of a text from anywhere.
func say(how tone, text string) span { return span{human.Clean(text), how} }

// columns is how many cells a span takes.
func (s span) columns() int { return columns(s.text) }

// line is one line of the page.
type line []span

func (l line) columns() (n int) {
	for _, s := range l {
		n += s.columns()
	}
	return n
}

// blank is a piece of n spaces.
func blank(n int) span { return span{strings.Repeat(" ", max(n, 0)), plain} }

// padTo fills the line up to a column with spaces.
func (l line) padTo(column int) line { return l.and(blank(column - l.columns())) }

// and returns the line with more spans at its end; the line itself stays.
func (l line) and(more ...span) line { return append(slices.Clip(l), more...) }

// draw turns a line into text for the terminal, cut to width cells.
func (t *theme) draw(l line, width int) string {
	var b strings.Builder
	for i, s := range l {
		room := width
		if width -= s.columns(); width < 0 {
			s.text = cut(s.text, room, t.ellipsis)
		}
		if i == len(l)-1 || width <= 0 {
			s.text = strings.TrimRight(s.text, " ")
		}
		b.WriteString(t.paint(s))
		if width <= 0 {
			break
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func (t *theme) paint(s span) string {
	if s.text == "" || s.tone == plain {
		return s.text
	}
	return t.styles[s.tone].Render(s.text)
}

// spread puts left at the beginning and right at the end of a line of width cells;
// where both do not fit, left is cut.
func (t *theme) spread(left, right line, width int) line {
	room := width - right.columns()
	if right.columns() > 0 {
		room -= 2
	}
	return t.cutLine(left, room).padTo(width - right.columns()).and(right...)
}

// cutLine is the line's beginning of at most n cells.
func (t *theme) cutLine(l line, n int) line {
	if l.columns() <= n {
		return l
	}
	var out line
	for _, s := range l {
		w := s.columns()
		if w > n {
			return append(out, span{cut(s.text, n, t.ellipsis), s.tone})
		}
		out, n = append(out, s), n-w
	}
	return out
}

// title begins a section: its name, what is to be said beside it, and a rule up to
// the end of the line.
func (t *theme) title(name string, more line, width int) line {
	l := append(line{say(strong, name), blank(1)}, more...)
	if len(more) > 0 {
		l = l.and(blank(1))
	}
	l = t.cutLine(l, width)
	return l.and(span{strings.Repeat(t.rule, max(width-l.columns(), 0)), faint})
}
