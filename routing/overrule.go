package routing

import (
	"net/netip"
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// While an uplink is lost, two kinds of other programs' routes in main still lead to
// it. They are never deleted, but overruled by routes of ours with a metric that is
// lower by one:
//
//   - main's best default route, for programs that only use main;
//   - pins: host routes of a DHCP client, of router advertisements or of
//     systemd-networkd to public addresses by the uplink's gateway, such as those to
//     the resolvers of a lease. They precede the ladders.
//
// The overruling routes use the first rung of the default policy that is not lost.

// MaxPins bounds the pins that are read.
const MaxPins = 64

// liveWay returns the ways of the default policy's first rung without a lost
// uplink.
func (g Goal) liveWay(f failover.Family, hops map[lane.Lane]way) []way {
	for _, p := range g.Policies {
		if p.Lane != lane.DefaultPolicy {
			continue
		}
		for _, rung := range p.Family[f].Rungs {
			if slices.ContainsFunc(rung, func(s Share) bool { return g.lostLane(f, s.Uplink) }) {
				continue
			}
			if ways := (Ladder{Rungs: []Rung{rung}}).ways(f, hops); len(ways) > 0 {
				return ways[0]
			}
		}
	}
	return nil
}

func (g Goal) lostLane(f failover.Family, n lane.Lane) bool {
	return slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == n && u.Family[f].Lost })
}

// leadsToLost reports whether all hops of a route use lost uplinks.
func (g Goal) leadsToLost(f failover.Family, r Route) bool {
	return len(r.Hops) > 0 && !slices.ContainsFunc(r.Hops, func(h Hop) bool {
		return !slices.ContainsFunc(g.Uplinks, func(u Uplink) bool {
			return u.Index == h.Index && h.Index != 0 && u.Family[f].Lost
		})
	})
}

// overruling returns our routes in main that overrule those that lead to lost
// uplinks.
func (g Goal) overruling(f failover.Family, hops map[lane.Lane]way, taken map[Slot]bool) []Route {
	live := g.liveWay(f, hops)
	if live == nil {
		return nil
	}
	var out []Route
	over := func(r Route) {
		slot := r.Slot
		slot.Metric--
		if !taken[slot] {
			out = append(out, routeBy(slot, live))
		}
	}
	if best, dead, can := g.deadMain(f, live); dead && can {
		over(best)
	}
	for _, r := range g.lostPins(f) {
		if r.Metric >= leastMetric[f] {
			over(r)
		}
	}
	return out
}

// leastMetric is the least metric of a host route that another route can precede;
// IPv6 replaces 0 with its default of 1024.
var leastMetric = [2]uint32{failover.IPv4: 1, failover.IPv6: 2}

// deadMain returns main's best default route if it leads to a lost uplink; can
// reports whether a route by live may precede it. None can if its metric is less
// than 2, or if main has a VPN's default route that would come after it and before
// the ways of live.
func (g Goal) deadMain(f failover.Family, live []way) (best Route, dead, can bool) {
	best, ok := g.bestMain(f)
	if _, halves := g.foreignHalf(f); !ok || halves || !g.Mirror || !g.leadsToLost(f, best) {
		return Route{}, false, false
	}
	if best.Metric < 2 {
		return best, true, false
	}
	for _, r := range g.defaultsOf(f) {
		if r.Type == Unicast && slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Index == live[0].Index }) {
			break // main prefers the way to whatever follows
		}
		if r.Type == Unicast && !g.onUplink(r) {
			return best, true, false
		}
	}
	return best, true, true
}

// MainLeadsToDead returns main's best default route if it leads to a lost uplink
// and cannot be overruled, although another uplink carries traffic.
func (g Goal) MainLeadsToDead(f failover.Family) (Route, bool) {
	live := g.liveWay(f, g.ways(f))
	if live == nil {
		return Route{}, false
	}
	best, dead, can := g.deadMain(f, live)
	return best, dead && !can
}

// lostPins returns the best pin of each destination, if it leads to a lost uplink.
func (g Goal) lostPins(f failover.Family) []Route {
	best := make(map[netip.Prefix]Route)
	for _, r := range g.Pins {
		if b, ok := best[r.Dst]; r.Family == f && (!ok || r.Metric < b.Metric) {
			best[r.Dst] = r
		}
	}
	var out []Route
	for _, r := range best {
		if g.leadsToLost(f, r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRoutes)
	return out
}

// Pinned returns the pins to lost uplinks that no route can precede, although
// another uplink carries traffic.
func (g Goal) Pinned(f failover.Family) []Route {
	if g.liveWay(f, g.ways(f)) == nil {
		return nil
	}
	return slices.DeleteFunc(g.lostPins(f), func(r Route) bool { return r.Metric >= leastMetric[f] })
}

// isPin reports whether a route of main binds a public address to a gateway.
func isPin(r Route) bool {
	return r.Table == MainTable && r.TOS == 0 && !r.Src.IsValid() && r.Type == Unicast && r.Dst.IsSingleIP() && failover.IsPublic(r.Dst.Addr()) &&
		len(r.Hops) == 1 && r.Hops[0].Gateway.IsValid() && r.Hops[0].Gateway != r.Dst.Addr()
}
