package routing

import (
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// State is what the kernel holds, or should hold, of ours. The empty State is a
// kernel without us.
type State struct {
	Routes []Route
	Rules  []Rule
}

// sort puts everything into the order in which it is compared and printed.
func (s *State) sort() {
	for _, r := range s.Routes {
		slices.SortFunc(r.Hops, compareHops)
	}
	slices.SortFunc(s.Routes, compareRoutes)
	slices.SortFunc(s.Rules, compareRules)
}

// Empty reports whether nothing of ours is there.
func (s State) Empty() bool { return len(s.Routes) == 0 && len(s.Rules) == 0 }

// Carrying tells, by the lane of each policy that has a ladder, the uplinks of
// the first rung in each family, sorted. It is how a new run learns what an
// earlier one left in force.
func (s State) Carrying(l lane.Layout) map[lane.Lane][2][]lane.Lane {
	uplinkOf := s.uplinksByIndex(l)
	carrying := make(map[lane.Lane][2][]lane.Lane)
	for _, r := range s.ladders(l) {
		n := l.LaneOf(r.Table)
		by := carrying[n]
		if by[r.Family] != nil {
			continue // a lower rung
		}
		for _, h := range r.Hops {
			if up, ok := uplinkOf[h.Index]; ok {
				by[r.Family] = append(by[r.Family], up)
			}
		}
		slices.Sort(by[r.Family])
		carrying[n] = by
	}
	return carrying
}

// ladders are the unicast default routes of the policies' tables, best first.
func (s State) ladders(l lane.Layout) []Route {
	var out []Route
	for _, r := range s.Routes {
		if r.Dst == anywhere(r.Family) && r.Type == Unicast && l.LaneOf(r.Table).IsPolicy() {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRoutes)
	return out
}

// uplinksByIndex tells which uplink's table goes out of an interface. An
// interface that a ladder uses always has such a table: the kernel takes the
// routes of both when it goes.
func (s State) uplinksByIndex(l lane.Layout) map[int]lane.Lane {
	by := make(map[int]lane.Lane)
	for _, r := range s.Routes {
		if n := l.LaneOf(r.Table); n.IsUplink() && len(r.Hops) == 1 {
			by[r.Hops[0].Index] = n
		}
	}
	return by
}

// Lanes tells the lane of each interface that has a rule for the sockets bound to
// it: the uplinks of an earlier run, where nothing else remembers their lanes.
func (s State) Lanes(l lane.Layout) map[string]lane.Lane {
	lanes := make(map[string]lane.Lane)
	for _, r := range s.Rules {
		n := l.LaneOf(r.Table)
		if r.OIF != "" && n.IsUplink() && int(r.Priority) == l.OIFPriority(n) {
			lanes[r.OIF] = n
		}
	}
	return lanes
}

// FromLanes tells, by family, the uplinks whose addresses have their rule, sorted.
// An uplink of an earlier run that is not among them was lost or drained then.
func (s State) FromLanes(l lane.Layout) [2][]lane.Lane {
	var lanes [2][]lane.Lane
	for _, r := range s.Rules {
		n := l.LaneOf(r.Table)
		if r.From.IsValid() && n.IsUplink() && !slices.Contains(lanes[r.Family], n) {
			lanes[r.Family] = append(lanes[r.Family], n)
		}
	}
	slices.Sort(lanes[failover.IPv4])
	slices.Sort(lanes[failover.IPv6])
	return lanes
}
