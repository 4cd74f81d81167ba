package tui

import (
	"strings"
	"time"

	human "swerve/control/say"
)

// size is the extent of a terminal, or of a part of it, in cells.
type size struct{ width, height int }

// canvas is what a screen is drawn on: the theme of the terminal, the room that there
// is, and the moment that is shown, which does not advance during a pause.
type canvas struct {
	*theme
	size
	now time.Time
}

// draw turns a line into text for the terminal, cut to the width of the canvas.
func (c *canvas) draw(l line) string {
	var b strings.Builder
	width := c.width
	for i, s := range l {
		room := width
		if width -= s.columns(); width < 0 {
			s.text = cut(s.text, room, c.ellipsis)
		}
		if i == len(l)-1 || width <= 0 {
			s.text = strings.TrimRight(s.text, " ")
		}
		b.WriteString(c.paint(s))
		if width <= 0 {
			break
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// text draws exactly as many lines as the canvas has; missing ones are empty.
func (c *canvas) text(lines []line) string {
	drawn := make([]string, c.height)
	for i := range min(len(lines), c.height) {
		drawn[i] = c.draw(lines[i])
	}
	return strings.Join(drawn, "\n")
}

// spread puts left at the beginning and right at the end of a line; where both do not
// fit, left is cut.
func (c *canvas) spread(left, right line) line {
	room := c.width - right.columns()
	if right.columns() > 0 {
		room -= 2
	}
	return c.cutLine(left, room).padTo(c.width - right.columns()).and(right...)
}

// cutLine returns the beginning of a line, of at most n cells.
func (c *canvas) cutLine(l line, n int) line {
	if l.columns() <= n {
		return l
	}
	var out line
	for _, s := range l {
		w := s.columns()
		if w > n {
			return append(out, span{cut(s.text, n, c.ellipsis), s.tone})
		}
		out, n = append(out, s), n-w
	}
	return out
}

// title is the first line of a section: its name, a remark, which may be empty, and a
// rule up to the end of the line.
func (c *canvas) title(name, remark string) line {
	l := line{say(strong, name), blank(1)}
	if remark != "" {
		l = l.and(say(faint, remark), blank(1))
	}
	l = c.cutLine(l, c.width)
	return l.and(span{strings.Repeat(c.rule, max(c.width-l.columns(), 0)), faint})
}

// hanging wraps a text into at most so many lines, all of which start at the column
// indent; the first follows begin.
func (c *canvas) hanging(begin line, indent, most int, how tone, text string) (lines []line) {
	for i, l := range wrap(human.Clean(text), c.width-indent, most, c.ellipsis) {
		if i > 0 {
			begin = nil
		}
		lines = append(lines, begin.padTo(indent).and(say(how, l)))
	}
	return lines
}
