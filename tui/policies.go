package tui

import (
	"fmt"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// policies lists which uplinks carry the new flows of each policy.
func (p *picture) policies() section {
	status := p.snap.Status
	t := p.policyColumns(status.Policies)
	var body []line
	for _, policy := range status.Policies {
		cells := []cell{textCell(plain, policy.Name)}
		for _, f := range failover.Families {
			cells = append(cells, textCell(faint, human.Family(f.String())), textCell(strong, human.Carried(policy, f)))
		}
		body = append(body, line{blank(2)}.and(t.row(cells...)...))
	}
	s := p.fixed(section{part: policiesPart, name: "POLICIES", least: 1, leave: 2, grow: 4}, body)
	s.want = min(s.want, max(p.height/5, 3)) // the user can scroll to the rest
	return s
}

// policyColumns lays the columns out as wide as their texts. Where that is too wide,
// names get a third at most, and the families share the rest.
func (p *picture) policyColumns(policies []control.Policy) table {
	const label = 4 // IPv4
	var name, v4, v6 int
	for _, policy := range policies {
		name = max(name, columns(human.Clean(policy.Name)))
		v4 = max(v4, columns(human.Clean(human.Carried(policy, failover.IPv4))))
		v6 = max(v6, columns(human.Clean(human.Carried(policy, failover.IPv6))))
	}
	name = min(name, p.width/3)
	room := p.width - 2 - name - 2*(gap+label+1)
	v4 = min(v4, max(room-v6, room/2))
	v6 = min(v6, room-v4)
	return p.table(p.width, column{width: name}, column{width: label}, column{width: v4, close: true},
		column{width: label}, column{width: v6, close: true})
}

// lastSwitch is the latest switch, with its evidence.
func (p *picture) lastSwitch() section {
	out := section{part: switchPart, name: "LAST SWITCH", remark: "none since the daemon's start", leave: 1, grow: 3}
	s := p.snap.Status.LastSwitch
	if s == nil {
		return p.fixed(out, nil)
	}
	out.remark = fmt.Sprintf("%s ago, %s%s%d since the start", human.AgeAt(p.snap.Status.Now, s.Time),
		human.Moment(p.snap.Status.Now, s.Time), p.between, p.snap.Status.SwitchesTotal)
	body := func(rows int) []line { return p.hanging(nil, 2, rows, plain, p.phrases().Switch(s.SwitchDetail)) }
	out.least, out.want = 1, len(body(3))
	out.limit = func(int) int { return 0 }
	out.window = func(rows, _ int) ([]line, string) { return body(rows), "" }
	return out
}
