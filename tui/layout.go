package tui

import (
	"fmt"

	human "swerve/control/say"
)

// part is a section of the page.
type part int

// The parts, in the order of the page.
const (
	uplinksPart part = iota
	problemsPart
	policiesPart
	switchPart
	eventsPart
	parts
)

// leaving is the order in which parts leave a page that is too low for all. The
// uplinks never do.
var leaving = []part{switchPart, policiesPart, eventsPart, problemsPart}

// growing is the order in which parts get the lines that are to spare. The events
// take what is left.
var growing = []part{uplinksPart, problemsPart, switchPart, policiesPart}

// section is a part with its place on the page.
type section struct {
	part part
	// title is drawn with what is to be said of the scrolling.
	title func(scrolled string) line
	// window returns at most rows lines of the body, after as many as the scrolling
	// says, and what to say of it.
	window func(rows, scroll int) (lines []line, scrolled string)
	// least is how many rows the body needs, want how many it has, limit how far
	// it can be scrolled when it has so many rows.
	least, want int
	limit       func(rows int) int

	rows   int // of the body, as laid out; -1: the section left
	scroll int
	spaced bool // an empty line is before it
}

func (s *section) draw() []line {
	lines, scrolled := s.window(s.rows, s.scroll)
	return append([]line{s.title(scrolled)}, lines...)
}

// room is how many lines the sections have.
func (p *page) room() int { return p.size.height - 2 - len(p.banner()) }

// layout decides which sections are shown, and how high.
func (p *page) layout() []section {
	all := p.sections()
	left := allot(all, p.room())
	space(all, left)
	var shown []section
	for _, s := range all {
		if s.rows >= 0 {
			s.scroll = min(max(p.view.scroll[s.part], 0), s.limit(s.rows))
			shown = append(shown, s)
		}
	}
	return shown
}

// sections are those that have something to show, in the order of the page.
func (p *page) sections() []section {
	all := []section{p.problems(), p.policies(), p.lastSwitch(), p.events()}
	if len(p.snap.Status.Problems) == 0 {
		all = all[1:]
	}
	others := 0
	for _, s := range all {
		others += 1 + s.least
	}
	return append([]section{p.uplinks(p.room() - others)}, all...)
}

// allot gives each section its rows out of room, and returns what is left over.
func allot(all []section, room int) int {
	for i := range all {
		all[i].rows = all[i].least
		room -= 1 + all[i].least
	}
	for _, id := range leaving {
		if s := find(all, id); room < 0 && s != nil {
			room += 1 + s.rows
			s.rows = -1
		}
	}
	for _, id := range growing {
		if s := find(all, id); s != nil && s.rows >= 0 && room > 0 {
			more := min(s.want-s.rows, room)
			s.rows += more
			room -= more
		}
	}
	return room
}

// space spends what is left over: on empty lines between the sections where there
// is plenty, and on events.
func space(all []section, room int) {
	const plenty = 4 // rows more of events come before the looks
	if gaps := len(all); room >= gaps+plenty {
		for i := range all {
			all[i].spaced = true
		}
		room -= gaps
	}
	if s := find(all, eventsPart); s != nil && s.rows >= 0 {
		s.rows += max(room, 0)
	}
}

func find(all []section, id part) *section {
	for i := range all {
		if all[i].part == id {
			return &all[i]
		}
	}
	return nil
}

// fixed makes a section of a body that is all there.
func (p *page) fixed(id part, least int, body []line, title func(scrolled string) line) section {
	limit := func(rows int) int { return max(len(body)-rows, 0) }
	return section{
		part: id, title: title, least: min(least, len(body)), want: len(body), limit: limit,
		window: func(rows, scroll int) ([]line, string) {
			shown := body[scroll:min(scroll+rows, len(body))]
			return shown, p.scrolled(scroll, len(shown), len(body))
		},
	}
}

// scrolled says which lines of how many are seen, where that is not all.
func (p *page) scrolled(from, n, all int) string {
	if n >= all {
		return ""
	}
	return fmt.Sprintf("%d%s%d of %d", from+1, p.upTo, from+n, all)
}

// heading is a section's name, marked where the keys for scrolling go to it.
func (p *page) heading(id part, name string) string {
	if p.view.focus == id {
		return name + " " + p.theme.scroll
	}
	return name
}

// ruled is a title with a rule, and what is to be said beside it.
func (p *page) ruled(id part, name string, more string) func(string) line {
	return func(scrolled string) line {
		var beside line
		if text := human.Join(p.between, more, scrolled); text != "" {
			beside = line{say(faint, text)}
		}
		return p.theme.title(p.heading(id, name), beside, p.size.width)
	}
}
