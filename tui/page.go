package tui

import (
	"strings"
	"time"
)

// The least terminal on which a page is drawn.
const (
	leastWidth  = 40
	leastHeight = 10
)

// size is the terminal's, in cells.
type size struct{ width, height int }

// view is what the user set.
type view struct {
	focus  part
	scroll [parts]int // how far each part is from its place of rest
	span   int        // an index of spans
	doubts bool       // events that only tell of doubts are shown
	help   bool
	// paused is since when the page stands still; zero while it does not.
	paused time.Time
}

// page is all that the picture depends on.
type page struct {
	*theme
	snap *Snapshot
	view view
	size size
	now  time.Time
}

// String draws the page: just as many lines as the terminal has.
func (p *page) String() string {
	lines := p.lines()
	var b strings.Builder
	for i := range p.size.height {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i < len(lines) {
			b.WriteString(p.draw(lines[i], p.size.width))
		}
	}
	return b.String()
}

func (p *page) lines() []line {
	switch {
	case p.size.width < leastWidth || p.size.height < leastHeight:
		return p.tooSmall()
	case p.view.help:
		return p.under(p.help())
	case p.snap.Status == nil:
		return p.under(p.offline())
	}
	return p.under(p.body())
}

// under puts the keys below the lines of a body, on the last line.
func (p *page) under(body []line) []line {
	lines := append([]line{p.head()}, body...)
	lines = lines[:min(len(lines), p.size.height-1)]
	for len(lines) < p.size.height-1 {
		lines = append(lines, nil)
	}
	return append(lines, p.foot())
}

func (p *page) tooSmall() []line {
	return []line{{say(strong, "swerve")}, {say(plain, "The terminal is too small.")}}
}

// body is the sections in their order, each as high as the layout says.
func (p *page) body() []line {
	lines := p.banner()
	for _, s := range p.layout() {
		if s.spaced {
			lines = append(lines, nil)
		}
		lines = append(lines, s.draw()...)
	}
	if !p.live() {
		for i := range lines {
			lines[i] = lines[i].aged()
		}
	}
	return lines
}

// moment is when the page is of: it stands still while it is paused.
func (p *page) moment() time.Time {
	if !p.view.paused.IsZero() {
		return p.view.paused
	}
	return p.now
}

// live reports whether the page tells what holds at its moment.
func (p *page) live() bool { return p.snap.live(p.moment()) }

// aged is the line without the colours of a present that it may not be.
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
