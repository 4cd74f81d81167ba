package routing

import (
	"cmp"
	"slices"

	"swerve/failover"
)

// Plan returns the ops that lead from the state that the kernel has to the one that
// it should have, ordered so that every prefix leaves a working machine. It
// returns none if both are the same. Against a State just read, the plan is the
// drift that a repair has to undo.
func Plan(want, have State) []Op {
	if want.sameAs(have) {
		return nil // as each reading after a switch should show
	}
	var ops []Op
	held := bySlot(have.Routes)
	ops = append(ops, routesIn(want, held)...)
	have, moves := reordered(want, have)
	ops = append(ops, moves...)
	ops = append(ops, rulesIn(want, have)...)
	ops = append(ops, rulesOut(want, have)...)
	return append(ops, routesOut(want, held)...)
}

// inOrder returns what is sorted as a rule: a copy only if it is not.
func inOrder[T any](all []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(all, compare) {
		return all
	}
	return slices.SortedFunc(slices.Values(all), compare)
}

// routesIn returns the ops that fill slots: first the best rungs of all tables, since
// they carry the traffic, then the second ones.
func routesIn(want State, held map[Slot][]Route) []Op {
	rungs := rungs(want.Routes)
	var ops []Op
	for _, r := range want.Routes {
		in := held[r.Slot]
		switch {
		case slices.ContainsFunc(in, r.sameAs):
		case len(in) == 0 && r.Table == MainTable:
			ops = append(ops, Op{Action: AddRoute, Route: r})
		default:
			ops = append(ops, Op{Action: ReplaceRoute, Route: r})
		}
	}
	slices.SortStableFunc(ops, func(a, b Op) int {
		return cmp.Or(cmp.Compare(rungs[a.Route.Slot], rungs[b.Route.Slot]), compareSlots(a.Route.Slot, b.Route.Slot))
	})
	return ops
}

// rungs numbers the slots of each table from 0, best first.
func rungs(routes []Route) map[Slot]int {
	type table struct {
		family failover.Family
		id     int
	}
	next := make(map[table]int)
	rungs := make(map[Slot]int, len(routes))
	for _, r := range inOrder(routes, compareRoutes) {
		t := table{r.Family, r.Table}
		rungs[r.Slot] = next[t]
		next[t]++
	}
	return rungs
}

// routesOut returns the ops that empty slots which should not be ours, the worst
// rungs first. Where a slot holds several routes, one stays: the wanted one, or
// else the first, which is the one that this plan's replace affects.
func routesOut(want State, held map[Slot][]Route) []Op {
	wanted := make(map[Slot]Route, len(want.Routes))
	for _, r := range want.Routes {
		wanted[r.Slot] = r
	}
	var ops []Op
	for slot, in := range held {
		if w, ok := wanted[slot]; ok {
			keep := max(0, slices.IndexFunc(in, w.sameAs))
			in = slices.Delete(slices.Clone(in), keep, keep+1)
		}
		for _, r := range in {
			ops = append(ops, Op{Action: DeleteRoute, Route: r})
		}
	}
	slices.SortFunc(ops, func(a, b Op) int {
		return cmp.Or(compareTables(a.Route.Table, b.Route.Table), cmp.Compare(a.Route.Family, b.Route.Family),
			compareRoutes(b.Route, a.Route))
	})
	return ops
}

func bySlot(routes []Route) map[Slot][]Route {
	by := make(map[Slot][]Route, len(routes))
	for _, r := range routes {
		by[r.Slot] = append(by[r.Slot], r)
	}
	return by
}

// rulesIn returns the ops that add rules, by rising priority: the rule for main comes
// before those that would send a neighbour's packet to the gateway.
func rulesIn(want, have State) []Op {
	return ruleOps(AddRule, want.Rules, have.Rules)
}

// rulesOut returns the ops that delete rules, in the reverse order of adding them.
func rulesOut(want, have State) []Op {
	ops := ruleOps(DeleteRule, have.Rules, want.Rules)
	slices.Reverse(ops)
	return ops
}

// ruleOps returns an action for each of the rules that the other list lacks.
// Duplicates count individually.
func ruleOps(do Action, rules, other []Rule) []Op {
	left := make(map[Rule]int, len(other))
	for _, r := range other {
		left[r]++
	}
	var ops []Op
	for _, r := range inOrder(rules, compareRules) {
		if left[r] > 0 {
			left[r]--
			continue
		}
		ops = append(ops, Op{Action: do, Rule: r})
	}
	return ops
}
