package routing

import (
	"math"

	"swerve/failover"
	"swerve/lane"
)

// mirrorBase is the first metric of the ladder's copy in main. It is far from
// the metrics that network managers give out one after the other (at most some
// 21000 with NetworkManager's penalty), so that ours neither stand in their way
// nor have to move each time one of theirs comes or goes.
const mirrorBase = 53000

// ways turns a ladder into the hops of its routes, best first.
func (l Ladder) ways(f failover.Family, hops map[lane.Lane]Hop) [][]Hop {
	var ways [][]Hop
	for _, rung := range l.Rungs {
		var all []Hop
		for _, share := range rung {
			if hop, ok := hops[share.Uplink]; ok {
				hop.Weight = share.Weight
				all = append(all, hop)
			}
		}
		ways = append(ways, together(f, all)...)
	}
	return ways
}

// together makes one way of hops that share the load. IPv6 takes no device
// without a gateway into a route of several hops: such ones follow one by one.
func together(f failover.Family, hops []Hop) [][]Hop {
	var shared []Hop
	var ways [][]Hop
	for _, h := range hops {
		if f == failover.IPv6 && !h.Gateway.IsValid() {
			h.Weight = 1
			ways = append(ways, []Hop{h})
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
	return append([][]Hop{shared}, ways...)
}

// fill puts ways into the free slots of a table at rising metrics. What has no
// slot left, at the end of all metrics, is left out.
func fill(f failover.Family, table int, first uint64, ways [][]Hop, taken map[Slot]bool) []Route {
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
		out = append(out, Route{Slot: slot, Protocol: lane.Protocol, Type: Unicast, Hops: hops})
		metric++
	}
	return out
}

// unreachable is the end of a blocked ladder.
func unreachable(f failover.Family, table int, taken map[Slot]bool) Route {
	slot := Slot{Family: f, Table: table, Dst: anywhere(f), Metric: BlockMetric}
	for taken[slot] {
		slot.Metric++
	}
	return Route{Slot: slot, Protocol: lane.Protocol, Type: Unreachable}
}

// taken are the slots that hold routes of others.
func (g Goal) taken(f failover.Family) map[Slot]bool {
	taken := make(map[Slot]bool)
	for _, r := range g.Foreign {
		if r.Family == f && r.Protocol != lane.Protocol {
			taken[r.Slot] = true
		}
	}
	return taken
}

// mirrorMetric is the first metric in main that is worse than those of all
// default routes of others.
func (g Goal) mirrorMetric(f failover.Family) uint64 {
	metric := uint64(mirrorBase)
	for _, r := range g.Foreign {
		if r.Family == f && r.Table == MainTable && r.Protocol != lane.Protocol && r.Dst == anywhere(f) {
			metric = max(metric, uint64(r.Metric)+1)
		}
	}
	return metric
}
