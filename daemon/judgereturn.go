package daemon

import (
	"fmt"
	"slices"
	"strings"

	"swerve/control"
	"swerve/failover"
)

// heldProblems returns the problems of uplinks that answer, and that repeated downs
// keep from carrying for longer than failback.after would.
func heldProblems(view failover.View, clock control.Clock) []control.Problem {
	var out []control.Problem
	for _, u := range view.Uplinks {
		if !u.Enabled || !u.Damped {
			continue
		}
		var families []string
		for _, f := range failover.Families {
			if u.Family[f].State == failover.Recovering {
				families = append(families, f.String())
			}
		}
		out = append(out, control.Problem{
			Code: "uplink-held", Severity: control.Info, Object: u.Name, Since: earliest(u, failover.Recovering, clock),
			Text: fmt.Sprintf("%s was down too often lately, so it is held back in %s although it answers (health.damping): "+
				"its place is that of a recovering uplink until then", u.Name, strings.Join(families, " and ")),
			Remedy: fmt.Sprintf("see swerve events for what takes it down, and mend that; then `swerve resume %s` ends the hold. It is used "+
				"at once where no other uplink answers, and by itself when the time is over. For shorter holds set health.damping "+
				"(half_life, suppress)", u.Name),
		})
	}
	return out
}

// waitingProblems returns the problems of policies that stay where they are although
// preferred uplinks are up, because failback is manual: one for all that wait for the same.
func waitingProblems(s setup, view failover.View, clock control.Clock) []control.Problem {
	if !s.mayAct() {
		return nil
	}
	type wait struct{ uplinks, families string }
	var order []wait
	policies, preferred := map[wait][]string{}, map[wait][]string{}
	for _, p := range view.Policies {
		var names, families []string
		for _, f := range failover.Families {
			if len(p.Waiting[f]) > 0 {
				names, families = append(names, p.Waiting[f]...), append(families, f.String())
			}
		}
		if names == nil {
			continue
		}
		slices.Sort(names)
		names = slices.Compact(names)
		w := wait{strings.Join(names, " and "), strings.Join(families, " and ")}
		if policies[w] == nil {
			order, preferred[w] = append(order, w), names
		}
		policies[w] = append(policies[w], p.Name)
	}
	var out []control.Problem
	for _, w := range order {
		is, stay := "is", "policy "+policies[w][0]+" stays where it is"
		if len(preferred[w]) > 1 {
			is = "are"
		}
		if len(policies[w]) > 1 {
			stay = "policies " + and(policies[w]) + " stay where they are"
		}
		out = append(out, control.Problem{
			Code: "failback-manual", Severity: control.Info, Object: policies[w][0], Since: upSince(view, preferred[w], clock),
			Text:   fmt.Sprintf("%s %s up and preferred in %s, and failback is manual: %s", w.uplinks, is, w.families, stay),
			Remedy: fmt.Sprintf("`swerve resume %s` returns to it; it also returns by itself when what carries now fails", preferred[w][0]),
		})
	}
	return out
}

// upSince returns since when the first of some uplinks is up.
func upSince(view failover.View, names []string, clock control.Clock) (since control.Time) {
	for _, u := range view.Uplinks {
		if at := earliest(u, failover.Up, clock); slices.Contains(names, u.Name) && (since.IsZero() || at.Before(since.Time)) {
			since = at
		}
	}
	return since
}

// earliest returns since when an uplink is in a state in the family that entered it
// first; zero if it is in none.
func earliest(u failover.UplinkView, s failover.State, clock control.Clock) (since control.Time) {
	for _, v := range u.Family {
		if at := control.At(clock(v.Since)); v.State == s && (since.IsZero() || at.Before(since.Time)) {
			since = at
		}
	}
	return since
}
