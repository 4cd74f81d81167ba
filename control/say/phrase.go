package say

import (
	"fmt"
	"regexp"
	"strings"

	"swerve/control"
	"swerve/failover"
)

// Phrases are sentences about what happened.
type Phrases struct {
	// Arrow stands between before and after, such as "->".
	Arrow string
	// Now is the day whose date goes without saying; zero for none.
	Now control.Time
}

// Event says what an event says, without its time and type: what happened, why, and
// in brackets the figures that go with it. It is empty where an event of a type that
// is not known has nothing to say.
func (p Phrases) Event(e control.Event) string {
	switch d := e.Detail.(type) {
	case nil:
		return ""
	case control.HealthDetail:
		return phrase(Join(" ", d.Uplink, Family(d.Family), string(d.From), p.Arrow, string(d.To)),
			d.Reason, Timing(d.EvidenceMS, nil))
	case control.SwitchDetail:
		return p.Switch(d)
	case control.OverflowDetail:
		return phrase(p.overflow(d), d.Reason, "")
	case control.SessionsDetail:
		moved, silent := d.Moved, d.SilentMS
		if d.Action != "moved" {
			moved = nil // it is in the text
		}
		if d.Action == "settled" {
			silent = nil // "moved" has told it: from then on nobody waited for the gateway
		}
		return phrase(Join(" ", d.Uplink, d.Policy, Family(d.Family), d.Action, count(d.Count), count(moved)),
			d.Reason+sessions(d), Join(", ", silence(silent), Timing(nil, d.TookMS)))
	case control.RepairDetail:
		return phrase(Join(" ", d.Object, d.Action, count(d.Count)), d.Reason, Timing(nil, d.TookMS))
	case control.OperatorDetail:
		until := ""
		if !d.Until.IsZero() {
			until = "until " + Moment(p.Now, d.Until)
		}
		what := Join(" ", d.Uplink, d.Action)
		if d.Action == string(control.Switched) {
			what = Join(" ", d.Policy, d.Action, "to", d.Uplink)
		}
		return phrase(what, d.Reason, until)
	case control.ConfigDetail:
		why := d.Reason
		if len(d.Problems) > 0 { // the line that is to be corrected first
			why = Join("; ", firstOf(d.Problems), d.Reason)
		}
		return phrase(Join(" ", d.Object, d.Action), why, generationBeside(d.Reason, d.Generation))
	case control.DaemonDetail:
		return phrase(Join(" ", d.Object, Family(d.Family), d.Action), d.Reason, generation(d.Generation))
	case control.OtherDetail:
		return phrase(Join(" ", d.Uplink, d.Policy, Family(d.Family), d.Object, d.Action), d.Reason, "")
	}
	panic(fmt.Sprintf("say: unknown detail %T", e.Detail))
}

// Switch says what became of a policy's traffic, why, and how fast.
func (p Phrases) Switch(d control.SwitchDetail) string {
	return phrase(Join(" ", d.Policy, Family(d.Family), d.Kind, p.Route(d.From, d.To)),
		d.Reason, Timing(d.EvidenceMS, d.SwitchMS))
}

// overflow says where new flows go of what overflows, or that it does so no more.
func (p Phrases) overflow(d control.OverflowDetail) string {
	if len(d.To) == 0 {
		return Join(" ", d.Policy, Family(d.Family), "overflow ends, new flows by", uplinks(d.From))
	}
	word := map[string]string{"begin": "overflows", "change": "overflows now"}[d.Action]
	return Join(" ", d.Policy, Family(d.Family), word, p.Route(d.From, d.To))
}

// Route says from which uplinks to which others traffic went.
func (p Phrases) Route(from, to []string) string {
	return uplinks(from) + " " + p.Arrow + " " + uplinks(to)
}

func uplinks(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, "+")
}

// Problem says what is wrong, with whom, and for how long at now.
func Problem(now control.Time, p control.Problem) string {
	text := p.Text
	if p.Object != "" && !strings.Contains(text, p.Object) {
		text = p.Object + ": " + text
	}
	switch {
	case p.Since.IsZero():
	case saysHowLong.MatchString(text): // two spans beside each other would confuse
		text += " (since " + Moment(now, p.Since) + ")"
	default:
		text += " (for " + AgeAt(now, p.Since) + ")"
	}
	return text
}

// saysHowLong matches a text with a span of its own, such as "0 of 3 targets answer
// for 503ms".
var saysHowLong = regexp.MustCompile(`\b(for|over) [\d.]+(ms|s|m|h)\b`)

// Several is a number with what it counts, in the singular for 1.
func Several(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Unconfirmed warns of a configuration that is [control.Daemon.ConfigPending].
func Unconfirmed(s *control.Status) string {
	when := "in time"
	if until := s.Daemon.ConfirmUntil; !until.IsZero() {
		when = "until " + Until(s.Now, until)
	}
	return "this configuration is undone unless `swerve confirm` comes " + when
}

// Until is when something ends, and how much time that leaves.
func Until(now, end control.Time) string { return Moment(now, end) + " (" + AgeAt(end, now) + " left)" }

// silence says for how long sessions were silent until they could go on.
func silence(ms *float64) string {
	if ms == nil {
		return ""
	}
	return "silent for " + Milliseconds(ms) + " until then"
}

// sessions says what became of sessions that could not go on, as the end of a reason.
func sessions(d control.SessionsDetail) (text string) {
	if d.Moved != nil && d.Action != "moved" {
		text += ", " + Several(int(*d.Moved), "flow", "flows") + " moved"
	}
	if d.Reset != nil {
		text += ", " + Several(int(*d.Reset), "connection", "connections") + " reset"
	}
	if d.Destroyed != nil {
		text += ", " + Several(int(*d.Destroyed), "socket", "sockets") + " of the gateway closed"
	}
	if d.Poked != nil {
		text += ", " + Several(int(*d.Poked), "client", "clients") + " made to speak"
	}
	if d.LeftOut != nil {
		text += fmt.Sprintf(", %d more were too many", *d.LeftOut)
	}
	return text
}

// Sessions says what became of an uplink's sessions, and what began elsewhere; empty if
// nothing did.
func Sessions(u control.Uplink) string {
	var parts []string
	add := func(n *uint64, what string) {
		if n != nil && *n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", *n, what))
		}
	}
	add(u.Sessions.Moved, "moved")
	add(u.Sessions.Reset, "reset")
	add(u.Sessions.Poked, "made to speak")
	add(u.Sessions.Destroyed, "of the gateway closed")
	text := ""
	if len(parts) > 0 {
		text = "sessions since the start: " + strings.Join(parts, ", ")
	}
	if n := u.BeganElsewhere; n != nil && *n > 0 {
		text = Join("; ", text, fmt.Sprintf("%d flows began elsewhere during stalls", *n))
	}
	return text
}

// Carriers names the uplinks that carry traffic, with weights where several share it.
func Carriers(shares []control.Share) string {
	if len(shares) == 0 {
		return "nothing"
	}
	names := make([]string, len(shares))
	for i, s := range shares {
		names[i] = s.Uplink
		if len(shares) > 1 {
			names[i] += fmt.Sprintf(" (%d)", s.Weight)
		}
	}
	return strings.Join(names, " + ")
}

// Carried names the uplinks that carry a policy in a family, and those that take what
// overflows; "blocked" where its new flows are refused.
func Carried(p control.Policy, f failover.Family) string {
	if p.BlockedIn(f) {
		return "blocked"
	}
	text := Carriers(p.Family(f))
	if over := p.OverflowIn(f); len(over) > 0 {
		text += ", full: new flows by " + Divided(over)
	}
	return text
}

// Divided names uplinks with the part of new flows that each takes, where they are several.
func Divided(shares []control.Share) string {
	all := 0
	for _, s := range shares {
		all += s.Weight
	}
	names := make([]string, len(shares))
	for i, s := range shares {
		names[i] = s.Uplink
		if len(shares) > 1 && all > 0 {
			part := float64(s.Weight) / float64(all)
			names[i] += fmt.Sprintf(" (%.0f%%)", 100*part)
		}
	}
	return strings.Join(names, " + ")
}

// Timing says how long it took from the first sign to the decision, and from there
// to its end, in milliseconds, as far as that is known.
func Timing(evidence, change *float64) string {
	var decided, done string
	if evidence != nil {
		decided = "decided after " + Milliseconds(evidence)
	}
	if change != nil {
		done = "done in " + Milliseconds(change)
	}
	return Join(", ", decided, done)
}

// Family is how people write the name of an address family: IPv4 for ipv4.
func Family(name string) string { return strings.Replace(name, "ipv", "IPv", 1) }

func generation(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("generation %d", n)
}

// generationBeside is generation, but empty where the reason begins with the same.
func generationBeside(reason string, n uint64) string {
	if first, _, _ := strings.Cut(reason, ","); first != generation(n) {
		return generation(n)
	}
	return ""
}

// firstOf is the first of a configuration's problems, and where the others are.
func firstOf(problems []string) string {
	switch len(problems) {
	case 0:
		return ""
	case 1:
		return problems[0]
	}
	return problems[0] + "; the rest by swerve check"
}

func count(n *int64) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// phrase is "what: why (more)" without the parts that are empty.
func phrase(what, why, more string) string {
	text := Join(": ", what, why)
	if more != "" {
		text += " (" + more + ")"
	}
	return text
}

// Join is strings.Join of those parts that are not empty.
func Join(separator string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, separator)
}
