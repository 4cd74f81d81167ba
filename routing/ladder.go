package routing

import (
	"math"

	"swerve/failover"
	"swerve/lane"
)

// mirrorBase is the first metric of the ladder's copy in main. It is far above the
// metrics that network managers assign in sequence (at most some 21000 with
// NetworkManager's penalty), so that our routes neither take their slots nor have
// to move each time one of theirs comes or goes. FRR takes the upper byte of a metric for
// an administrative distance. With the largest it prefers any default route of its own
// to ours; it would remove its own from the kernel otherwise.
const mirrorBase = 0xff<<24 + 53000

// ways returns the hops of a ladder's routes, best first.
func (l Ladder) ways(f failover.Family, hops map[lane.Lane]way) [][]way {
	var ways [][]way
	for _, rung := range l.Rungs {
		var all []way
		for _, share := range rung {
			if hop, ok := hops[share.Uplink]; ok {
				hop.Weight = share.Weight
				all = append(all, hop)
			}
		}
		ways = append(ways, combine(f, all)...)
	}
	return ways
}

// combine returns one route's hops for hops that share the load. In IPv6 the kernel
// accepts no hop without a gateway in a route of several hops: those follow as
// routes of their own.
func combine(f failover.Family, hops []way) [][]way {
	var shared []way
	var ways [][]way
	for _, h := range hops {
		if f == failover.IPv6 && !h.Gateway.IsValid() {
			h.Weight = 1
			ways = append(ways, []way{h})
			continue
		}
		shared = append(shared, h)
	}
	switch len(shared) {
	case 0:
		return ways
	case 1:
		shared[0].Weight = 1
	}
	return append([][]way{shared}, ways...)
}

// fill returns routes for ways in the free slots of a table, at rising metrics.
// Ways for which no metric is left are omitted.
func fill(f failover.Family, table int, first uint64, ways [][]way, taken map[Slot]bool) []Route {
	var out []Route
	metric := first
	for _, hops := range ways {
		slot := Slot{Family: f, Table: table, Dst: anywhere(f), Metric: uint32(metric)}
		for taken[slot] {
			metric++
			slot.Metric = uint32(metric)
		}
		if metric > math.MaxUint32 {
			break
		}
		out = append(out, routeBy(slot, hops))
		metric++
	}
	return out
}

// routeBy returns our route in a slot by ways that share the load.
func routeBy(slot Slot, ways []way) Route {
	r := Route{Slot: slot, Protocol: lane.Protocol, Type: Unicast, Shape: ways[0].shape}
	for _, w := range ways {
		r.Hops = append(r.Hops, w.Hop)
		r.Shape = r.Shape.Shared(w.shape)
	}
	return r
}

// ahead returns the first metric of one of our tables. It is 1, which leaves room
// before it for a case of need: another program's default at that metric, such as a
// blackhole, would be met before ours. IPv6 has no metric below 1.
func ahead(f failover.Family, table int, taken map[Slot]bool) uint64 {
	slot := Slot{Family: f, Table: table, Dst: anywhere(f), Metric: 1}
	if f == failover.IPv4 && taken[slot] {
		return 0
	}
	return 1
}

// Intruder reports whether a route of another program is in one of our tables, and whether
// packets meet it before ours. Those of its source do, if it is for one, and those to the
// half of all addresses that it may be for.
func Intruder(r Route, l lane.Layout) (found, first bool) {
	if r.Protocol == lane.Protocol || l.LaneOf(r.Table) == 0 || r.TOS != 0 {
		return false, false
	}
	least := uint32(0)
	if r.Family == failover.IPv6 {
		least = 1
	}
	return true, r.Dst.Bits() == 0 && r.Metric <= least || r.Src.IsValid() || r.Dst.Bits() == 1
}

// unreachable returns the route that ends a ladder that blocks.
func unreachable(f failover.Family, table int, taken map[Slot]bool) Route {
	slot := Slot{Family: f, Table: table, Dst: anywhere(f), Metric: BlockMetric}
	for taken[slot] {
		slot.Metric++
	}
	return Route{Slot: slot, Protocol: lane.Protocol, Type: Unreachable}
}

// taken are the slots with routes of other programs.
func (g Goal) taken(f failover.Family) map[Slot]bool {
	taken := make(map[Slot]bool)
	for _, r := range g.Foreign {
		if r.Family == f && r.Protocol != lane.Protocol {
			taken[r.Slot] = true
		}
	}
	return taken
}

// mirrorMetric is the first metric in main that is worse than those of all default
// routes of other programs.
func (g Goal) mirrorMetric(f failover.Family) uint64 {
	metric := uint64(mirrorBase)
	for _, r := range g.Foreign {
		if r.Family == f && r.Table == MainTable && r.Protocol != lane.Protocol && r.Dst == anywhere(f) {
			metric = max(metric, uint64(r.Metric)+1)
		}
	}
	return metric
}
