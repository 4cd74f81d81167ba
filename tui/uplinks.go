package tui

import (
	"fmt"
	"slices"
	"time"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// density is how much room each uplink gets.
type density int

// The densities, the richest first.
const (
	full    density = iota // a head, and each family with its reason
	compact                // a line for each family
	dense                  // a line for each uplink
)

// uplinks is the table of uplinks, as rich as fits into room, and into three fifths
// of the page: what happens to them is worth the rest.
func (p *page) uplinks(room int) section {
	room = min(room, p.room()*3/5)
	for d := full; ; d++ {
		head, body := p.uplinkTable(d)
		if d < dense && 1+len(body) > room {
			continue
		}
		return p.scrollable(body, func(string) line {
			name := say(strong, p.heading(uplinksPart, "UPLINKS"))
			return line{name, blank(1)}.and(head.from(name.columns() + 1)...)
		})
	}
}

// scrollable is the section of uplinks. Its title is full of the columns' names, so
// what is to be said of scrolling stands in its last line.
func (p *page) scrollable(body []line, title func(string) line) section {
	s := p.fixed(uplinksPart, 3, body, title)
	s.limit = func(rows int) int {
		if rows >= len(body) {
			return 0
		}
		return len(body) - (rows - 1)
	}
	s.window = func(rows, scroll int) ([]line, string) {
		if rows >= len(body) {
			return body, ""
		}
		end := min(scroll+rows-1, len(body))
		last := line{blank(2), say(faint, p.scrolled(scroll, end-scroll, len(body)))}
		return append(slices.Clone(body[scroll:end]), last), ""
	}
	return s
}

// from is the line without its first n cells, which are blank or to be lost.
func (l line) from(n int) line {
	for i, s := range l {
		if w := s.columns(); w > n {
			return append(line{{s.text[len(fit(s.text, n)):], s.tone}}, l[i+1:]...)
		}
		n -= s.columns()
	}
	return nil
}

// uplinkTable is the titles and the lines of the table.
func (p *page) uplinkTable(d density) (head line, body []line) {
	status := p.snap.Status
	if len(status.Uplinks) == 0 {
		return nil, []line{{blank(2), say(faint, "none")}}
	}
	switch d {
	case full:
		return p.fullTable(status)
	case compact:
		return p.compactTable(status)
	}
	return p.denseTable(status)
}

// familyColumns are the columns about one family, in their order.
func (p *page) familyColumns() []column {
	return []column{
		{title: "", width: 4},
		{title: "STATE", width: 12},
		{title: "SINCE", width: 6, right: true, rank: 5},
		{title: "RTT", width: 8, right: true},
		{title: p.spanTitle(), width: 5, close: true, rank: 2, grow: 25},
		{title: "LOSS", width: 5, right: true},
		{title: "", width: 5, close: true, rank: 3, grow: 25},
		{title: "JITTER", width: 8, right: true, rank: 6},
	}
}

// familyCells are what stands there.
func (p *page) familyCells(u control.Uplink, f failover.Family) []cell {
	s := u.Family(f)
	name := textCell(faint, human.Family(f.String()))
	if s.State == control.Absent {
		return []cell{name, {span: p.stateSpan(s.State)}}
	}
	past := p.snap.trends[track{u.Name, f}]
	return []cell{
		name,
		{span: p.stateSpan(s.State)},
		textCell(faint, human.AgeAt(p.snap.Status.Now, s.Since)),
		textCell(plain, human.Milliseconds(s.RTTMS)),
		p.trendCell(past, func(s sample) float32 { return s.rtt }, p.rttBars),
		textCell(plain, human.Percent(s.Loss)),
		p.trendCell(past, func(s sample) float32 { return s.loss }, p.lossBars),
		textCell(plain, human.Milliseconds(s.JitterMS)),
	}
}

// trendCell draws the past as wide as its column is.
func (p *page) trendCell(past []sample, value func(sample) float32, bars func([]level) string) cell {
	return cell{fill: func(width int) span {
		return say(plain, bars(levels(past, p.snap.Received, p.span(), width, value)))
	}}
}

// span is how much of the past the trends show.
func (p *page) span() time.Duration { return spans[p.view.span%len(spans)] }

func (p *page) spanTitle() string { return fmt.Sprintf("%.0fmin", p.span().Minutes()) }

const familyIndent = 4

// fullTable gives each uplink a head, and each of its families a line and one for
// the reason of its state.
func (p *page) fullTable(status *control.Status) (head line, body []line) {
	gateways := 0
	for _, u := range status.Uplinks {
		for _, f := range failover.Families {
			gateways = max(gateways, columns(gateway(u.Family(f))))
		}
	}
	cols := append(p.familyColumns(), column{title: "GATEWAY", width: max(min(gateways, 25), 7), rank: 7})
	t := layOut(cols, p.size.width-familyIndent)
	shown := t.has(len(cols) - 1)
	for _, u := range status.Uplinks {
		body = append(body, p.uplinkHead(u, !shown))
		for _, f := range failover.Families {
			cells := p.familyCells(u, f)
			if len(cells) > 2 {
				cells = append(cells, textCell(plain, gateway(u.Family(f))))
			}
			body = append(body, line{blank(familyIndent)}.and(t.row(p.theme, cells...)...))
			body = append(body, p.reason(u.Family(f))...)
		}
	}
	return line{blank(familyIndent)}.and(t.head(p.theme)...), body
}

// reason is why a family is not up.
func (p *page) reason(s control.FamilyStatus) []line {
	if s.Reason == "" || s.State == control.Up || s.State == control.Absent {
		return nil
	}
	indent := familyIndent + 6
	return p.hanging(line{blank(indent), say(faint, p.hook)}, indent+2, 2, s.Reason)
}

// uplinkHead names an uplink, what is special about it, and its rates.
func (p *page) uplinkHead(u control.Uplink, withGateways bool) line {
	rates := p.rates(u)
	room := p.size.width - rates.columns() - 2
	l := line{p.carrying(u.Name), blank(1), say(strong, u.Name), blank(2), say(plain, u.Interface)}
	notes := p.notes(u)
	if withGateways {
		notes = append(notes, p.vias(u)...)
	}
	for _, n := range notes {
		next := l.and(say(faint, p.between), n)
		if next.columns() <= room {
			l = next
		}
	}
	return p.spread(l, rates, p.size.width)
}

// rates are an uplink's, of fixed width so that they align.
func (p *page) rates(u control.Uplink) line {
	return line{
		say(faint, p.down), say(plain, fmt.Sprintf("%10s", human.Rate(u.RxBPS))), blank(3),
		say(faint, p.up), say(plain, fmt.Sprintf("%10s", human.Rate(u.TxBPS))),
	}
}

// carrying is the mark of an uplink that carries new flows of some policy.
func (p *page) carrying(name string) span {
	for _, policy := range p.snap.Status.Policies {
		for _, f := range failover.Families {
			for _, s := range policy.Family(f) {
				if s.Uplink == name {
					return say(strong, p.carries)
				}
			}
		}
	}
	return blank(1)
}

// notes is all that is special about an uplink, what weighs most first.
func (p *page) notes(u control.Uplink) (notes []span) {
	now := p.snap.Status.Now
	if !u.Enabled {
		notes = append(notes, say(warn, "disabled"))
	}
	if u.Carrier == nil {
		notes = append(notes, say(bad, "no interface"))
	} else if !*u.Carrier {
		notes = append(notes, say(bad, "no carrier"))
	}
	if u.Admin != control.Auto && u.Admin != "" {
		text := string(u.Admin)
		if !u.OverrideUntil.IsZero() {
			text += " until " + human.Moment(now, u.OverrideUntil)
		}
		notes = append(notes, say(warn, text))
	}
	if !u.HeldUntil.IsZero() {
		notes = append(notes, say(warn, "held until "+human.Moment(now, u.HeldUntil)))
	}
	if u.Metered {
		notes = append(notes, say(plain, "metered"))
	}
	return notes
}

// vias are an uplink's gateways.
func (p *page) vias(u control.Uplink) (vias []span) {
	for _, f := range failover.Families {
		if g := gateway(u.Family(f)); g != human.NotKnown {
			vias = append(vias, say(plain, "via "+g))
		}
	}
	return vias
}

func gateway(s control.FamilyStatus) string {
	if s.Gateway == nil {
		return human.NotKnown
	}
	return s.Gateway.String()
}
