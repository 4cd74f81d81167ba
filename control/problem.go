package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/failover"
)

// HealthProblems are the problems that follow from the health of a status's uplinks
// and policies alone, sorted: "uplink-down", "uplink-shunned", "uplink-degraded" and
// "uplink-silent" for each uplink that is in use, and "policy-dead" for each policy
// without an answering uplink, which is "starting" while the daemon is new.
func HealthProblems(s *Status) []Problem {
	var out []Problem
	for _, u := range s.Uplinks {
		if !u.watched() {
			continue
		}
		for _, state := range []State{Down, Shunned, Degraded} {
			if p, ok := uplinkProblem(u, state); ok {
				out = append(out, p)
			}
		}
		if p, ok := silentProblem(u, s.Now); ok {
			out = append(out, p)
		}
	}
	for _, p := range s.Policies {
		switch {
		case !policyDead(p, s.Uplinks):
		case s.starting():
			out = append(out, Problem{Code: "starting", Severity: Warning, Object: p.Name, Since: s.Daemon.Since,
				Text:   fmt.Sprintf("no uplink of policy %s answers yet", p.Name),
				Remedy: "wait: DHCP clients and modems may still be at work, half a minute after the start it is an alarm"})
		default:
			out = append(out, deadProblem(p, s.Uplinks))
		}
	}
	SortProblems(out)
	return out
}

// uplinkProblem is one problem for all families in which the uplink is in state s.
func uplinkProblem(u Uplink, s State) (Problem, bool) {
	var families, reasons []string
	var since Time
	for _, f := range failover.Families {
		fs := u.Family(f)
		if fs.State != s {
			continue
		}
		families = append(families, f.String())
		if fs.Reason != "" && !slices.Contains(reasons, fs.Reason) {
			reasons = append(reasons, fs.Reason)
		}
		since = earlier(since, fs.Since)
	}
	if families == nil {
		return Problem{}, false
	}
	text := fmt.Sprintf("%s is %s in %s", u.Name, s, strings.Join(families, " and "))
	if reasons != nil {
		text += ": " + strings.Join(reasons, ", ")
	}
	return Problem{Code: "uplink-" + string(s), Severity: Warning, Object: u.Name,
		Since: since, Text: text, Remedy: uplinkRemedy(u, s)}, true
}

// silentAfter is how long an uplink may be unknown until that is a problem.
const silentAfter = 30 * time.Second

// silentProblem is one problem for all families in which the uplink has not answered
// since its link came, for too long.
func silentProblem(u Uplink, now Time) (Problem, bool) {
	var families []string
	var since Time
	for _, f := range failover.Families {
		fs := u.Family(f)
		if fs.State != Unknown || fs.Since.IsZero() || now.Sub(fs.Since.Time) < silentAfter {
			continue
		}
		families = append(families, f.String())
		since = earlier(since, fs.Since)
	}
	if families == nil {
		return Problem{}, false
	}
	return Problem{
		Code: "uplink-silent", Severity: Warning, Object: u.Name, Since: since,
		Text: fmt.Sprintf("%s has not answered in %s since its link came", u.Name, strings.Join(families, " and ")),
		Remedy: fmt.Sprintf("check the modem and the provider behind %s, or leave the family out if it is not offered there; "+
			"it is used as soon as it answers", u.Interface),
	}, true
}

func uplinkRemedy(u Uplink, s State) string {
	switch {
	case s == Degraded:
		return "look for an overloaded line or a weak signal, or widen its limits in the configuration"
	case u.Carrier == nil:
		return fmt.Sprintf("plug in or name the interface %s; it is used as soon as it appears", u.Interface)
	case !*u.Carrier:
		return fmt.Sprintf("check the cable or the modem on %s", u.Interface)
	case s == Down && u.IPv4.Gateway == nil && u.IPv6.Gateway == nil:
		return fmt.Sprintf("check why %s gets no address and gateway, or set them by hand", u.Interface)
	}
	return fmt.Sprintf("check the modem and the provider behind %s; it is used again when it answers", u.Interface)
}

func deadProblem(p Policy, uplinks []Uplink) Problem {
	var since Time
	for _, u := range uplinks {
		for _, f := range failover.Families {
			carries := slices.ContainsFunc(p.Family(f), func(s Share) bool { return s.Uplink == u.Name })
			if carries && u.Family(f).Since.After(since.Time) {
				since = u.Family(f).Since
			}
		}
	}
	text := fmt.Sprintf("no uplink of policy %s answers", p.Name)
	if len(p.IPv4)+len(p.IPv6) == 0 {
		text = fmt.Sprintf("policy %s has no uplink with an address and a gateway", p.Name)
	}
	return Problem{Code: "policy-dead", Severity: Critical, Object: p.Name, Since: since, Text: text,
		Remedy: "bring one of its uplinks back; traffic stays where it is meanwhile"}
}

func earlier(a, b Time) Time {
	if a.IsZero() || !b.IsZero() && b.Before(a.Time) {
		return b
	}
	return a
}

// SortProblems puts the worst first, and those of one severity by object and code.
func SortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(b.Severity.rank(), a.Severity.rank()),
			strings.Compare(a.Object, b.Object),
			strings.Compare(a.Code, b.Code),
		)
	})
}

// rank orders severities; one that this version does not know comes last.
func (s Severity) rank() int {
	return slices.Index([]Severity{OK, Info, Warning, Critical}, s)
}
