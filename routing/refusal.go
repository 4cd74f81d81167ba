package routing

import (
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// Refusal is an uplink whose default route the kernel does not accept in one family.
type Refusal struct {
	Uplink lane.Lane
	Family failover.Family
	// Accepted: the kernel accepts the route without a part of its [failover.Shape], so
	// the uplink is still used.
	Accepted bool
	// Without is that part, in the words of ip(8), such as "congctl bbr".
	Without []string
	// Err is the error that the kernel returned.
	Err error
}

// Enforce reconciles the kernel with a goal, as [Apply] does. One uplink whose
// routes the kernel refuses does not affect the rest: its routes lose what the kernel
// refuses of their shape, and are left out if they are refused without any and the
// family has another uplink, so that no ladder is blocked by one of its rungs. The Result and the error are about what
// remains. rules, if not nil, replace the goal's.
func Enforce(k Kernel, g Goal, rules *[]Rule) (Result, []Refusal, error) {
	apply := func() (Result, error) {
		want := Desired(g)
		if rules != nil {
			want.Rules = *rules
		}
		return Apply(k, want)
	}
	res, err := apply()
	shaped := g.refusals(res.Failed)
	if len(shaped) == 0 {
		return res, nil, err
	}
	for i, r := range shaped {
		var shape failover.Shape
		shape, shaped[i].Without = g.accepted(k, r, res.State)
		g = g.changed([]Refusal{r}, func(p *Path) { p.Shape = shape })
	}
	res, err = apply()
	plain := g.refusals(res.Failed)
	for i, r := range shaped {
		shaped[i].Accepted = !slices.ContainsFunc(plain, r.same)
	}
	out := slices.DeleteFunc(slices.Clone(plain), func(r Refusal) bool { return !g.hasAnother(r.Family, plain) })
	if len(out) > 0 {
		g = g.changed(out, func(p *Path) { p.Routable = false })
		res, err = apply()
	}
	return res, shaped, err
}

// same reports whether both are of the same uplink and family.
func (r Refusal) same(o Refusal) bool { return r.Uplink == o.Uplink && r.Family == o.Family }

// refusals returns the failures in the uplinks' own tables. A route that is refused
// there is refused in every ladder.
func (g Goal) refusals(failed []Failure) []Refusal {
	var out []Refusal
	for _, f := range failed {
		n := g.Layout.LaneOf(f.Op.Route.Table)
		if f.Op.Action.onRule() || f.Op.Action.removes() || !n.IsUplink() {
			continue
		}
		r := Refusal{Uplink: n, Family: f.Op.Family(), Err: f.Err}
		if !slices.ContainsFunc(out, r.same) {
			out = append(out, r)
		}
	}
	return out
}

// hasAnother reports whether a family has a routable uplink that is not refused.
func (g Goal) hasAnother(f failover.Family, refused []Refusal) bool {
	return slices.ContainsFunc(g.Uplinks, func(u Uplink) bool {
		return u.Index != 0 && u.Family[f].Routable && !slices.ContainsFunc(refused, Refusal{Uplink: u.Lane, Family: f}.same)
	})
}

// changed returns the goal with change applied to the paths of refused uplinks.
func (g Goal) changed(refused []Refusal, change func(*Path)) Goal {
	g.Uplinks = slices.Clone(g.Uplinks)
	for i := range g.Uplinks {
		for _, r := range refused {
			if r.Uplink == g.Uplinks[i].Lane {
				change(&g.Uplinks[i].Family[r.Family])
			}
		}
	}
	return g
}

// Holds reports whether the kernel routes a policy's new flows by another uplink
// than the one that it lost, as far as a Result shows: other remaining work, for
// other policies, for other uplinks or in the main table, makes no difference.
func (r Result) Holds(l lane.Layout, f failover.Family, uplink, policy lane.Lane) bool {
	concerned := slices.ContainsFunc(r.Left, func(op Op) bool {
		if op.Family() != f || !op.Action.onRule() && op.Route.Table == MainTable {
			return false
		}
		n := op.lane(l)
		return n == 0 || n == policy
	})
	carrying := r.State.Carrying(l)[policy][f]
	if concerned && len(carrying) == 0 || slices.Contains(carrying, uplink) {
		return false
	}
	return !slices.ContainsFunc(r.Left, func(op Op) bool {
		return op.Action.onRule() && op.Family() == f && (op.lane(l) == 0 || op.lane(l) == policy)
	})
}

// lane returns the lane of the uplink or policy to which an op belongs; 0 for an op
// that belongs to all of them.
func (o Op) lane(l lane.Layout) lane.Lane {
	if !o.Action.onRule() {
		return l.LaneOf(o.Route.Table)
	}
	if n := l.LaneOf(o.Rule.Table); n != 0 {
		return n
	}
	if n := lane.Lane(int(o.Rule.Priority) - l.OIFUnreachablePriority(0)); o.Rule.Unreachable && n.IsUplink() {
		return n
	}
	return 0
}
