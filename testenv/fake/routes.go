package fake

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/routing"
)

// Routes has the kernel's semantics of slots, rules and devices, and nothing else. Its
// mutex guards the fields below it.
type Routes struct {
	Journal *Journal
	// Changed is called after each change, whoever made it, like a message of rtnetlink.
	Changed func()

	sync.Mutex
	routes   []routing.Route     // ours
	Others   []routing.Route     // default routes of other programs
	Narrower []routing.Route     // their other routes in our tables
	Pinned   []routing.Route     // host routes of other programs
	Ruled    []routing.OtherRule // rules of other programs
	rules    []routing.Rule
	// On are the devices, by index, that exist and are up.
	On map[int]bool
	// Refuse, if set, may fail an op; Unread, if set, is the error of a read.
	Refuse func(routing.Op) error
	Unread error
	// Slow is how long a read takes, Reads how many there were.
	Slow  time.Duration
	Reads int
}

// Read lists the daemon's routes and rules.
func (k *Routes) Read() (routing.State, error) {
	k.Lock()
	k.Reads++
	slow := k.Slow
	k.Unlock()
	time.Sleep(slow)
	k.Lock()
	defer k.Unlock()
	if k.Unread != nil {
		return routing.State{}, k.Unread
	}
	var s routing.State
	for _, r := range k.routes {
		r.Hops = slices.Clone(r.Hops)
		for i := range r.Hops {
			r.Hops[i].Device = "" // the kernel reports indexes only
		}
		s.Routes = append(s.Routes, r)
	}
	s.Rules = slices.Clone(k.rules)
	return s, nil
}

// ReadOthers lists the default routes and the rules of other programs.
func (k *Routes) ReadOthers(lane.Layout) (routing.Others, error) {
	k.Lock()
	defer k.Unlock()
	return routing.Others{Defaults: slices.Clone(k.Others), Narrower: slices.Clone(k.Narrower), Rules: slices.Clone(k.Ruled)}, nil
}

// OtherRules lists the rules of other programs.
func (k *Routes) OtherRules() ([]routing.OtherRule, error) {
	k.Lock()
	defer k.Unlock()
	return slices.Clone(k.Ruled), nil
}

// Proxied reports that no transparent proxy runs.
func (k *Routes) Proxied([]routing.OtherRule) (bool, error) { return false, nil }

// Pins lists the host routes of others.
func (k *Routes) Pins() ([]routing.Route, bool, error) {
	k.Lock()
	defer k.Unlock()
	return slices.Clone(k.Pinned), false, nil
}

// Do applies one op.
func (k *Routes) Do(op routing.Op) error {
	if err := k.try(op); err != nil {
		return err
	}
	k.Changed()
	return nil
}

func (k *Routes) try(op routing.Op) error {
	k.Lock()
	defer k.Unlock()
	if k.Refuse != nil {
		if err := k.Refuse(op); err != nil {
			return err
		}
	}
	for _, h := range op.Route.Hops {
		if op.Action != routing.DeleteRoute && !k.On[h.Index] {
			return unix.ENETDOWN
		}
	}
	inSlot := func(r routing.Route) bool { return r.Slot == op.Route.Slot }
	if op.Action == routing.AddRoute && (slices.ContainsFunc(k.routes, inSlot) || slices.ContainsFunc(k.Others, inSlot)) {
		return unix.EEXIST
	}
	if err := k.Journal.Note("%s", op); err != nil {
		return err
	}
	k.do(op)
	return nil
}

func (k *Routes) do(op routing.Op) {
	slot := slices.IndexFunc(k.routes, func(r routing.Route) bool { return r.Slot == op.Route.Slot })
	switch op.Action {
	case routing.ReplaceRoute, routing.AddRoute:
		if slot >= 0 {
			k.routes[slot] = op.Route
		} else {
			k.routes = append(k.routes, op.Route)
		}
	case routing.DeleteRoute:
		if slot >= 0 {
			k.routes = slices.Delete(k.routes, slot, slot+1)
		}
	case routing.AddRule:
		if !slices.Contains(k.rules, op.Rule) {
			k.rules = append(k.rules, op.Rule)
		}
	case routing.DeleteRule:
		k.rules = slices.DeleteFunc(k.rules, func(r routing.Rule) bool { return r == op.Rule })
	}
}

// Device sets a device up or down; with it go the routes by it.
func (k *Routes) Device(index int, on bool) {
	k.Lock()
	k.On[index] = on
	k.Unlock()
	if on {
		k.Changed()
		return
	}
	k.Lose(func(routing.Rule) bool { return false }, func(r routing.Route) bool {
		return slices.ContainsFunc(r.Hops, func(h routing.Hop) bool { return h.Index == index })
	})
}

// Lose deletes some of the daemon's rules and routes, as another program would.
func (k *Routes) Lose(rule func(routing.Rule) bool, route func(routing.Route) bool) {
	k.LoseUnnoticed(rule, route)
	k.Changed()
}

// LoseUnnoticed does the same without a message.
func (k *Routes) LoseUnnoticed(rule func(routing.Rule) bool, route func(routing.Route) bool) {
	k.Lock()
	defer k.Unlock()
	k.rules = slices.DeleteFunc(k.rules, rule)
	k.routes = slices.DeleteFunc(k.routes, route)
}

// Rungs lists the devices of each of a table's default routes, best first.
func (k *Routes) Rungs(f failover.Family, table int) [][]int {
	k.Lock()
	defer k.Unlock()
	var in []routing.Route
	for _, r := range k.routes {
		if r.Family == f && r.Table == table {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b routing.Route) int { return int(a.Metric) - int(b.Metric) })
	var out [][]int
	for _, r := range in {
		var devices []int
		for _, h := range r.Hops {
			devices = append(devices, h.Index)
		}
		out = append(out, devices)
	}
	return out
}

// Ladder lists the devices of a table's default routes, best first.
func (k *Routes) Ladder(f failover.Family, table int) []int {
	return slices.Concat(k.Rungs(f, table)...)
}

// Rules lists the daemon's rules.
func (k *Routes) Rules() []routing.Rule {
	k.Lock()
	defer k.Unlock()
	return slices.Clone(k.rules)
}

// Keeps counts the rules that keep packets on a device; on any device if it is empty.
func (k *Routes) Keeps(device string) (n int) {
	k.Lock()
	defer k.Unlock()
	for _, r := range k.rules {
		if r.OIF != "" && (r.OIF == device || device == "") {
			n++
		}
	}
	return n
}

// RuleTexts returns the rules that contain a text. It is expensive.
func (k *Routes) RuleTexts(text string) []string {
	var out []string
	for _, r := range k.Rules() {
		out = append(out, r.String())
	}
	return With(out, text)
}
