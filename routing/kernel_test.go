package routing

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// A dead device does not keep the rest from moving, and is reported.
func TestApplyGoesOnAfterAFailure(t *testing.T) {
	k := &fakeKernel{refuse: func(op Op) error {
		if slices.ContainsFunc(op.Route.Hops, func(h Hop) bool { return h.Index == 2 }) {
			return unix.ENETDOWN
		}
		return nil
	}}
	res, err := Apply(k, Desired(exampleGoal()))
	if !errors.Is(err, unix.ENETDOWN) {
		t.Fatalf("apply: %v, want network down", err)
	}
	if want := "routing: route replace default table 5301 proto 83 metric 1 via 203.0.113.1 dev wan0 onlink: network is down"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not hold %q", err, want)
	}
	for table, want := range map[int]bool{5301: false, 5302: true, 5364: true, 5365: true, 5366: true} {
		if got := k.hasDefault(failover.IPv4, table); got != want {
			t.Errorf("table %d has a default route: %v, want %v", table, got, want)
		}
	}
	if len(res.State.Rules) != len(Desired(exampleGoal()).Rules) {
		t.Errorf("there are only %d rules", len(res.State.Rules))
	}
	if len(res.Failed) != 6 || len(res.Left) != 6 || len(res.Done) == 0 {
		t.Errorf("%d failed, %d left, %d done; want 6, 6 and some", len(res.Failed), len(res.Left), len(res.Done))
	}
}

// Where the new route cannot be added the old one stays, although it is not wanted.
func TestApplyKeepsTheOldWhereTheNewFails(t *testing.T) {
	g := exampleGoal()
	g.Mirror = true
	k := &fakeKernel{}
	if _, err := Apply(k, Desired(g)); err != nil {
		t.Fatal(err)
	}
	g.Foreign = []Route{{Slot: Slot{Table: MainTable, Dst: anywhere(failover.IPv4), Metric: mirrorBase + 10000}, Protocol: 16}}
	k.refuse = func(op Op) error {
		if op.Action == AddRoute {
			return unix.EEXIST
		}
		return nil
	}
	res, err := Apply(k, Desired(g))
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("apply: %v, want file exists", err)
	}
	if !k.hasDefault(failover.IPv4, MainTable) {
		t.Errorf("main has lost its default route")
	}
	if len(res.Left) != 4 {
		t.Errorf("left:\n%s, want the two additions and the two removals that wait for them", lines(res.Left))
	}
}

// A program that deletes a rule as often as it is added does not keep Apply busy
// forever.
func TestApplyGivesUp(t *testing.T) {
	k := &fakeKernel{}
	k.after = func(op Op) {
		if op.Action == AddRule && op.Rule.Priority == 32764 {
			k.rules = slices.DeleteFunc(k.rules, func(r Rule) bool { return r == op.Rule })
		}
	}
	res, err := Apply(k, Desired(exampleGoal()))
	if err == nil || !strings.Contains(err.Error(), "rule add pref 32764") {
		t.Errorf("apply: %v, want it to name the rule", err)
	}
	if res.Tries != maxTries || len(res.Left) != 2 {
		t.Errorf("%d tries, %d left; want %d and 2", res.Tries, len(res.Left), maxTries)
	}
}

// brokenKernel cannot be read.
type brokenKernel struct{ *fakeKernel }

func (brokenKernel) Read() (State, error) { return State{}, unix.ENOBUFS }

func TestApplyWithoutReading(t *testing.T) {
	k := brokenKernel{&fakeKernel{}}
	if _, err := Apply(k, Desired(exampleGoal())); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("apply: %v, want no buffer space", err)
	}
	if len(k.rules)+len(k.routes) != 0 {
		t.Errorf("changed a kernel that it could not read")
	}
}

func TestAdoption(t *testing.T) {
	g := exampleGoal()
	g.Policies[0].Family[failover.IPv4] = Ladder{Rungs: []Rung{{{2, 1}, {1, 3}}}}
	g.Policies[1].Family[failover.IPv6] = Ladder{}
	g.Uplinks[1].Family[failover.IPv6].FromRule = false
	k := &fakeKernel{}
	if _, err := Apply(k, Desired(g)); err != nil {
		t.Fatal(err)
	}
	s, _ := k.Read()
	carrying := s.Carrying(g.Layout)
	for n, want := range map[lane.Lane][2][]lane.Lane{64: {{1, 2}, {1}}, 65: {{2}, nil}, 66: {{2}, {2}}} {
		for _, f := range failover.Families {
			if got := carrying[n][f]; !slices.Equal(got, want[f]) {
				t.Errorf("policy %d, %s: carried by %v, want %v", n, f, got, want[f])
			}
		}
	}
	if lanes := s.Lanes(g.Layout); len(lanes) != 2 || lanes["wan0"] != 1 || lanes["wan1"] != 2 {
		t.Errorf("lanes of interfaces: %v", lanes)
	}
	if from := s.FromLanes(g.Layout); !slices.Equal(from[0], []lane.Lane{1, 2}) || !slices.Equal(from[1], []lane.Lane{1}) {
		t.Errorf("lanes with a rule for their address: %v", from)
	}
}
