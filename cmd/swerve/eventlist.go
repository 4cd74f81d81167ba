package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/control"
)

const (
	// mostDisorder is how much later an event may be told than one that came after it: a
	// switch is told once the kernel was read back.
	mostDisorder = 10 * time.Second
	// oneAct is how far events of several policies may be apart that are told in one line.
	oneAct = time.Second
	// namedPolicies is how many policies a line names.
	namedPolicies = 6
)

// inOrder sorts events by their times, as far as these are close: where the wall clock was
// set, the order in which they were told is right.
func inOrder(events []control.Event) {
	for i := range events {
		for j := i; j > 0; j-- {
			late := events[j-1].Time.Sub(events[j].Time.Time)
			if late <= 0 || late > mostDisorder {
				break
			}
			events[j-1], events[j] = events[j], events[j-1]
		}
	}
}

// act is what happened to several policies at once.
type act struct {
	event    control.Event
	policies []string
}

// acts joins events that differ in their policies alone, and are close.
func acts(events []control.Event) []act {
	var all []act
	open := map[string]int{} // by what they have in common, the latest of all
	for _, e := range events {
		policy, common := withoutPolicy(e)
		if policy != "" {
			i, known := open[common]
			if known && e.Time.Sub(all[i].event.Time.Time).Abs() <= oneAct && !slices.Contains(all[i].policies, policy) {
				all[i].policies = append(all[i].policies, policy)
				all[i].event.Detail = joined(all[i].event.Detail, e.Detail)
				continue
			}
			open[common] = len(all)
		}
		all = append(all, act{e, []string{policy}})
	}
	for i := range all {
		if len(all[i].policies) > 1 {
			all[i].event.Detail = ofPolicies(all[i].event.Detail, all[i].policies)
		}
	}
	return all
}

// policyObject begins the object of what is told of a policy as a whole.
const policyObject = "policy "

// withoutPolicy returns the policy that an event is about, and all that it says but for that
// and for its figures; empty for one that is about none.
func withoutPolicy(e control.Event) (policy, common string) {
	switch d := e.Detail.(type) {
	case control.SwitchDetail:
		policy, d.Policy, d.EvidenceMS, d.SwitchMS = d.Policy, "", nil, nil
		e.Detail = d
	case control.SessionsDetail:
		policy, d.Policy, d.TookMS = d.Policy, "", nil
		d.Count, d.Poked, d.LeftOut, d.Moved, d.Reset, d.Destroyed, d.SilentMS = nil, nil, nil, nil, nil, nil, nil
		e.Detail = d
	case control.OverflowDetail:
		policy, d.Policy, d.Loads = d.Policy, "", nil
		e.Detail = d
	case control.DaemonDetail:
		if policy, _ = strings.CutPrefix(d.Object, policyObject); policy == d.Object {
			return "", ""
		}
		d.Object = ""
		e.Detail = d
	default:
		return "", ""
	}
	text, err := json.Marshal(e.Detail)
	if err != nil {
		return "", ""
	}
	return policy, string(e.Type()) + string(text)
}

// joined adds the figures of a detail to those of another one.
func joined(a, b control.Detail) control.Detail {
	most := func(x, y *float64) *float64 {
		if x == nil || y != nil && *y > *x {
			return y
		}
		return x
	}
	switch d := a.(type) {
	case control.SwitchDetail:
		d.EvidenceMS, d.SwitchMS = most(d.EvidenceMS, b.(control.SwitchDetail).EvidenceMS), most(d.SwitchMS, b.(control.SwitchDetail).SwitchMS)
		return d
	case control.SessionsDetail:
		other := b.(control.SessionsDetail)
		d.Count, d.Poked, d.LeftOut = sum(d.Count, other.Count), sum(d.Poked, other.Poked), sum(d.LeftOut, other.LeftOut)
		d.Moved, d.Reset, d.Destroyed = sum(d.Moved, other.Moved), sum(d.Reset, other.Reset), sum(d.Destroyed, other.Destroyed)
		d.TookMS, d.SilentMS = most(d.TookMS, other.TookMS), most(d.SilentMS, other.SilentMS)
		return d
	}
	return a
}

// sum adds two counts, each of which may be missing.
func sum(x, y *int64) *int64 {
	if x == nil || y == nil {
		return cmp.Or(x, y)
	}
	return new(*x + *y)
}

// ofPolicies returns a detail with several policies in the place of one.
func ofPolicies(d control.Detail, policies []string) control.Detail {
	names := strings.Join(policies, ", ")
	if more := len(policies) - namedPolicies; more > 0 {
		names = fmt.Sprintf("%s and %d more", strings.Join(policies[:namedPolicies], ", "), more)
	}
	switch d := d.(type) {
	case control.SwitchDetail:
		d.Policy = names
		return d
	case control.SessionsDetail:
		d.Policy = names
		return d
	case control.OverflowDetail:
		d.Policy = names
		return d
	case control.DaemonDetail:
		d.Object = "policies " + names
		return d
	}
	return d
}

// eventList is the last n events for people, in order and one line for each act; all of
// them with 0.
func eventList(lines [][]byte, n int, narrow bool) (string, error) {
	events := make([]control.Event, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &events[i]); err != nil {
			return "", err
		}
	}
	inOrder(events)
	all := acts(events)
	if n > 0 {
		all = all[max(0, len(all)-n):]
	}
	var b strings.Builder
	for _, a := range all {
		b.WriteString(eventText(a.event, narrow) + "\n")
	}
	return b.String(), nil
}
