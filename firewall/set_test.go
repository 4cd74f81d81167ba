package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

func setGoal() Goal {
	g := ruledGoal([]Rule{{Set: "video", Policy: 65}})
	g.Sets = []Set{{Name: "video", Size: 100, Comment: "streams"}, {Name: "brief", Timeout: time.Hour, Size: 8}}
	return g
}

// fill adds elements as a script does.
func fill(t *testing.T, ns *netns.NS, set, elements string) {
	t.Helper()
	loadText(t, ns, fmt.Sprintf("add element inet swerve %s { %s }\n", set, elements))
}

// listedSet returns how nft(8) lists a set, on one line.
func listedSet(t *testing.T, ns *netns.NS, set string) string {
	t.Helper()
	return strings.Join(strings.Fields(run(t, ns, "nft", "list", "set", "inet", "swerve", set)), " ")
}

// Others fill the sets. Their elements are no part of what is compared; they stay over a
// change of everything else, of their own size, and come back after a foreign flush.
func TestSetsKeepTheirElements(t *testing.T) {
	ns := netns.New(t)
	k := newKernel(t)
	k.Contents = new(SetContents)
	g := setGoal()
	inside(t, ns, func() error { return k.Apply(Ruleset(g)) })
	fill(t, ns, "set_video4", "192.0.2.1, 192.0.2.128/25, 198.51.100.7 timeout 1h")
	fill(t, ns, "set_video6", "2001:db8::1")
	fill(t, ns, "set_brief4", "192.0.2.9")
	if d := drift(t, ns, k, Ruleset(g)); d != nil {
		t.Fatalf("elements of others are a difference: %q", d)
	}
	counts := func(want string) {
		t.Helper()
		var n map[string][2]int
		inside(t, ns, func() (err error) {
			n, err = k.ReadSets(g.Sets)
			return err
		})
		if got := fmt.Sprint(n); got != want {
			t.Errorf("counts %s, want %s", got, want)
		}
	}
	all := "map[brief:[1 0] video:[3 1]]"
	counts(all)
	g.Rules = append([]Rule{{Policy: 66}}, g.Rules...)
	g.Rules[0].Proto = unix.IPPROTO_UDP
	inside(t, ns, func() error { return k.Apply(Ruleset(g)) })
	counts(all)
	for _, change := range []string{"flush ruleset", "delete table inet swerve"} {
		loadText(t, ns, change+"\n")
		counts("map[brief:[-1 -1] video:[-1 -1]]")
		inside(t, ns, func() error { return k.Apply(Ruleset(g)) })
		counts(all)
	}
	if out := listedSet(t, ns, "set_video4"); !strings.Contains(out, "192.0.2.1, 192.0.2.128/25, 198.51.100.7 timeout") || !strings.Contains(out, `comment "streams"`) {
		t.Errorf("the set is %s", out)
	}
	// Another size and timeout need another set.
	g.Sets[0].Size, g.Sets[0].Timeout = 200, 90*time.Minute
	if d := drift(t, ns, k, Ruleset(g)); len(d) == 0 {
		t.Error("another size is no difference")
	}
	inside(t, ns, func() error { return k.Apply(Ruleset(g)) })
	if d := drift(t, ns, k, Ruleset(g)); d != nil {
		t.Errorf("differs at once: %q", d)
	}
	counts(all)
	// What somebody has emptied is empty.
	loadText(t, ns, "flush set inet swerve set_video4\n")
	counts("map[brief:[1 0] video:[0 1]]")
	loadText(t, ns, "flush ruleset\n")
	inside(t, ns, func() error { return k.Apply(Ruleset(g)) })
	counts("map[brief:[1 0] video:[0 1]]")
	loadText(t, ns, Ruleset(g).Replacement())
	if d := drift(t, ns, k, Ruleset(g)); len(d) == 0 {
		t.Error("rules by text have no ids")
	}
}

// A set takes as many elements as its size says, and the rest is refused.
func TestSetIsBounded(t *testing.T) {
	ns := netns.New(t)
	g := setGoal()
	apply(t, ns, g)
	for i := range 8 {
		fill(t, ns, "set_brief4", fmt.Sprintf("192.0.2.%d", 2*i))
	}
	if out, err := ns.Run("nft", "add element inet swerve set_brief4 { 198.51.100.1 }"); err == nil {
		t.Errorf("a ninth element is taken: %s", out)
	}
}

// The destination decides at a flow's first packet; it keeps its policy when the set
// changes.
func TestRulesBySet(t *testing.T) {
	l := rulesLab(t)
	l.goal = setGoal()
	l.apply()
	in := map[netip.Addr]bool{}
	for f := range failover.Families {
		fill(t, l.gw, setName("video", failover.Family(f)), worldOf.to[f][1].String())
		in[worldOf.to[f][1]] = true
	}
	table := Ruleset(l.goal)
	check := func() {
		t.Helper()
		for _, f := range failover.Families {
			var lanes map[string][2]int
			sent := l.begin(f, 7000, 30, 10000)
			until(t, "all entries", func() bool {
				lanes = map[string][2]int{}
				for tuple, n := range l.lanesOf("-p", "udp") {
					lanes[tuple] = [2]int{int(n[0]), int(n[1])}
				}
				for tuple := range sent {
					if lanes[tuple][0] == 0 {
						return false
					}
				}
				return true
			})
			for tuple, p := range sent {
				p.InSet = func(name string, a netip.Addr) bool { return name == "video" && in[a] }
				if got := table.Classify(p).Policy; lanes[tuple][1] != int(got) || (got == 65) != in[p.To] {
					t.Errorf("%s has the lanes %v, and is %d", tuple, lanes[tuple], got)
				}
			}
		}
	}
	check()
	loadText(t, l.gw, "flush set inet swerve set_video4\nflush set inet swerve set_video6\n")
	check() // the same flows
}
