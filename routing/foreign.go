package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// Default routes of other programs, such as a VPN's, that use none of our uplinks
// and are better than those of all uplinks carry the machine's traffic before
// Swerve starts. Unless they are to be overruled they stay in force for the default
// policy: while one exists in a family, that family has no rule that leads all
// packets to the default policy's ladder, and main decides. Two routes that each
// cover half of all addresses (0.0.0.0/1 and 128.0.0.0/1, ::/1 and 8000::/1) are in
// force in any case, since the rule before that one lets them pass.
//
// The default routes of strangers are no VPNs': they appeared by a network card or
// modem while uplinks carried the traffic, or belong to a former uplink. Where traffic
// followed them it would leave without NAT.

// ForeignDefault returns the default route, by none of our uplinks, that the
// default policy's packets take in a family: the first of two such halves, or the
// best default route of main that is kept. It reports false if the ladder decides.
func (g Goal) ForeignDefault(f failover.Family) (Route, bool) {
	if r, ok := g.foreignHalf(f); ok {
		return r, true
	}
	r, ok := g.betterForeign(f)
	if !ok || !g.KeepForeign || byStranger(g, r) && routable(g, f) {
		return Route{}, false
	}
	return r, true
}

// PassedOver returns the default route of a stranger that is better than those of
// all uplinks, while these carry the traffic all the same.
func (g Goal) PassedOver(f failover.Family) (Route, bool) {
	r, ok := g.betterForeign(f)
	return r, ok && g.KeepForeign && byStranger(g, r) && routable(g, f)
}

// OnStranger reports whether a family's traffic follows the default route of a
// stranger, since no uplink has a route.
func (g Goal) OnStranger(f failover.Family) bool {
	r, ok := g.ForeignDefault(f)
	return ok && byStranger(g, r)
}

func byStranger(g Goal, r Route) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return slices.Contains(g.Strangers, h.Index) })
}

// routable reports whether any uplink has routes in a family. If none has, the
// ladder is empty, and main decides in any case.
func routable(g Goal, f failover.Family) bool {
	return slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Index != 0 && u.Family[f].Routable })
}

// betterForeign returns the best default route of main, if it uses none of our
// uplinks and is better than those of all uplinks.
func (g Goal) betterForeign(f failover.Family) (Route, bool) {
	best, ok := g.bestMain(f)
	if !ok || g.onUplink(best) || best.Type == Unreachable && best.Metric == kernelsOwn {
		return Route{}, false
	}
	for _, r := range g.defaultsOf(f) {
		if r.Metric == best.Metric && g.onUplink(r) {
			return Route{}, false
		}
	}
	for _, u := range g.Uplinks {
		if known := u.Family[f].MainMetric; known != nil && *known <= best.Metric {
			return Route{}, false
		}
	}
	return best, true
}

// kernelsOwn is the metric of the unreachable default route that IPv6 has without
// any routes.
const kernelsOwn = 1<<32 - 1

// defaultsOf returns the default routes of other programs in main that are for all
// sources, best first.
func (g Goal) defaultsOf(f failover.Family) []Route {
	var out []Route
	for _, r := range g.Foreign {
		if r.Family == f && r.Table == MainTable && r.TOS == 0 && r.Dst == anywhere(f) && !r.Src.IsValid() && r.Protocol != lane.Protocol {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Route) int { return cmp.Compare(a.Metric, b.Metric) })
	return out
}

func (g Goal) bestMain(f failover.Family) (Route, bool) {
	for _, r := range g.defaultsOf(f) {
		if r.Type != throw {
			return r, true
		}
	}
	return Route{}, false
}

// throw is RTN_THROW: the lookup continues with the next rule.
const throw Type = 9

// foreignHalf returns the first of two routes that each cover half of all
// addresses, if both use none of our uplinks.
func (g Goal) foreignHalf(f failover.Family) (Route, bool) {
	var first Route
	for i, half := range halves[f] {
		in := slices.IndexFunc(g.Foreign, func(r Route) bool {
			return r.Family == f && r.Table == MainTable && r.TOS == 0 && r.Dst == half && !r.Src.IsValid() && !g.onUplink(r)
		})
		if in < 0 {
			return Route{}, false
		}
		if i == 0 {
			first = g.Foreign[in]
		}
	}
	return first, true
}

var halves = [2][2]netip.Prefix{
	failover.IPv4: {netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")},
	failover.IPv6: {netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")},
}

// onUplink reports whether a route uses the device of one of our uplinks. A route
// whose devices are unknown, as those of a nexthop object may be, counts as using
// one.
func (g Goal) onUplink(r Route) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool {
		return h.Index == 0 || slices.Contains(g.Unused, h.Index) ||
			slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Index == h.Index })
	})
}

// Metrics are those of the uplinks' own default routes in main, by lane and family;
// nil if there was none.
type Metrics map[lane.Lane][2]*uint32

// RecallMetrics sets the MainMetric of each path: that of the uplink's current
// default route in main, or, while there is none and the path is still routable,
// the previous one. A default route that is withdrawn for a moment, as at the
// renewal of a DHCP lease, must not give precedence to another program's. It
// returns the value to pass to the next call.
func (g *Goal) RecallMetrics(before Metrics) Metrics {
	now := make(Metrics, len(g.Uplinks))
	for i := range g.Uplinks {
		u := &g.Uplinks[i]
		var metrics [2]*uint32
		for _, f := range failover.Families {
			if u.Family[f].Routable {
				metrics[f] = before[u.Lane][f]
			}
			for _, r := range g.defaultsOf(f) {
				if slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Index == u.Index && u.Index != 0 }) {
					metrics[f] = new(r.Metric)
					break
				}
			}
			u.Family[f].MainMetric = metrics[f]
		}
		now[u.Lane] = metrics
	}
	return now
}
