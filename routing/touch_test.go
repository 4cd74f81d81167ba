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

// A touch adds a route to the lane's table and deletes it, as `ip monitor` sees it,
// and leaves nothing, also where one was left before.
func TestTouch(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			before := l.sh("ip -4 route show table all; ip -6 route show table all")
			seen := touchWitness{Netlink: l.kernel}
			for range 2 {
				l.must(l.kernel.Do(Op{Action: AddRoute, Route: touchRoute(5301, f)}))
				l.must(Touch(&seen, lane.DefaultLayout, 1, f))
			}
			l.must(Touch(&seen, lane.DefaultLayout, 1, f))
			if after := l.sh("ip -4 route show table all; ip -6 route show table all"); after != before {
				t.Errorf("it left:\n%s\nwhere there was:\n%s", after, before)
			}
			host := touched[f].Addr().String()
			for _, text := range seen.during {
				if !strings.Contains(text, "throw "+host) || !strings.Contains(text, "table 5301") {
					t.Errorf("between the two ops the kernel held:\n%s", text)
				}
			}
			if len(seen.during) != 3 {
				t.Errorf("added %d times", len(seen.during))
			}
			state, err := l.kernel.Read()
			if l.must(err); slices.ContainsFunc(state.Routes, func(r Route) bool { return r.Dst == touched[f] }) {
				t.Error("a route is left")
			}
		})
	}
}

// touchWitness reads what the kernel holds before each deletion.
type touchWitness struct {
	*Netlink
	during []string
}

func (w *touchWitness) Do(op Op) error {
	if op.Action == DeleteRoute {
		routes, err := w.routes(op.Route.Family, lane.Protocol, func(Route) bool { return true })
		if err != nil {
			return err
		}
		for _, r := range routes {
			if op.OfTouch() && r.Dst == op.Route.Dst {
				w.during = append(w.during, r.String())
			}
		}
	}
	return w.Netlink.Do(op)
}

// failing refuses the first ops.
type failing struct {
	Kernel
	refuse int
	did    []Action
}

func (k *failing) Do(op Op) error {
	k.did = append(k.did, op.Action)
	if len(k.did) <= k.refuse {
		return unix.ENOBUFS
	}
	return nil
}

// A touch that fails is tried again, a bounded number of times.
func TestTouchIsTriedAgain(t *testing.T) {
	k := &failing{refuse: 3}
	if err := Touch(k, lane.DefaultLayout, 1, failover.IPv4); err != nil || len(k.did) != 6 {
		t.Errorf("%v after %v", err, k.did)
	}
	k = &failing{refuse: 100}
	if err := Touch(k, lane.DefaultLayout, 1, failover.IPv4); !errors.Is(err, unix.ENOBUFS) || len(k.did) != 2*touchTries {
		t.Errorf("%v after %v", err, k.did)
	}
}
