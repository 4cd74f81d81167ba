package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
)

// statusScreen is a status for people, within screenWidth columns.
func statusScreen(s *control.Status, p paint) string {
	b := &screen{status: s, paint: p}
	b.head()
	b.problems()
	b.uplinks()
	b.policies()
	b.lastSwitch()
	return b.text.String()
}

// screen is a status on its way to the text that shows it.
type screen struct {
	status *control.Status
	paint  paint
	text   strings.Builder
}

// line ends a line. Its text has been cleaned already, since colours, which are added
// after that, would not survive it.
func (b *screen) line(text string) { b.text.WriteString(strings.TrimRight(text, " ") + "\n") }

func (b *screen) title(text string) { b.line("\n" + b.paint.as(bold, text)) }

func (b *screen) head() {
	s := b.status
	b.line(b.paint.as(severityColour(s.Overall), say.Clean(string(s.Overall))) + problemCount(s.Problems))
	config := s.Daemon.Config
	if config == "" {
		config = "no config file"
	}
	about := say.Clean(fmt.Sprintf("swerve %s, pid %d, running for %s", s.Software, s.Daemon.PID, say.AgeAt(s.Now, s.Daemon.Since)))
	file := say.Clean(fmt.Sprintf("%s (generation %d)", config, s.Daemon.Generation))
	if whole := about + ", " + file; columns(whole) <= screenWidth {
		b.line(whole)
	} else {
		b.line(wrap("", about, 2))
		b.line(wrap("", file, 2))
	}
	if s.Daemon.ConfigPending {
		b.line(wrap("", say.Unconfirmed(s), 2))
	}
}

// problemCount counts what is wrong, and apart from that the notes, which are not.
func problemCount(problems []control.Problem) string {
	notes := 0
	for _, p := range problems {
		if p.Severity == control.Info {
			notes++
		}
	}
	var parts []string
	if n := len(problems) - notes; n > 0 {
		parts = append(parts, say.Several(n, "problem", "problems"))
	}
	if notes > 0 {
		parts = append(parts, say.Several(notes, "note", "notes"))
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

func (b *screen) problems() {
	if len(b.status.Problems) == 0 {
		return
	}
	title := "NOTES"
	if slices.ContainsFunc(b.status.Problems, func(p control.Problem) bool { return p.Severity != control.Info }) {
		title = "PROBLEMS"
	}
	b.title(title)
	for _, p := range b.status.Problems {
		severity := say.Clean(string(p.Severity))
		lines := wrap(fmt.Sprintf("  %-8s  ", severity), say.Clean(say.Problem(b.status.Now, p)), 12)
		b.line(strings.Replace(lines, severity, b.paint.as(severityColour(p.Severity), severity), 1))
		if p.Remedy != "" {
			b.line(wrap("            -> ", say.Clean(p.Remedy), 15))
		}
	}
}

// row is how a line of the table is laid out: family, state, since, loss, RTT and
// gateway, for which 29 columns are left.
const row = "  %-6s  %-10s  %8s  %6s  %10s  %s"

// rowIndent is where the state stands.
const rowIndent = 10

func (b *screen) uplinks() {
	b.text.WriteString("\n")
	b.line(b.paint.as(bold, "UPLINKS   STATE          SINCE    LOSS         RTT  GATEWAY"))
	if len(b.status.Uplinks) == 0 {
		b.line("  none")
	}
	for _, u := range b.status.Uplinks {
		b.line(wrap("", say.Clean(b.describe(u)), 2))
		for _, f := range failover.Families {
			b.family(f, u.Family(f))
		}
		if text := say.Sessions(u); text != "" {
			b.line(wrap("  ", text, 4))
		}
	}
}

// describe names an uplink with everything about it that is not the normal case.
func (b *screen) describe(u control.Uplink) string {
	parts := []string{fmt.Sprintf("%s (%s)", u.Name, u.Interface)}
	if !u.Enabled {
		parts = append(parts, "disabled")
	}
	if u.Carrier == nil {
		parts = append(parts, "no interface")
	} else if !*u.Carrier {
		parts = append(parts, "no carrier")
	}
	if u.Metered {
		parts = append(parts, "metered")
	}
	if u.Admin != control.Auto {
		text := string(u.Admin) + " by the operator"
		if !u.OverrideUntil.IsZero() {
			text += " until " + say.Until(b.status.Now, u.OverrideUntil)
		}
		parts = append(parts, text)
	}
	if u.ResumePending {
		parts = append(parts, "resumed once it is up")
	}
	if !u.HeldUntil.IsZero() && !b.status.Carries(u.Name) { // what carries is not held back
		parts = append(parts, "held back until "+say.Moment(b.status.Now, u.HeldUntil))
	}
	if !u.DrainingUntil.IsZero() {
		parts = append(parts, "sessions that a failback left move at "+say.Until(b.status.Now, u.DrainingUntil))
	}
	return strings.Join(parts, ", ")
}

func (b *screen) family(f failover.Family, s control.FamilyStatus) {
	state := say.Clean(string(s.State))
	if s.State == control.Absent {
		b.line(fmt.Sprintf("  %-6s  %s", say.Family(f.String()), state))
		return
	}
	gateway := say.NotKnown
	if s.Gateway != nil {
		gateway = say.Clean(s.Gateway.String())
	}
	text := fmt.Sprintf(row, say.Family(f.String()), state, say.AgeAt(b.status.Now, s.Since), say.Percent(s.Loss), say.Milliseconds(s.RTTMS), gateway)
	rest := ""
	if columns(text) > screenWidth {
		text, rest = strings.TrimSuffix(text, gateway), gateway
	}
	b.line(strings.Replace(text, state, b.paint.as(stateColour(s.State), state), 1))
	rescued := ""
	if s.Rescued != nil && *s.Rescued > 0 {
		rescued = say.Several(*s.Rescued, "address", "addresses") + " that it does not reach: by the next uplink"
	}
	for _, more := range []string{rest, say.Clean(s.Reason), learnt(s), rescued} {
		if more != "" {
			b.line(wrap(strings.Repeat(" ", rowIndent), more, rowIndent))
		}
	}
}

// learnt tells what the line's silences have taught; empty for nothing.
func learnt(s control.FamilyStatus) string {
	var parts []string
	if s.HoldOffMS > 0 {
		parts = append(parts, fmt.Sprintf("new sessions leave after %s of silence, since it often has shorter ones", say.Span(s.HoldOffMS)))
	}
	if s.PatienceLearnt {
		parts = append(parts, fmt.Sprintf("sessions are moved after %s of silence, learnt from this line", say.Span(s.PatienceMS)))
	}
	return strings.Join(parts, "; ")
}

func (b *screen) policies() {
	if len(b.status.Policies) == 0 { // none is in force while it only watches
		return
	}
	b.title("POLICIES")
	for _, p := range b.status.Policies {
		var parts []string
		for _, f := range failover.Families {
			switch family := say.Family(f.String()); {
			case !b.offered(f):
			case p.BlockedIn(f):
				parts = append(parts, family+" "+say.Carried(p, f))
			default:
				parts = append(parts, family+" by "+say.Carried(p, f))
			}
		}
		text := cmp.Or(strings.Join(parts, ", "), say.Carriers(nil))
		if p.SwitchedTo != nil {
			text += ", switched to " + *p.SwitchedTo + " by the operator"
			if !p.OverrideUntil.IsZero() {
				text += " until " + say.Until(b.status.Now, p.OverrideUntil)
			}
		}
		b.line(wrap("  "+say.Clean(p.Name)+": ", say.Clean(text), 4))
	}
}

// offered reports whether any uplink has the family. One that never answered, and is
// down without a gateway, as where its interface is missing, says nothing of that.
func (b *screen) offered(f failover.Family) bool {
	return slices.ContainsFunc(b.status.Uplinks, func(u control.Uplink) bool {
		s := u.Family(f)
		return s.State != control.Absent && (s.State != control.Down || s.Gateway != nil || !u.LastProven.IsZero())
	})
}

func (b *screen) lastSwitch() {
	b.title("LAST SWITCH")
	s := b.status.LastSwitch
	if s == nil {
		b.line("  none since the daemon's start")
		return
	}
	b.line(fmt.Sprintf("  %s ago, %s; %d since the start", say.AgeAt(b.status.Now, s.Time),
		say.Moment(b.status.Now, s.Time), b.status.SwitchesTotal))
	b.line(wrap("  ", say.Clean(phrases.Switch(s.SwitchDetail)), 4))
}

func severityColour(s control.Severity) string {
	switch s {
	case control.OK:
		return green
	case control.Info:
		return plain
	case control.Warning:
		return yellow
	}
	return red
}

func stateColour(s control.State) string {
	switch s {
	case control.Up:
		return green
	case control.Down, control.Shunned:
		return red
	case control.Degraded, control.Suspect, control.Recovering:
		return yellow
	}
	return plain
}
