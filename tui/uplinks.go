package tui

import (
	"fmt"
	"slices"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// density is how much room each uplink gets.
type density int

// The densities, the least dense first.
const (
	full    density = iota // a head, and each family with its reason
	compact                // a line for each family
	dense                  // a line for each uplink
)

// uplinks is the table of uplinks, with as many details as fit into room, and into
// three fifths of the page: the rest is for what happens to them.
func (p *picture) uplinks(room int) section {
	room = min(room, p.height*3/5)
	for d := full; ; d++ {
		head, body := p.uplinkTable(d)
		if d < dense && 1+len(body) > room {
			continue
		}
		return p.scrollable(body, head)
	}
}

// scrollable is the section of uplinks. The names of the columns fill its title, so
// that the last line of the body says which lines are shown.
func (p *picture) scrollable(body []line, head line) section {
	s := p.fixed(section{part: uplinksPart, name: "UPLINKS", columns: head, least: 3, grow: 1}, body)
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

// uplinkTable returns the titles and the lines of the table.
func (p *picture) uplinkTable(d density) (head line, body []line) {
	status := p.snap.Status
	if len(status.Uplinks) == 0 {
		return line{}, []line{{blank(2), say(faint, "none")}}
	}
	switch d {
	case full:
		return p.fullTable(status)
	case compact:
		return p.compactTable(status)
	}
	return p.denseTable(status)
}

// familyColumns are the columns about one family.
func (p *picture) familyColumns() []column {
	return []column{
		{title: "", width: 4},
		{title: "STATE", width: 12},
		{title: "SINCE", width: 6, right: true, rank: 5},
		{title: "RTT", width: 8, right: true},
		{title: fmt.Sprintf("%.0fmin", p.trendSpan().Minutes()), width: 5, close: true, rank: 2, grow: 25},
		{title: "LOSS", width: 5, right: true},
		{title: "", width: 5, close: true, rank: 3, grow: 25},
		{title: "JITTER", width: 8, right: true, rank: 6},
	}
}

// familyCells are the cells of those columns; of a family that is absent, the first two.
func (p *picture) familyCells(u control.Uplink, f failover.Family) []cell {
	s := u.Family(f)
	name := textCell(faint, human.Family(f.String()))
	if s.State == control.Absent {
		return []cell{name, {span: p.stateSpan(s.State)}}
	}
	past := series{p.snap.trends[track{u.Name, f}], p.snap.Received, p.trendSpan()}
	return []cell{
		name,
		{span: p.stateSpan(s.State)},
		textCell(faint, human.AgeAt(p.snap.Status.Now, s.Since)),
		textCell(plain, human.Milliseconds(s.RTTMS)),
		p.rttTrend(past),
		textCell(plain, human.Percent(s.Loss)),
		p.lossTrend(past),
		textCell(plain, human.Milliseconds(s.JitterMS)),
	}
}

const familyIndent = 4

// fullTable gives each uplink a head, and each of its families a line and one for
// the reason of its state.
func (p *picture) fullTable(status *control.Status) (head line, body []line) {
	gateways := 0
	for _, u := range status.Uplinks {
		for _, f := range failover.Families {
			gateways = max(gateways, columns(gateway(u.Family(f))))
		}
	}
	cols := append(p.familyColumns(), column{title: "GATEWAY", width: max(min(gateways, 25), 7), rank: 7})
	t := p.table(p.width-familyIndent, cols...)
	shown := t.widths[len(cols)-1] > 0
	for _, u := range status.Uplinks {
		body = append(body, p.uplinkHead(u, !shown))
		for _, f := range failover.Families {
			cells := p.familyCells(u, f)
			if len(cells) > 2 {
				cells = append(cells, textCell(plain, gateway(u.Family(f))))
			}
			body = append(body, line{blank(familyIndent)}.and(t.row(cells...)...))
			body = append(body, p.reason(u.Family(f))...)
		}
	}
	return line{blank(familyIndent)}.and(t.head()...), body
}

// reason says why a family is not up.
func (p *picture) reason(s control.FamilyStatus) []line {
	if s.Reason == "" || s.State == control.Up || s.State == control.Absent {
		return nil
	}
	indent := familyIndent + 6
	return p.hanging(line{blank(indent), say(faint, p.hook)}, indent+2, 2, plain, s.Reason)
}

// uplinkHead is the first line of an uplink: its name, what is unusual about it, and
// its rates.
func (p *picture) uplinkHead(u control.Uplink, withGateways bool) line {
	rates := p.rates(u)
	room := p.width - rates.columns() - 2
	l := line{p.carrying(u.Name), blank(1), say(strong, u.Name), blank(2), say(plain, u.Interface)}
	notes := p.notes(u)
	for _, f := range failover.Families {
		if g := gateway(u.Family(f)); withGateways && g != human.NotKnown {
			notes = append(notes, say(plain, "via "+g))
		}
	}
	for _, n := range notes {
		next := l.and(say(faint, p.between), n)
		if next.columns() <= room {
			l = next
		}
	}
	return p.spread(l, rates)
}

// rates are those of an uplink, at a fixed width so that they are aligned.
func (p *picture) rates(u control.Uplink) line {
	return line{
		say(faint, p.down), say(plain, fmt.Sprintf("%10s", human.Rate(u.RxBPS))), blank(3),
		say(faint, p.up), say(plain, fmt.Sprintf("%10s", human.Rate(u.TxBPS))),
	}
}

// carrying returns the mark of an uplink that carries new flows of some policy, or a
// space.
func (p *picture) carrying(name string) span {
	if p.snap.Status.Carries(name) {
		return say(strong, p.carries)
	}
	return blank(1)
}

// notes are all that is unusual about an uplink, the most important first.
func (p *picture) notes(u control.Uplink) (notes []span) {
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
			text += ", " + human.AgeAt(u.OverrideUntil, now) + " left"
		}
		notes = append(notes, say(warn, text))
	}
	if u.ResumePending {
		notes = append(notes, say(plain, "resumed once up"))
	}
	if !u.HeldUntil.IsZero() && !p.snap.Status.Carries(u.Name) {
		notes = append(notes, say(warn, "held until "+human.Moment(now, u.HeldUntil)))
	}
	if !u.DrainingUntil.IsZero() {
		notes = append(notes, say(plain, "sessions that a failback left move at "+human.Moment(now, u.DrainingUntil)))
	}
	if u.Metered {
		notes = append(notes, say(plain, "metered"))
	}
	if text := human.Sessions(u); text != "" {
		notes = append(notes, say(faint, text))
	}
	return notes
}

func gateway(s control.FamilyStatus) string {
	if s.Gateway == nil {
		return human.NotKnown
	}
	return s.Gateway.String()
}
