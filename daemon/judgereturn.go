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

// waitingProblems returns the problem of a policy that stays where it is although
// preferred uplinks are up, because failback is manual.
func waitingProblems(s setup, view failover.View, clock control.Clock) []control.Problem {
	if !s.engine.Failback.Manual || !s.mayAct() || len(s.engine.Policies) == 0 || len(view.Policies) == 0 {
		return nil
	}
	var waiting, families []string
	var since control.Time
	for _, f := range failover.Families {
		names := waitingIn(s.engine.Policies[0].TiersOf(f), view.Policies[0].Family[f], func(name string) bool {
			i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == name })
			return i >= 0 && view.Uplinks[i].Enabled && view.Uplinks[i].Admin != "drained" &&
				view.Uplinks[i].Family[f].State == failover.Up
		})
		if len(names) == 0 {
			continue
		}
		families = append(families, f.String())
		for _, name := range names {
			if !slices.Contains(waiting, name) {
				waiting = append(waiting, name)
			}
			for _, u := range view.Uplinks {
				if at := earliest(u, failover.Up, clock); u.Name == name && (since.IsZero() || at.Before(since.Time)) {
					since = at
				}
			}
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	is := "is"
	if len(waiting) > 1 {
		is = "are"
	}
	return []control.Problem{{
		Code: "failback-manual", Severity: control.Info, Object: view.Policies[0].Name, Since: since,
		Text: fmt.Sprintf("%s %s up and preferred in %s, and failback is manual: policy %s stays where it is",
			strings.Join(waiting, " and "), is, strings.Join(families, " and "), view.Policies[0].Name),
		Remedy: fmt.Sprintf("`swerve resume %s` returns to it; it also returns by itself when what carries now fails", waiting[0]),
	}}
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

// waitingIn returns the uplinks that are up in the first tier that has any, if it
// comes before the tiers of what carries.
func waitingIn(tiers [][]failover.Share, carrying []failover.Share, up func(string) bool) []string {
	if len(carrying) == 0 {
		return nil
	}
	for _, tier := range tiers {
		var names []string
		for _, share := range tier {
			if slices.ContainsFunc(carrying, func(c failover.Share) bool { return c.Uplink == share.Uplink }) {
				return nil
			}
			if up(share.Uplink) {
				names = append(names, share.Uplink)
			}
		}
		if len(names) > 0 {
			return names
		}
	}
	return nil
}
