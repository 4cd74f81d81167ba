package routing

import (
	"net/netip"
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// State is the routes and rules of ours that the kernel holds, or should hold. The
// empty State is a kernel without any.
type State struct {
	Routes []Route
	Rules  []Rule
	// early are those of the rules that precede what should precede them.
	early []Rule
}

// sort sorts everything in the order in which it is compared and printed.
func (s *State) sort() {
	slices.SortFunc(s.Routes, compareRoutes)
	slices.SortFunc(s.Rules, compareRules)
}

// sameAs reports whether a sorted state is the same as one that is wanted, so that there
// is nothing to do.
func (s State) sameAs(o State) bool {
	return len(s.early)+len(o.early) == 0 && slices.EqualFunc(s.Routes, o.Routes, Route.sameAs) && slices.Equal(s.Rules, o.Rules)
}

// Empty reports whether there are no routes and rules.
func (s State) Empty() bool { return len(s.Routes) == 0 && len(s.Rules) == 0 }

// Carrying returns, for the lane of each policy that has a ladder, the uplinks of
// the first rung in each family, sorted. A new run adopts from it what an earlier
// one left in force.
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

// ladders returns the unicast default routes of the policies' tables, best first.
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

// uplinksByIndex returns, by the index of an interface, the uplink whose table has a
// route by it. There is one for every interface that a ladder uses: when an
// interface goes, the kernel deletes the routes of both.
func (s State) uplinksByIndex(l lane.Layout) map[int]lane.Lane {
	by := make(map[int]lane.Lane)
	for _, r := range s.Routes {
		if n := l.LaneOf(r.Table); n.IsUplink() && len(r.Hops) == 1 {
			by[r.Hops[0].Index] = n
		}
	}
	return by
}

// Lanes returns the lane of each interface that has a rule for the sockets bound to
// it. These are the uplinks of an earlier run, for when there is no other record
// of their lanes.
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

// MarkMask returns the mask under which rules of an earlier run find lanes in marks; 0
// if there is no such rule.
func (s State) MarkMask(l lane.Layout) uint32 {
	for _, r := range s.Rules {
		n := l.LaneOf(r.Table)
		own, ok := l.WithMarkMask(r.Mask)
		if ok && n != 0 && int(r.Priority) == l.MarkPriority(n) && r.Mark == own.Mark(n) {
			return r.Mask
		}
	}
	return 0
}

// Kept is the next hop in an uplink's own table, as an earlier run left it.
type Kept struct {
	// Index is the device's number, 0 where there is no next hop; Gateway is invalid
	// where none is needed.
	Index   int
	Gateway netip.Addr
	// Shape is what the route says of its packets, with the hop's realm and encap.
	Shape failover.Shape
	// Sources are the uplink's addresses that have a rule. Those of an uplink that was
	// lost or drained have none.
	Sources []netip.Addr
}

// Kept returns, by lane and family, the next hops of the uplinks' own tables.
func (s State) Kept(l lane.Layout) map[lane.Lane][2]Kept {
	all := make(map[lane.Lane][2]Kept)
	for _, r := range s.Routes {
		n := l.LaneOf(r.Table)
		if !n.IsUplink() || r.Dst != anywhere(r.Family) || r.Src.IsValid() || r.Type != Unicast || len(r.Hops) != 1 {
			continue
		}
		by := all[n]
		k := Kept{Index: r.Hops[0].Index, Gateway: r.Hops[0].Gateway, Shape: r.Shape}
		k.Shape.Realm, k.Shape.Encap = r.Hops[0].Realm, r.Hops[0].Encap
		by[r.Family] = k
		all[n] = by
	}
	for _, r := range s.Rules {
		if by, ok := all[l.LaneOf(r.Table)]; ok && r.From.IsValid() && r.From.IsSingleIP() {
			by[r.Family].Sources = append(by[r.Family].Sources, r.From.Addr())
			all[l.LaneOf(r.Table)] = by
		}
	}
	return all
}

// FromLanes returns, by family, the uplinks whose addresses have a rule, sorted. An
// uplink of an earlier run that is not among them was lost or drained.
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
