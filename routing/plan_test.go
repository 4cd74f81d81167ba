package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"swerve/failover"
	"swerve/lane"
)

// drawGoal draws uplinks that are present or absent, with and without gateways, and
// policies with shared, short, empty and blocked ladders.
func drawGoal(t *rapid.T, foreign []Route) Goal {
	g := Goal{
		Layout:  lane.DefaultLayout,
		Mirror:  rapid.Bool().Draw(t, "mirror"),
		NoIPv6:  rapid.IntRange(0, 9).Draw(t, "no IPv6") == 0,
		Foreign: foreign,
	}
	for n := range rapid.IntRange(0, 4).Draw(t, "uplinks") {
		u := Uplink{Lane: lane.Lane(n + 1), Index: rapid.IntRange(0, 5).Draw(t, "index")}
		if u.Index != 0 {
			u.Index += 10 * n
			u.Interface = fmt.Sprintf("wan%d", u.Index)
		}
		for _, f := range failover.Families {
			u.Family[f] = drawPath(t, f)
		}
		g.Uplinks = append(g.Uplinks, u)
	}
	for n := range rapid.IntRange(1, 3).Draw(t, "policies") {
		p := Policy{Lane: lane.DefaultPolicy + lane.Lane(n)}
		for _, f := range failover.Families {
			p.Family[f] = drawLadder(t, len(g.Uplinks))
		}
		g.Policies = append(g.Policies, p)
	}
	return g
}

var drawn = [2][]string{{"203.0.113.1", "203.0.113.2", "198.51.100.3"}, {"fe80::1", "2001:db8::2", "2001:db8::3"}}

func drawPath(t *rapid.T, f failover.Family) Path {
	p := Path{Routable: rapid.IntRange(0, 3).Draw(t, "routable") != 0, FromRule: rapid.Bool().Draw(t, "from")}
	addr := rapid.SampledFrom(drawn[f])
	if rapid.IntRange(0, 4).Draw(t, "point to point") != 0 {
		p.Gateway = netip.MustParseAddr(addr.Draw(t, "gateway"))
	}
	for _, a := range rapid.SliceOfNDistinct(addr, 0, 2, rapid.ID[string]).Draw(t, "addresses") {
		p.Addresses = append(p.Addresses, netip.MustParseAddr(a))
	}
	return p
}

func drawLadder(t *rapid.T, uplinks int) Ladder {
	l := Ladder{Block: rapid.Bool().Draw(t, "block")}
	if uplinks == 0 {
		return l
	}
	lanes := make([]lane.Lane, uplinks)
	for n := range lanes {
		lanes[n] = lane.Lane(n + 1)
	}
	lanes = rapid.Permutation(lanes).Draw(t, "order")
	for len(lanes) > 0 {
		var rung Rung
		n := rapid.IntRange(1, len(lanes)).Draw(t, "shares")
		for _, n := range lanes[:n] {
			rung = append(rung, Share{Uplink: n, Weight: rapid.IntRange(1, 255).Draw(t, "weight")})
		}
		l.Rungs = append(l.Rungs, rung)
		lanes = lanes[n:]
	}
	return l
}

// drawForeign draws default routes of other programs, in main and in our tables.
func drawForeign(t *rapid.T) []Route {
	var out []Route
	for range rapid.IntRange(0, 4).Draw(t, "foreign") {
		f := rapid.SampledFrom(failover.Families[:]).Draw(t, "family")
		r := Route{
			Slot: Slot{
				Family: f, Dst: anywhere(f),
				Table:  rapid.SampledFrom([]int{MainTable, MainTable, 5301, 5364}).Draw(t, "table"),
				Metric: rapid.SampledFrom([]uint32{1, 2, 100, 1024, 9999, mirrorBase, mirrorBase + 1, 1<<32 - 2}).Draw(t, "metric"),
			},
			Protocol: rapid.SampledFrom([]uint8{3, 4, 16}).Draw(t, "protocol"), Type: Unicast,
			Hops: []Hop{{Index: 99, Weight: 1}},
		}
		if !slices.ContainsFunc(out, func(o Route) bool { return o.Slot == r.Slot }) {
			out = append(out, r)
		}
	}
	return out
}

// drawKernel draws a kernel with leftovers: the state of another goal, in which other
// programs have deleted some routes and rules and added others.
func drawKernel(t *rapid.T) *fakeKernel {
	k := &fakeKernel{}
	old := Desired(drawGoal(t, nil))
	for _, r := range old.Routes {
		if rapid.IntRange(0, 5).Draw(t, "keep") != 0 {
			k.routes = append(k.routes, r)
		}
	}
	for _, r := range old.Rules {
		if rapid.IntRange(0, 5).Draw(t, "keep") != 0 {
			k.rules = append(k.rules, r)
		}
		if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
			r.Other = true
			k.rules = append(k.rules, r)
		}
	}
	for _, r := range drawForeign(t) {
		if !slices.ContainsFunc(k.routes, func(o Route) bool { return o.Slot == r.Slot }) {
			k.routes = append(k.routes, r)
		}
	}
	return k
}

func TestPlanReachesTheGoal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawKernel(t)
		foreign := k.foreign()
		want := Desired(drawGoal(t, foreign))
		watchDefaults(t, k, want)
		res, err := Apply(k, want)
		if err != nil {
			t.Fatalf("apply: %v", err)
		}
		if res.Tries > 1 {
			t.Errorf("took %d tries without interference", res.Tries)
		}
		have, _ := k.Read()
		if again := Plan(want, have); len(again) != 0 {
			t.Errorf("a second plan is not empty:\n%s", lines(again))
		}
		if !slices.EqualFunc(have.Routes, want.Routes, Route.sameAs) || !slices.Equal(have.Rules, want.Rules) {
			t.Errorf("the kernel holds\n%v\nnot\n%v", have, want)
		}
		if now := k.foreign(); !slices.EqualFunc(now, foreign, Route.sameAs) {
			t.Errorf("foreign routes were %v, are %v", foreign, now)
		}
	})
}

// watchDefaults checks after each op that every table and every mark that has a
// default route before and after the plan has one in between.
func watchDefaults(t *rapid.T, k *fakeKernel, want State) {
	end := fakeKernel{routes: append(k.foreign(), want.Routes...), rules: want.Rules}
	var checks []func(*fakeKernel) bool
	for _, f := range failover.Families {
		for _, n := range []lane.Lane{0, 1, 2, 3, 4, 64, 65, 66} { // all that are drawn, and no mark
			checks = append(checks,
				func(k *fakeKernel) bool { return k.hasDefault(f, lane.DefaultLayout.Table(n)) },
				func(k *fakeKernel) bool { return k.finds(f, lane.DefaultLayout.Mark(n)) })
		}
		checks = append(checks, func(k *fakeKernel) bool { return k.hasDefault(f, MainTable) })
	}
	var keep []func(*fakeKernel) bool
	for _, c := range checks {
		if c(k) && c(&end) {
			keep = append(keep, c)
		}
	}
	ops := 0
	k.after = func(op Op) {
		ops++
		for n, c := range keep {
			if !c(k) {
				t.Fatalf("no default route after op %d, %s (check %d of %d)", ops, op, n, len(keep))
			}
		}
	}
}

func TestTeardownLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawKernel(t)
		foreign := k.foreign()
		if _, err := Teardown(k); err != nil {
			t.Fatalf("teardown: %v", err)
		}
		if len(k.rules) != 0 || !slices.EqualFunc(k.routes, foreign, Route.sameAs) {
			t.Errorf("left: routes %v, rules %v", k.routes, k.rules)
		}
	})
}

// A switch changes only the slots whose uplink changed, best rungs first.
func TestPlanIsMinimal(t *testing.T) {
	g := exampleGoal()
	have := Desired(g)
	if ops := Plan(have, have); len(ops) != 0 {
		t.Errorf("from a state to itself:\n%s", lines(ops))
	}
	g.Policies[0].Family = both(order(2, 1))
	want := "ip -4 route replace default table 5364 proto 83 metric 1 via 198.51.100.1 dev wan1 onlink\n" +
		"ip -6 route replace default table 5364 proto 83 metric 1 via 2001:db8:2::1 dev wan1 onlink\n" +
		"ip -4 route replace default table 5364 proto 83 metric 2 via 203.0.113.1 dev wan0 onlink\n" +
		"ip -6 route replace default table 5364 proto 83 metric 2 via 2001:db8:1::1 dev wan0 onlink\n"
	if got := lines(Plan(Desired(g), have)); got != want {
		t.Errorf("switch:\n%s\nwant:\n%s", got, want)
	}
}

// No slot of another protocol is used, and the copies in main are worse than all other
// default routes.
func TestForeignSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		foreign := drawForeign(t)
		g := drawGoal(t, foreign)
		worst := [2]uint32{}
		taken := make(map[Slot]bool)
		for _, r := range foreign {
			taken[r.Slot] = true
			if r.Table == MainTable {
				worst[r.Family] = max(worst[r.Family], r.Metric)
			}
		}
		for _, r := range Desired(g).Routes {
			if taken[r.Slot] {
				t.Errorf("%s uses a foreign slot", r)
			}
			if r.Table == MainTable && r.Metric <= worst[r.Family] {
				t.Errorf("%s is preferred to a foreign one of metric %d", r, worst[r.Family])
			}
		}
	})
}
