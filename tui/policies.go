package tui

import (
	"fmt"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// policies tells which uplinks carry each policy's new flows now.
func (p *page) policies() section {
	status := p.snap.Status
	t := p.policyColumns(status.Policies)
	var body []line
	for _, policy := range status.Policies {
		cells := []cell{textCell(plain, policy.Name)}
		for _, f := range failover.Families {
			cells = append(cells, textCell(faint, human.Family(f.String())), textCell(strong, human.Carriers(policy.Family(f))))
		}
		body = append(body, line{blank(2)}.and(t.row(p.theme, cells...)...))
	}
	s := p.fixed(policiesPart, 1, body, p.ruled(policiesPart, "POLICIES", ""))
	s.want = min(s.want, max(p.room()/5, 3)) // the rest is a scroll away
	return s
}

// policyColumns are as wide as what stands in them. Where that is too wide, names
// get a third at most, and the families share the rest.
func (p *page) policyColumns(policies []control.Policy) table {
	const label = 4 // IPv4
	var name, v4, v6 int
	for _, policy := range policies {
		name = max(name, columns(human.Clean(policy.Name)))
		v4 = max(v4, columns(human.Clean(human.Carriers(policy.IPv4))))
		v6 = max(v6, columns(human.Clean(human.Carriers(policy.IPv6))))
	}
	name = min(name, p.size.width/3)
	room := p.size.width - 2 - name - 2*(gap+label+1)
	v4 = min(v4, max(room-v6, room/2))
	v6 = min(v6, room-v4)
	return layOut([]column{{width: name}, {width: label}, {width: v4, close: true},
		{width: label}, {width: v6, close: true}}, p.size.width)
}

// lastSwitch tells of the newest switch, with its evidence.
func (p *page) lastSwitch() section {
	s := p.snap.Status.LastSwitch
	if s == nil {
		return p.fixed(switchPart, 0, nil, p.ruled(switchPart, "LAST SWITCH", "none since the daemon's start"))
	}
	about := fmt.Sprintf("%s ago, %s%s%d since the start", human.AgeAt(p.snap.Status.Now, s.Time),
		human.Moment(p.snap.Status.Now, s.Time), p.between, p.snap.Status.SwitchesTotal)
	told := func(rows int) []line { return p.hanging(nil, 2, rows, p.phrases().Switch(s.SwitchDetail)) }
	return section{
		part: switchPart, title: p.ruled(switchPart, "LAST SWITCH", about), least: 1, want: len(told(3)),
		limit:  func(int) int { return 0 },
		window: func(rows, _ int) ([]line, string) { return told(rows), "" },
	}
}
