package routing

import (
	"slices"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

// other returns a default route of another program in main by the device with an
// index.
func other(f failover.Family, metric uint32, index int) Route {
	r := Route{Slot: Slot{Family: f, Table: MainTable, Dst: anywhere(f), Metric: metric}, Protocol: 16, Type: Unicast}
	r.Hops = []Hop{{Index: index, Weight: 1}}
	return r
}

func half(f failover.Family, n, index int) Route {
	r := other(f, 0, index)
	r.Dst = halves[f][n]
	return r
}

func TestForeignDefault(t *testing.T) {
	const v4, v6 = failover.IPv4, failover.IPv6
	tos, wall := other(v4, 10, 9), other(v4, 10, 9)
	tos.TOS = 8
	wall.Type, wall.Hops = Unreachable, nil
	kernels := other(v6, kernelsOwn, 1)
	kernels.Type, kernels.Hops = Unreachable, nil
	shared := other(v4, 10, 9)
	shared.Hops = append(shared.Hops, Hop{Index: 3, Weight: 1})
	for name, c := range map[string]struct {
		family  failover.Family
		foreign []Route
		kept    int // the index of a device; 0 for none, -1 for one that is not a device
		bare    bool
	}{
		"uplinks only":               {v4, []Route{other(v4, 100, 2), other(v4, 200, 3)}, 0, false},
		"better than all":            {v4, []Route{other(v4, 100, 2), other(v4, 200, 3), other(v4, 50, 9)}, 9, true},
		"the other family":           {v6, []Route{other(v4, 50, 9), other(v6, 1024, 2)}, 0, false},
		"IPv6":                       {v6, []Route{other(v6, 50, 9), other(v6, 1024, 2)}, 9, true},
		"between":                    {v4, []Route{other(v4, 100, 2), other(v4, 200, 3), other(v4, 150, 9)}, 0, false},
		"as good as one":             {v4, []Route{other(v4, 100, 9), other(v4, 100, 2)}, 0, false},
		"behind a metric of 0":       {v4, []Route{other(v4, 0, 2), other(v4, 50, 9)}, 0, false},
		"the only one":               {v4, []Route{other(v4, 600, 9)}, 9, true},
		"an uplink that is off":      {v4, []Route{other(v4, 10, 7), other(v4, 50, 9), other(v4, 100, 2)}, 0, false},
		"shared with an uplink":      {v4, []Route{shared, other(v4, 100, 2)}, 0, false},
		"devices not told":           {v4, []Route{other(v4, 10, 0), other(v4, 100, 2)}, 0, false},
		"for a TOS":                  {v4, []Route{tos, other(v4, 100, 2)}, 0, false},
		"a kill switch":              {v4, []Route{wall, other(v4, 100, 2)}, -1, true},
		"the kernel's unreachable":   {v6, []Route{kernels}, 0, false},
		"halves":                     {v4, []Route{half(v4, 0, 9), half(v4, 1, 9), other(v4, 100, 2)}, 9, false},
		"halves, IPv6":               {v6, []Route{half(v6, 0, 9), half(v6, 1, 9), other(v6, 100, 2)}, 9, false},
		"one half":                   {v4, []Route{half(v4, 1, 9), other(v4, 100, 2)}, 0, false},
		"halves by an uplink":        {v4, []Route{half(v4, 0, 2), half(v4, 1, 2), other(v4, 100, 2)}, 0, false},
		"halves and a worse default": {v4, []Route{half(v4, 0, 9), half(v4, 1, 9), other(v4, 700, 8), other(v4, 100, 2)}, 9, false},
	} {
		g := exampleGoal()
		g.KeepForeign, g.Unused, g.Foreign = true, []int{7}, c.foreign
		g.RecallMetrics(nil)
		check := func(kept int, bare bool) {
			t.Helper()
			r, ok := g.ForeignDefault(c.family)
			switch {
			case ok != (kept != 0), kept > 0 && r.Hops[0].Index != kept, kept < 0 && len(r.Hops) > 0:
				t.Errorf("%s: kept %v, %+v; want %d", name, ok, r, kept)
			}
			last := slices.ContainsFunc(Desired(g).Rules, func(r Rule) bool {
				return r.Family == c.family && r.Priority == lane.LastResortPriority
			})
			if last == bare {
				t.Errorf("%s: the rule of the default policy stands: %v", name, last)
			}
		}
		check(c.kept, c.bare)
		g.KeepForeign = false
		if c.bare {
			check(0, false)
		} else {
			check(c.kept, false) // halves are in force either way
		}
	}
}

// An uplink's default route that is withdrawn while its path stands, as at the
// renewal of a lease, does not give precedence to another program's.
func TestForeignDefaultWhileALeaseIsRenewed(t *testing.T) {
	const v4 = failover.IPv4
	g := exampleGoal()
	g.KeepForeign = true
	g.Foreign = []Route{other(v4, 100, 2), other(v4, 600, 9)}
	metrics := g.RecallMetrics(nil)
	g.Foreign = g.Foreign[1:]
	metrics = g.RecallMetrics(metrics)
	if _, ok := g.ForeignDefault(v4); ok {
		t.Error("the other default is kept while the uplink's is away")
	}
	g.Uplinks[0].Family[v4].Routable = false
	g.RecallMetrics(metrics)
	if _, ok := g.ForeignDefault(v4); !ok {
		t.Error("the other default is not kept although the uplink is gone")
	}
}

// Rules are restored before anything is removed from main.
func TestForeignDefaultGoes(t *testing.T) {
	g := exampleGoal()
	g.KeepForeign, g.Mirror = true, true
	g.Foreign = []Route{other(failover.IPv4, mirrorBase+10000, 9)}
	kept := Desired(g)
	g.Foreign = nil
	ops := Plan(Desired(g), kept)
	first := slices.IndexFunc(ops, func(o Op) bool { return o.Action == AddRule && o.Rule.Priority == lane.LastResortPriority })
	out := slices.IndexFunc(ops, func(o Op) bool { return o.Action.removes() })
	if first < 0 || out < first {
		t.Errorf("plan:\n%s", lines(ops))
	}
}
