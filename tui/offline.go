package tui

import (
	"errors"
	"fmt"

	"swerve/control"
	human "swerve/control/say"
)

// offline is the page while no daemon has answered yet.
func (p *page) offline() []line {
	o := p.snap.Outage
	if o == nil {
		return []line{nil, {blank(2), say(plain, "Asking the daemon on "+p.snap.Socket)}}
	}
	lines := []line{nil, {blank(2), say(alarm, "NOT CONNECTED: "+cause(o.Err))}, nil}
	lines = append(lines, p.paragraph(plain, "The daemon was looked for on "+p.snap.Socket+".")...)
	if e, ok := errors.AsType[*control.Error](o.Err); ok && e.Remedy != "" {
		lines = append(lines, p.paragraph(strong, p.to+" "+e.Remedy)...)
	}
	tried := fmt.Sprintf("Tried %d times in %s", o.Tries, human.Age(p.moment().Sub(o.Since)))
	if o.Tries == 1 {
		tried = "Tried once"
	}
	return append(lines, nil, line{blank(2), say(faint, tried+"; "+p.nextTry())})
}

// paragraph is a text over as many lines as it takes.
func (p *page) paragraph(how tone, text string) (lines []line) {
	for _, l := range wrap(human.Clean(text), p.size.width-4, 6, p.ellipsis) {
		lines = append(lines, line{blank(2), say(how, l)})
	}
	return lines
}
