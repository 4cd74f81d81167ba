package routing

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Desired returns the routes and rules for a goal. Equal goals have equal states.
func Desired(g Goal) State {
	var s State
	for _, f := range failover.Families {
		if f == failover.IPv6 && g.NoIPv6 {
			continue
		}
		s.Routes = append(s.Routes, g.routes(f)...)
		s.Rules = append(s.Rules, g.rules(f)...)
	}
	s.sort()
	return s
}

func (g Goal) routes(f failover.Family) []Route {
	var out []Route
	taken := g.taken(f)
	hops := g.ways(f)
	for _, u := range g.Uplinks {
		out = append(out, g.own(f, u.Lane, hops, taken)...)
	}
	out = append(out, g.overruling(f, hops, taken)...)
	for _, p := range g.Policies {
		ways := p.Family[f].ways(f, hops)
		table := g.Layout.Table(p.Lane)
		out = append(out, fill(f, table, ahead(f, table, taken), ways, taken)...)
		if p.Family[f].Block {
			out = append(out, unreachable(f, table, taken))
		}
		if g.Mirror && p.Lane == lane.DefaultPolicy {
			out = append(out, fill(f, MainTable, g.mirrorMetric(f), ways, taken)...)
		}
	}
	return out
}

// own returns the route of an uplink's own table, or nothing if it is not routable.
func (g Goal) own(f failover.Family, n lane.Lane, hops map[lane.Lane]way, taken map[Slot]bool) []Route {
	hop, ok := hops[n]
	if !ok {
		return nil
	}
	table := g.Layout.Table(n)
	return fill(f, table, ahead(f, table, taken), [][]way{{hop}}, taken)
}

// way is an uplink's next hop, and what routes by it say.
type way struct {
	Hop
	shape failover.Shape
}

// ways returns the way of each uplink that is routable now.
func (g Goal) ways(f failover.Family) map[lane.Lane]way {
	ways := make(map[lane.Lane]way)
	for _, u := range g.Uplinks {
		p := u.Family[f]
		if !p.Routable || u.Index == 0 {
			continue
		}
		w := way{shape: p.Shape}
		w.shape.Realm, w.shape.Encap = 0, failover.Encap{}
		w.Hop = Hop{
			Device: u.Interface, Index: u.Index, Gateway: p.Gateway, OnLink: p.Gateway.IsValid(), Weight: 1, Realm: p.Shape.Realm,
			Encap: p.Shape.Encap,
		}
		ways[u.Lane] = w
	}
	return ways
}

func (g Goal) rules(f failover.Family) []Rule {
	out := g.baseRules(f)
	out = append(out, rule(f, g.mainAgain(f), Rule{Table: MainTable, Suppress: 0}))
	if best, kept := g.betterForeign(f); !kept || !g.KeepForeign || byStranger(g, best) {
		out = append(out, Rule{Family: f, Priority: lane.LastResortPriority, Table: g.Layout.Table(lane.DefaultPolicy), Suppress: -1})
	}
	out = append(append(out, g.sourceRules(f)...), formerRules(g, f)...)
	for _, u := range g.Uplinks {
		out = append(out, g.laneRule(f, u.Lane))
		out = append(out, g.fromRules(f, u)...)
		out = append(out, g.oifRules(f, u)...)
	}
	for _, p := range g.Policies {
		out = append(out, g.laneRule(f, p.Lane))
	}
	if f == failover.IPv4 {
		out = append(out, g.arrivalRules()...)
	}
	return append(out, g.markedRules(f)...)
}

// markedRules lead what comes in by an uplink and has its lane's mark around the lanes,
// where rules of others precede our first one: nobody but another program gives it that
// mark, by restoring all of a conntrack mark. Ours would send it back where it came
// from. It goes on after the rules for sources, so that the others have their turn.
func (g Goal) markedRules(f failover.Family) (out []Rule) {
	if len(g.pastBase(f)) == 0 {
		return nil
	}
	for _, u := range g.Uplinks {
		if !u.nameFits() || u.Strict && f == failover.IPv4 {
			continue
		}
		out = append(out, arrivalRule(g, f, u, g.afterFrom()))
	}
	return out
}

// arrivalRules lead what comes in by an uplink with strict reverse path filtering
// around the lanes. It has the uplink's lane, so that the lookup of its reverse path,
// for which it came in by no device, finds the uplink's table. Its own way is looked up
// with the same mark, and must not be that table where only another program's rule
// knows the destination. The lookup goes on with the rule after all lanes, which
// repeats the first one: so the order of rules at the first priority is of no
// importance.
func (g Goal) arrivalRules() []Rule {
	after := g.Layout.MarkPriority(lane.Nobody)
	var out []Rule
	for _, u := range g.Uplinks {
		if !u.Strict || !u.nameFits() {
			continue
		}
		out = append(out, arrivalRule(g, failover.IPv4, u, after))
	}
	if len(out) > 0 {
		out = append(out, g.afterLanes(after)...)
	}
	return out
}

// arrivalRule leads what comes in by an uplink and has its lane's mark to the rules from
// a priority on.
func arrivalRule(g Goal, f failover.Family, u Uplink, to int) Rule {
	return rule(f, g.Layout.FirstPriority, Rule{
		Selector: arriving(u.Interface, g.Layout.Mark(u.Lane), g.Layout.MarkMask), Goto: uint32(to), Suppress: -1,
	})
}

// rule returns r with its family and priority.
func rule(f failover.Family, priority int, r Rule) Rule {
	r.Family, r.Priority = f, uint32(priority)
	return r
}

func (g Goal) laneRule(f failover.Family, n lane.Lane) Rule {
	return rule(f, g.Layout.MarkPriority(n), Rule{
		Mark: g.Layout.Mark(n), Mask: g.Layout.MarkMask, Table: g.Layout.Table(n), Suppress: -1,
	})
}

// fromRules keep sockets that are bound to one of the uplink's addresses on the
// uplink. They match packets without any mark: a flow that has a lane follows its
// lane.
func (g Goal) fromRules(f failover.Family, u Uplink) []Rule {
	if !u.Family[f].FromRule {
		return nil
	}
	var out []Rule
	for _, a := range u.Family[f].Addresses {
		a = a.WithZone("")
		out = append(out, rule(f, g.Layout.FromPriority(u.Lane), Rule{
			From: netip.PrefixFrom(a, a.BitLen()), Mask: fullMask, Table: g.Layout.Table(u.Lane), Suppress: -1,
		}))
	}
	return out
}

// oifRules keep sockets that are bound to the uplink's device on it, also while it
// has no route.
//
// Of a lost uplink the last of them is in IPv6 for probes alone, which have the lane's mark.
// What is bound there stays without it: the kernel accepts no route by another device for
// that, nor for a datagram that names the device and leaves its source to the kernel. One
// that names both is a hint for it. Without carrier there it has to find another route, or
// it ends before the packet filter sees it, and moves it on. In IPv4 the kernel takes the
// destination for a neighbour then.
func (g Goal) oifRules(f failover.Family, u Uplink) []Rule {
	if !u.nameFits() {
		return nil
	}
	ends := Rule{OIF: u.Interface, Unreachable: true, Suppress: -1}
	if f == failover.IPv6 && u.Family[f].Lost {
		ends.Mark, ends.Mask = g.Layout.Mark(u.Lane), g.Layout.MarkMask
	}
	return []Rule{
		rule(f, g.Layout.OIFPriority(u.Lane), Rule{OIF: u.Interface, Table: g.Layout.Table(u.Lane), Suppress: -1}),
		rule(f, g.Layout.OIFUnreachablePriority(u.Lane), ends),
	}
}

// nameFits reports whether a rule can hold the interface's name: it cannot hold an
// altname of 16 bytes or more, and no device has it for a name.
func (u Uplink) nameFits() bool { return u.Interface != "" && len(u.Interface) < unix.IFNAMSIZ }
