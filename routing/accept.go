package routing

import (
	"slices"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// One value that the kernel refuses, such as a congestion control that it does not
// have, must not cost the others: without its mtu an uplink may be useless. The
// kernel does not tell which value it refuses, so it is asked, by the route of the
// uplink's own table.

// aspect is one attribute of a shape.
type aspect struct {
	// text is the attribute in the words of ip(8).
	text string
	// add adds it to another shape.
	add func(*failover.Shape)
}

// aspects returns the attributes that a shape sets, the sizes of packets first: they
// are the last to be done without.
func aspects(s failover.Shape) []aspect {
	var out []aspect
	for n, word := range metricWords {
		text := metricText(s, n)
		if word.name == "" || text == "" || n == unix.RTAX_CC_ALGO {
			continue
		}
		out = append(out, aspect{word.name + " " + text, func(to *failover.Shape) {
			to.Metrics[n] = s.Metrics[n]
			to.Metrics[unix.RTAX_LOCK] |= s.Metrics[unix.RTAX_LOCK] & (1 << n)
		}})
	}
	if s.Source.IsValid() {
		out = append(out, aspect{"src " + s.Source.String(), func(to *failover.Shape) { to.Source = s.Source }})
	}
	if s.Realm != 0 {
		out = append(out, aspect{"realm " + realmText(s.Realm), func(to *failover.Shape) { to.Realm = s.Realm }})
	}
	if s.Congestion != "" {
		out = append(out, aspect{"congctl " + s.Congestion, func(to *failover.Shape) {
			to.Congestion = s.Congestion
			to.Metrics[unix.RTAX_LOCK] |= s.Metrics[unix.RTAX_LOCK] & (1 << unix.RTAX_CC_ALGO)
		}})
	}
	return out
}

// shapeOf returns least with the aspects for which keep returns true, and the texts
// of the others.
func shapeOf(least failover.Shape, all []aspect, keep func(i int) bool) (s failover.Shape, without []string) {
	s = least
	for i, a := range all {
		if keep(i) {
			a.add(&s)
		} else {
			without = append(without, a.text)
		}
	}
	return s, without
}

// trial tries the shapes of one refused path on the route of the uplink's own table.
type trial struct {
	kernel Kernel
	route  func(failover.Shape) Route
	held   []Route
}

// holds reports whether the kernel held the route with a shape before the trial.
func (t trial) holds(s failover.Shape) bool { return slices.ContainsFunc(t.held, t.route(s).sameAs) }

// takes reports whether the kernel accepts the route with a shape.
func (t trial) takes(s failover.Shape) bool {
	return t.kernel.Do(Op{Action: ReplaceRoute, Route: t.route(s)}) == nil
}

// accepted returns what the kernel accepts of the shape of a refused path, and the
// words of the rest. It leaves the route of the uplink's own table with that shape.
// While the kernel holds a part of the shape already, there is no moment with less.
func (g Goal) accepted(k Kernel, r Refusal, held State) (failover.Shape, []string) {
	in := slices.IndexFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == r.Uplink })
	own := func(s failover.Shape) []Route {
		g := g.changed([]Refusal{r}, func(p *Path) { p.Shape = s })
		return g.own(r.Family, r.Uplink, g.ways(r.Family), g.taken(r.Family))
	}
	if in < 0 || len(own(failover.Shape{})) == 0 {
		return failover.Shape{}, nil
	}
	t := trial{kernel: k, route: func(s failover.Shape) Route { return own(s)[0] }, held: held.Routes}
	full := g.Uplinks[in].Family[r.Family].Shape
	all, least := aspects(full), failover.Shape{Encap: full.Encap} // without it packets would go elsewhere
	parts := make([]bool, len(all))
	kept := func(i int) bool { return parts[i] }
	for i, a := range all {
		parts[i] = slices.ContainsFunc(held.Routes, func(h Route) bool { return h.Slot == t.route(failover.Shape{}).Slot && h.has(a) })
	}
	if s, _ := shapeOf(least, all, kept); !t.holds(s) {
		for i := range all {
			if s, without := shapeOf(least, all, func(j int) bool { return j != i }); t.takes(s) {
				return s, without
			}
		}
		clear(parts)
		if !t.takes(least) {
			return failover.Shape{}, nil
		}
	}
	for i := range all {
		if !parts[i] {
			parts[i] = true
			s, _ := shapeOf(least, all, kept)
			parts[i] = t.takes(s)
		}
	}
	return shapeOf(least, all, kept)
}

// has reports whether a route of one hop has an attribute.
func (r Route) has(a aspect) bool {
	s := r.Shape
	if len(r.Hops) == 1 {
		s.Realm = r.Hops[0].Realm
	}
	with := s
	a.add(&with)
	return with == s
}
