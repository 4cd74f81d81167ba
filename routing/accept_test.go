package routing

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// recorder passes ops to a kernel and records those that it accepts.
type recorder struct {
	Kernel
	done []string
}

func (r *recorder) Do(op Op) error {
	err := r.Kernel.Do(op)
	if err == nil {
		r.done = append(r.done, op.String())
	}
	return err
}

// What the kernel refuses of a shape costs nothing else of it, in no table, at no
// moment after the first.
func TestRefusedAspects(t *testing.T) {
	full := failover.Shape{Congestion: "nonesuch"}
	full.Metrics[failover.MetricMTU], full.Metrics[failover.MetricHopLimit] = 1400, 9
	full.Metrics[failover.MetricLock] = 1<<failover.MetricMTU | 1<<unix.RTAX_CC_ALGO
	full.Realm = 7
	for name, c := range map[string]struct {
		refused []string
		without string
		shape   string
	}{
		"one":        {[]string{"congctl"}, "congctl nonesuch", "realm 7 mtu lock 1400 hoplimit 9"},
		"a metric":   {[]string{"hoplimit"}, "hoplimit 9", "realm 7 mtu lock 1400 congctl lock nonesuch"},
		"the mtu":    {[]string{"mtu"}, "mtu 1400", "realm 7 hoplimit 9 congctl lock nonesuch"},
		"two":        {[]string{"congctl", "hoplimit"}, "hoplimit 9, congctl nonesuch", "realm 7 mtu lock 1400"},
		"everything": {[]string{"congctl", "hoplimit", "mtu", "realm"}, "mtu 1400, hoplimit 9, realm 7, congctl nonesuch", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := exampleGoal()
			g.Uplinks[0].Family[failover.IPv4].Shape = full
			refused := c.refused
			k := &recorder{Kernel: &fakeKernel{refuse: func(op Op) error {
				if slices.ContainsFunc(refused, func(word string) bool { return strings.Contains(op.String(), word) }) {
					return unix.EINVAL
				}
				return nil
			}}}
			check := func(when string) {
				t.Helper()
				res, refusals, err := Enforce(k, g, nil)
				if err != nil || len(refusals) != 1 || !refusals[0].Accepted || strings.Join(refusals[0].Without, ", ") != c.without {
					t.Fatalf("%s: %v, %+v; want it without %q", when, err, refusals, c.without)
				}
				n := 0
				for _, r := range res.State.Routes {
					if r.Family != failover.IPv4 || len(r.Hops) != 1 || r.Hops[0].Index != g.Uplinks[0].Index {
						continue
					}
					n++
					if _, after, _ := strings.Cut(r.String(), "onlink"); strings.TrimSpace(after) != c.shape {
						t.Errorf("%s: %s, want %q", when, r, c.shape)
					}
				}
				if n < 3 {
					t.Errorf("%s: only %d routes by the uplink", when, n)
				}
			}
			check("at first")
			k.done = nil
			check("when tried again")
			if len(k.done) != 0 {
				t.Errorf("tried again, the routes change: %v", k.done)
			}
			refused = nil
			if _, refusals, err := Enforce(k, g, nil); err != nil || len(refusals) != 0 {
				t.Errorf("when nothing is refused: %v, %+v", err, refusals)
			}
		})
	}
}
