package routing

import (
	"slices"

	"swerve/failover"
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
func (s State) Carrying(l failover.Layout) map[failover.Lane][2][]failover.Lane {
	uplinkOf := s.uplinksByIndex(l)
	carrying := make(map[failover.Lane][2][]failover.Lane)
	for _, r := range s.ladders(l) {
		lane := laneOfTable(l, r.Table)
		by := carrying[lane]
		if by[r.Family] != nil {
			continue // a lower rung
		}
		for _, h := range r.Hops {
			if up, ok := uplinkOf[h.Index]; ok {
				by[r.Family] = append(by[r.Family], up)
			}
		}
		slices.Sort(by[r.Family])
		carrying[lane] = by
	}
	return carrying
}

// ladders are the unicast default routes of the policies' tables, best first.
func (s State) ladders(l failover.Layout) []Route {
	var out []Route
	for _, r := range s.Routes {
		if r.Dst == anywhere(r.Family) && r.Type == Unicast && laneOfTable(l, r.Table).IsPolicy() {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRoutes)
	return out
}

// uplinksByIndex tells which uplink's table goes out of an interface. An
// interface that a ladder uses always has such a table: the kernel takes the
// routes of both when it goes.
func (s State) uplinksByIndex(l failover.Layout) map[int]failover.Lane {
	by := make(map[int]failover.Lane)
	for _, r := range s.Routes {
		if lane := laneOfTable(l, r.Table); lane.IsUplink() && len(r.Hops) == 1 {
			by[r.Hops[0].Index] = lane
		}
	}
	return by
}

// Lanes tells the lane of each interface that has a rule for the sockets bound to
// it: the uplinks of an earlier run, where nothing else remembers their lanes.
func (s State) Lanes(l failover.Layout) map[string]failover.Lane {
	lanes := make(map[string]failover.Lane)
	for _, r := range s.Rules {
		lane := laneOfTable(l, r.Table)
		if r.OIF != "" && lane.IsUplink() && r.Priority == oifPriority(l, lane) {
			lanes[r.OIF] = lane
		}
	}
	return lanes
}

// FromLanes tells, by family, the uplinks whose addresses have their rule, sorted.
// An uplink of an earlier run that is not among them was lost or drained then.
func (s State) FromLanes(l failover.Layout) [2][]failover.Lane {
	var lanes [2][]failover.Lane
	for _, r := range s.Rules {
		lane := laneOfTable(l, r.Table)
		if r.From.IsValid() && lane.IsUplink() && !slices.Contains(lanes[r.Family], lane) {
			lanes[r.Family] = append(lanes[r.Family], lane)
		}
	}
	slices.Sort(lanes[failover.IPv4])
	slices.Sort(lanes[failover.IPv6])
	return lanes
}

// laneOfTable is the lane whose table it is; 0, nobody's, where there is none.
func laneOfTable(l failover.Layout, table int) failover.Lane {
	n := table - l.FirstTable
	if n < int(failover.FirstUplinkLane) || n > int(failover.LastPolicyLane) {
		return 0
	}
	return failover.Lane(n)
}

func oifPriority(l failover.Layout, n failover.Lane) uint32 {
	return uint32(l.FirstPriority + oifOffset + int(n))
}
