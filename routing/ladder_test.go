package routing

import (
	"strings"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

// The hops of a shared tier have its order, by which the kernel assigns flows to them;
// what has another order is the same.
func TestHopsHaveTheOrderOfShares(t *testing.T) {
	l := newLab(t)
	shares := func(first, second lane.Lane) {
		for p := range l.goal.Policies {
			for _, f := range failover.Families {
				l.goal.Policies[p].Family[f] = Ladder{Rungs: []Rung{{{Uplink: first, Weight: 2}, {Uplink: second, Weight: 2}}}}
			}
		}
	}
	order := func() (out string) {
		for _, f := range []string{"-4", "-6"} {
			for _, w := range strings.Fields(l.sh("ip " + f + " route show table 5364 proto 83")) {
				if strings.HasPrefix(w, "wan") {
					out += w + " "
				}
			}
		}
		return out
	}
	shares(2, 1)
	l.apply(Desired(l.goal))
	if got := order(); got != "wan1 wan0 wan1 wan0 " {
		t.Errorf("hops by %s", got)
	}
	shares(1, 2)
	if res := l.apply(Desired(l.goal)); len(res.Done) != 0 {
		t.Errorf("in another order:\n%s", lines(res.Done))
	}
}
