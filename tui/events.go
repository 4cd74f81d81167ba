package tui

import (
	"cmp"
	"fmt"
	"slices"

	"swerve/control"
	human "swerve/control/say"
)

// events lists what happened, the newest at the bottom.
func (p *picture) events() section {
	all := p.snap.events
	remark := ""
	if !p.set.doubts {
		all = worthwhile(all)
		if n := len(p.snap.events) - len(all); n > 0 {
			remark = fmt.Sprintf("%d doubts hidden (f)", n)
		}
	}
	if p.snap.Deaf != nil && p.snap.Outage == nil {
		remark = human.Join(p.between, "none come in: "+cause(p.snap.Deaf), remark)
	}
	return section{
		part: eventsPart, name: "EVENTS", remark: remark, least: 2, want: len(all), leave: 3, tail: true,
		limit: func(int) int { return max(len(all)-1, 0) },
		window: func(rows, scroll int) ([]line, string) {
			return p.eventLines(all, rows, scroll)
		},
	}
}

// eventLines returns the last rows lines up to an event: the newest, or the one that
// scroll counts back to.
func (p *picture) eventLines(all []entry, rows, scroll int) ([]line, string) {
	if len(all) == 0 {
		return []line{{blank(2), say(faint, "none yet")}}, ""
	}
	each := 2 // at most, for one event
	if rows < 6 {
		each = 1
	}
	end := len(all) - scroll
	wide := 0 // the longest time: that of an event of another day
	for _, e := range all[max(end-rows, 0):end] {
		wide = max(wide, len(p.eventTime(e.Event)))
	}
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

// noTypes is the width below which the type of an event is left out, as the text
// implies it.
const noTypes = 72

func (p *picture) eventTime(e control.Event) string {
	return human.Moment(p.snap.Status.Now, e.Time)
}

// event returns one event in at most so many lines. Its time takes wide cells.
func (p *picture) event(e control.Event, wide, most int) []line {
	cols := []column{{width: wide, right: true}}
	if p.width >= noTypes {
		cols = append(cols, column{width: len(control.EventSessions)})
	}
	t := p.table(p.width, cols...)
	begin := line{blank(2)}.and(t.row(textCell(faint, p.eventTime(e)), textCell(eventTone(e), string(e.Type())))...)
	return p.hanging(begin, begin.columns()+gap, most, plain, p.eventPhrase(e))
}

// eventTone returns the tone of the type of an event.
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

func (p *picture) eventPhrase(e control.Event) string {
	return cmp.Or(p.phrases().Event(e), string(e.Type()))
}

// phrases are the words for events, with the arrow of the theme.
func (p *picture) phrases() human.Phrases {
	return human.Phrases{Arrow: p.to, Now: p.snap.Status.Now}
}
