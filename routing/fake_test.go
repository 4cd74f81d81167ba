package routing

import (
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// fakeKernel has the kernel's semantics of slots and rules, and no others.
type fakeKernel struct {
	routes []Route // of every protocol; those of one slot in the order of their addition
	rules  []Rule
	// refuse, if set, returns an error for an op to refuse.
	refuse func(Op) error
	// after, if set, is called after each op that was done.
	after func(Op)
}

func (k *fakeKernel) Read() (State, error) {
	var s State
	for _, r := range k.routes {
		if r.Protocol == lane.Protocol {
			r.Hops = slices.Clone(r.Hops)
			for i := range r.Hops {
				r.Hops[i].Device = ""
			}
			s.Routes = append(s.Routes, r)
		}
	}
	s.Rules = slices.Clone(k.rules)
	s.sort()
	return s, nil
}

func (k *fakeKernel) Do(op Op) error {
	if k.refuse != nil {
		if err := k.refuse(op); err != nil {
			return err
		}
	}
	if err := k.do(op); err != nil {
		return err
	}
	if k.after != nil {
		k.after(op)
	}
	return nil
}

func (k *fakeKernel) do(op Op) error {
	slot := slices.IndexFunc(k.routes, func(r Route) bool { return r.Slot == op.Route.Slot })
	switch op.Action {
	case ReplaceRoute:
		if slot >= 0 {
			k.routes[slot] = op.Route
			return nil
		}
		k.routes = append(k.routes, op.Route)
	case AddRoute:
		if slot >= 0 {
			return unix.EEXIST
		}
		k.routes = append(k.routes, op.Route)
	case DeleteRoute:
		if i := slices.IndexFunc(k.routes, op.Route.sameAs); i >= 0 {
			k.routes = slices.Delete(k.routes, i, i+1)
		}
	case AddRule:
		if !slices.Contains(k.rules, op.Rule) {
			k.rules = append(k.rules, op.Rule)
		}
	case DeleteRule:
		if i := slices.Index(k.rules, op.Rule); i >= 0 {
			k.rules = slices.Delete(k.rules, i, i+1)
		}
	}
	return nil
}

// hasDefault reports whether a table has a default route.
func (k *fakeKernel) hasDefault(f failover.Family, table int) bool {
	return slices.ContainsFunc(k.routes, func(r Route) bool {
		return r.Family == f && r.Table == table && r.Dst == anywhere(f)
	})
}

// finds reports whether a packet to a remote host has a route: by the first rule that
// matches it and whose table has one, or by the kernel's own rule for main.
func (k *fakeKernel) finds(f failover.Family, mark uint32) bool {
	rules := slices.Clone(k.rules)
	slices.SortStableFunc(rules, compareRules)
	for _, r := range rules {
		switch {
		case r.Family != f, r.OIF != "", r.From.IsValid(), mark&r.Mask != r.Mark:
		case r.Unreachable:
			return false
		case r.Suppress < 0 && k.hasDefault(f, r.Table):
			return true
		}
	}
	return k.hasDefault(f, MainTable)
}

// foreignDefaults returns the routes of other protocols.
func (k *fakeKernel) foreign() []Route {
	var out []Route
	for _, r := range k.routes {
		if r.Protocol != lane.Protocol {
			out = append(out, r)
		}
	}
	return out
}
