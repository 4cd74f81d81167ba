package routing

import (
	"fmt"
	"os"
	"strings"
	"swerve/lane"
	"testing"
)

// BenchmarkSwitch measures a failover from the decision until the kernel has been
// read back: every policy's ladder is reversed in both families. The goal is 2 ms
// for two uplinks with the default policy, and 20 ms for 32 policies.
func BenchmarkSwitch(b *testing.B) {
	for _, c := range []struct{ policies, foreign int }{{1, 0}, {1, 10000}, {32, 0}, {32, 10000}} {
		b.Run(fmt.Sprintf("policies=%d/foreign=%d", c.policies, c.foreign), func(b *testing.B) {
			l := newLab(b)
			l.flood(c.foreign)
			goals := [2]State{l.withPolicies(c.policies, 1, 2), l.withPolicies(c.policies, 2, 1)}
			l.apply(goals[1])
			n := 0
			for b.Loop() {
				if _, err := Apply(l.kernel, goals[n%2]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

// BenchmarkRead measures the detection that there is no drift.
func BenchmarkRead(b *testing.B) {
	for _, foreign := range []int{0, 10000} {
		b.Run(fmt.Sprintf("foreign=%d", foreign), func(b *testing.B) {
			l := newLab(b)
			l.flood(foreign)
			want := l.withPolicies(1, 1, 2)
			l.apply(want)
			b.ReportAllocs()
			for b.Loop() {
				have, err := l.kernel.Read()
				if err != nil || len(Plan(want, have)) != 0 {
					b.Fatal(err, "or drift")
				}
			}
		})
	}
}

func BenchmarkForeign(b *testing.B) {
	for _, foreign := range []int{0, 10000} {
		b.Run(fmt.Sprintf("foreign=%d", foreign), func(b *testing.B) {
			l := newLab(b)
			l.flood(foreign)
			b.ReportAllocs()
			for b.Loop() {
				if routes, err := foreignDefaults(l.kernel, l.goal.Layout); err != nil || len(routes) != 3 {
					b.Fatal(routes, err)
				}
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	l := &lab{goal: exampleGoal()}
	want, have := l.withPolicies(32, 1, 2), l.withPolicies(32, 2, 1)
	b.ReportAllocs()
	for b.Loop() {
		Plan(want, have)
	}
}

// withPolicies is the lab's goal with n policies of the same order, which is also in
// main.
func (l *lab) withPolicies(n int, lanes ...lane.Lane) State {
	g := cloneGoal(l.goal)
	g.Mirror = true
	g.Policies = nil
	for p := range n {
		g.Policies = append(g.Policies, Policy{Lane: lane.DefaultPolicy + lane.Lane(p), Family: both(order(lanes...))})
	}
	return Desired(g)
}

// flood puts n routes of each family into main, as a BGP daemon would.
func (l *lab) flood(n int) {
	l.t.Helper()
	for _, family := range []string{"-4", "-6"} {
		var b strings.Builder
		for i := range n {
			dst := fmt.Sprintf("10.%d.%d.%d/32", 128+i>>16, i>>8&255, i&255)
			if family == "-6" {
				dst = fmt.Sprintf("2001:db8:f:%x::/64", i)
			}
			fmt.Fprintf(&b, "route add %s dev wan0 proto bird\n", dst)
		}
		file := l.t.TempDir() + "/routes"
		l.must(os.WriteFile(file, []byte(b.String()), 0o600))
		_, err := l.gw.Run("ip", family, "-batch", file)
		l.must(err)
	}
}
