package tui

import (
	"cmp"
	"fmt"
	"slices"

	"swerve/control"
	human "swerve/control/say"
)

// events shows what happened, the newest at the bottom.
func (p *page) events() section {
	all := p.snap.events
	about := ""
	if !p.view.doubts {
		all = worthwhile(all)
		if n := len(p.snap.events) - len(all); n > 0 {
			about = fmt.Sprintf("%d doubts hidden (f)", n)
		}
	}
	if p.snap.Deaf != nil && p.snap.Outage == nil {
		about = human.Join(p.between, "none come in: "+cause(p.snap.Deaf), about)
	}
	return section{
		part: eventsPart, title: p.ruled(eventsPart, "EVENTS", about), least: 2, want: len(all),
		limit: func(int) int { return max(len(all)-1, 0) },
		window: func(rows, scroll int) ([]line, string) {
			return p.eventLines(all, rows, scroll)
		},
	}
}

// eventLines are the last lines up to the event that scroll says, counted from the
// newest.
func (p *page) eventLines(all []entry, rows, scroll int) ([]line, string) {
	if len(all) == 0 {
		return []line{{blank(2), say(faint, "none yet")}}, ""
	}
	each := 2 // lines for one
	if rows < 6 {
		each = 1
	}
	end := len(all) - scroll
	wide := p.timeWidth(all[max(end-rows, 0):end])
	var blocks [][]line
	used, i := 0, end
	for ; i > 0 && used < rows; i-- {
		block := p.event(all[i-1].Event, wide, min(each, rows-used))
		blocks = append(blocks, block)
		used += len(block)
	}
	slices.Reverse(blocks)
	lines := slices.Concat(blocks...)
	scrolled := fmt.Sprintf("%d of %d", end, len(all))
	if scroll == 0 {
		scrolled = ""
	}
	return lines, scrolled
}

// noTypes is the width under which the type of an event is left out: what happened
// tells it.
const noTypes = 72

// timeWidth is how wide the times of events are: wider where one is of another day.
func (p *page) timeWidth(events []entry) (n int) {
	for _, e := range events {
		n = max(n, len(p.eventTime(e.Event)))
	}
	return n
}

func (p *page) eventTime(e control.Event) string {
	return human.Moment(p.snap.Status.Now, e.Time)
}

// event is one event over at most so many lines. Its time takes wide cells.
func (p *page) event(e control.Event, wide, most int) []line {
	cols := []column{{width: wide, right: true}}
	if p.size.width >= noTypes {
		cols = append(cols, column{width: len(control.EventSessions)})
	}
	t := layOut(cols, p.size.width)
	begin := line{blank(2)}.and(t.row(p.theme, textCell(faint, p.eventTime(e)), textCell(eventTone(e), string(e.Type())))...)
	return p.hanging(begin, begin.columns()+gap, most, p.eventPhrase(e))
}

// eventTone is how the type of an event looks.
func eventTone(e control.Event) tone {
	switch d := e.Detail.(type) {
	case control.SwitchDetail:
		return strong
	case control.HealthDetail:
		switch d.To {
		case control.Up:
			return good
		case control.Down, control.Shunned:
			return bad
		}
		return warn
	}
	return plain
}

func (p *page) eventPhrase(e control.Event) string {
	return cmp.Or(p.phrases().Event(e), string(e.Type()))
}

// phrases are the words for events, with the arrow of the theme.
func (p *page) phrases() human.Phrases {
	return human.Phrases{Arrow: p.to, Now: p.snap.Status.Now}
}
