package routing

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// path is a routable path with one address.
func path(gateway, address string) Path {
	p := Path{Routable: true, FromRule: true, Addresses: []netip.Addr{netip.MustParseAddr(address)}}
	if gateway != "" {
		p.Gateway = netip.MustParseAddr(gateway)
	}
	return p
}

// order is a ladder of single uplinks.
func order(lanes ...lane.Lane) Ladder {
	var l Ladder
	for _, n := range lanes {
		l.Rungs = append(l.Rungs, Rung{{Uplink: n, Weight: 1}})
	}
	return l
}

// both is the same ladder in both families.
func both(l Ladder) [2]Ladder { return [2]Ladder{l, l} }

// exampleGoal has two uplinks, and three policies, the last of which blocks.
func exampleGoal() Goal {
	strict := order(2)
	strict.Block = true
	return Goal{
		Layout: lane.DefaultLayout,
		Uplinks: []Uplink{
			{Lane: 1, Interface: "wan0", Index: 2, Family: [2]Path{path("203.0.113.1", "203.0.113.2"), path("2001:db8:1::1", "2001:db8:1::2")}},
			{Lane: 2, Interface: "wan1", Index: 3, Family: [2]Path{path("198.51.100.1", "198.51.100.2"), path("2001:db8:2::1", "2001:db8:2::2")}},
		},
		Policies: []Policy{
			{Lane: 64, Family: both(order(1, 2))},
			{Lane: 65, Family: both(order(2, 1))},
			{Lane: 66, Family: both(strict)},
		},
	}
}

// lines returns the ops as a script.
func lines(ops []Op) string {
	var b strings.Builder
	for _, op := range ops {
		b.WriteString(op.String() + "\n")
	}
	return b.String()
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s:\n%s", file, got)
	}
}

func TestGolden(t *testing.T) {
	example := exampleGoal()
	start := Desired(example)
	tiers := Goal{
		Layout: lane.DefaultLayout, Mirror: true,
		Uplinks: []Uplink{
			{Lane: 1, Interface: "wan0", Index: 2, Family: [2]Path{path("fe80::1", "203.0.113.2"), path("fe80::1", "2001:db8:1::2")}},
			{Lane: 2, Interface: "ppp0", Index: 3, Family: [2]Path{path("", "198.51.100.2"), path("", "2001:db8:2::2")}},
			{Lane: 3, Interface: "we'ird$", Index: 4, Family: [2]Path{path("192.0.2.1", "192.0.2.2"), path("2001:db8:3::1", "2001:db8:3::2")}},
			{Lane: 4, Interface: "gone0", Family: [2]Path{{FromRule: true}, {}}},
			{Lane: 5},
		},
		Policies: []Policy{{Lane: 64, Family: both(Ladder{Rungs: []Rung{{{1, 3}, {2, 2}, {3, 1}}, {{4, 1}}, {{3, 1}}}})}},
		Foreign: []Route{
			{Slot: Slot{Table: MainTable, Dst: anywhere(failover.IPv4), Metric: mirrorBase + 7000}, Protocol: 16, Type: Unicast},
			{Slot: Slot{Table: 5364, Dst: anywhere(failover.IPv4), Metric: 1}, Protocol: 4, Type: Unicast},
		},
	}
	lost := exampleGoal()
	lost.Uplinks[0].Family[failover.IPv4].FromRule = false
	lost.Policies[0].Family[failover.IPv4] = order(2, 1)
	unplugged := exampleGoal()
	unplugged.Uplinks[0].Index = 0
	unplugged.Uplinks[0].Family = [2]Path{}
	moved := exampleGoal()
	moved.Uplinks[0].Interface, moved.Uplinks[0].Index = "wan7", 9
	moved.Uplinks[0].Family[failover.IPv4] = path("203.0.113.129", "203.0.113.130")
	no6 := exampleGoal()
	no6.NoIPv6 = true

	for _, c := range []struct {
		name       string
		want, have State
	}{
		{"start", start, State{}},
		{"tiers", Desired(tiers), State{}},
		{"lost", Desired(lost), start},
		{"unplugged", Desired(unplugged), start},
		{"moved", Desired(moved), start},
		{"ipv6-off", Desired(no6), start},
		{"teardown", State{}, start},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, c.name+".sh", lines(Plan(c.want, c.have))) })
	}
}
