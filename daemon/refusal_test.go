package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
	"swerve/testenv/fake"
)

var errRefused = errors.New("no buffer space available")

// refuseOps refuses all ops whose text contains a string, and returns a function
// that returns the times of the attempts.
func (r *rig) refuseOps(text string) (attempts func() []time.Time) {
	var at []time.Time
	r.Routes.Lock()
	defer r.Routes.Unlock()
	r.Routes.Refuse = func(op routing.Op) error {
		if !strings.Contains(op.String(), text) {
			return nil
		}
		if len(at) == 0 || at[len(at)-1] != time.Now() {
			at = append(at, time.Now())
		}
		return errRefused
	}
	return func() []time.Time {
		r.Routes.Lock()
		defer r.Routes.Unlock()
		return slices.Clone(at)
	}
}

func (r *rig) refuseNothing() {
	r.Routes.Lock()
	defer r.Routes.Unlock()
	r.Routes.Refuse = nil
}

// wantGrowingPace fails unless the pauses between instants grow, from under 200 ms
// to at most 10 s plus one check interval.
func wantGrowingPace(t *testing.T, at []time.Time) {
	t.Helper()
	const most = repairMost + 100*time.Millisecond
	if len(at) < 5 || len(at) > 40 {
		t.Fatalf("%d tries in the time", len(at))
	}
	var before time.Duration
	for i := range at[1:] {
		pause := at[i+1].Sub(at[i])
		if pause < before*9/10 || pause > most || pause < repairAfter {
			t.Errorf("pause %d is %v, after one of %v", i, pause, before)
		}
		before = pause
	}
	if before < repairMost/2 {
		t.Errorf("the last pause is %v", before)
	}
}

// A switch that the kernel refuses is reported as refused, retried without a new
// event, and not reported as a repair.
func TestRefusedSwitch(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.refuseOps("table 5364 proto 83 metric 1 via 192.0.2.102")
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		attempts := r.refuseOps("table 5364 proto 83 metric 1 via 192.0.2.102")
		p := r.problem("kernel-refused")
		if p == nil || p.Severity != control.Critical || !strings.Contains(p.Text, errRefused.Error()) || !strings.Contains(p.Text, "192.0.2.102") {
			t.Fatalf("problems: %+v", r.status().Problems)
		}
		for _, e := range ofType(r.take(), control.EventSwitch) {
			if d := e.Detail.(control.SwitchDetail); (d.Family == "ipv4") != (d.SwitchMS == nil) {
				t.Errorf("the switch in %s took %v", d.Family, d.SwitchMS)
			}
		}
		r.after(time.Minute)
		wantGrowingPace(t, attempts())
		if again := r.problem("kernel-refused"); again == nil || again.Since != p.Since {
			t.Errorf("after a minute: %+v, stood since %v", again, p.Since)
		}
		r.refuseNothing()
		r.until("the kernel takes it", repairMost+time.Second, func() bool { return r.problem("kernel-refused") == nil })
		r.wantLadder(2, 1)
		r.after(time.Second)
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("what the kernel had refused is reported as a repair: %+v", repairs)
		}
	})
}

// Sessions leave an uplink only once the kernel has their new route.
func TestSessionsWaitForTheRoutes(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.refuseOps("-4 route replace default table 5364 proto 83 metric 1 via 192.0.2.102")
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.after(10 * time.Second)
		want := []string{"delete ipv6 flows of 1 by 64", "destroy sockets on 2001:db8:1::2", "grace eth1", "poke ipv6 clients of 1 by 64"}
		if did := moving(r.Journal.Take()); !slices.Equal(did, want) {
			t.Errorf("while IPv4 has no way: %v", did)
		}
		r.refuseNothing()
		r.after(repairMost + time.Second)
		want = []string{"delete ipv4 flows of 1 by 64", "destroy sockets on 192.0.2.1", "grace eth1", "poke ipv4 clients of 1 by 64"}
		if did := moving(r.Journal.Take()); !slices.Equal(did, want) {
			t.Errorf("when it has one: %v", did)
		}
	})
}

func TestRefusedPacketFilter(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Refuse = errRefused
		r.start()
		r.after(time.Second)
		if p := r.problem("kernel-refused"); p == nil || !strings.Contains(p.Text, errRefused.Error()) {
			t.Fatalf("problems: %+v", r.status().Problems)
		}
		r.wantLadder(1, 2) // the rest is still done
		r.Packets.Lock()
		r.Packets.Refuse = nil
		r.Packets.Unlock()
		r.until("the kernel takes it", repairMost+time.Second, func() bool { return r.problem("kernel-refused") == nil })
		if r.Packets.Text() == "" {
			t.Error("there is no table")
		}
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("what the kernel had refused is reported as a repair: %+v", repairs)
		}
	})
}

// A table that the packet filter has refused is not assumed to be held by the next
// change.
func TestPacketFilterRefusesASwitch(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Packets.Lock()
		r.Packets.Refuse = errRefused
		r.Packets.Unlock()
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.change("eth1", func(l *line) { l.link.Family[failover.IPv4].Source = "static" })
		if r.problem("kernel-refused") == nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		r.wantLadder(2, 1)
	})
}

// Sysctls that cannot be set are a separate problem: the routes are in force.
func TestRefusedSysctls(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Sysctls.Refuse = errors.Join(fmt.Errorf("write a: %w", unix.EROFS), fmt.Errorf("write b: %w", unix.EROFS))
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.wantLadder(2, 1)
		if r.problem("kernel-refused") != nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if p := r.problem("sysctl"); p == nil || p.Severity != control.Warning || p.Text != "write a: read-only file system (and 1 more)" ||
			!strings.HasPrefix(p.Remedy, "/proc/sys is read-only") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if last := r.status().LastSwitch; last == nil || last.SwitchMS == nil {
			t.Errorf("the switch is reported as refused: %+v", last)
		}
		r.Sysctls.Lock()
		r.Sysctls.Refuse = nil
		r.Sysctls.Unlock()
		r.until("sysctls are set", repairMost+time.Second, func() bool { return r.problem("sysctl") == nil })
	})
}

// They are retried without any other cause, at a growing interval.
func TestRefusedSysctlsAreTriedAgain(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Sysctls.Refuse = errRefused
		r.start()
		r.after(time.Minute)
		r.Sysctls.Lock()
		r.Sysctls.Refuse = nil
		tries := slices.Clone(r.Sysctls.Tries)
		r.Sysctls.Unlock()
		if n := len(tries); n < 5 || n > 40 || tries[n-1].Sub(tries[n-3]) < repairMost {
			t.Errorf("%d tries in a minute: %v", n, tries)
		}
		r.until("sysctls are set", repairMost+time.Second, func() bool { return r.problem("sysctl") == nil })
	})
}

// Flows that cannot be adopted are reported, and do not delay anything else for
// long.
func TestFlowsThatCannotBeAdopted(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Unadopted = errRefused
		r.start()
		if p := r.problem("kernel-refused"); p == nil || !strings.Contains(p.Text, errRefused.Error()) {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		r.wantLadder(1, 2)
		r.after(time.Second)
		if p := r.problem("kernel-refused"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

func TestSysctlsThatAreOnlyReported(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Sysctls.Report = true
		r.start()
		r.after(time.Minute)
		p := r.problem("sysctl")
		if p == nil || !strings.Contains(p.Text, "2 sysctls") || !strings.Contains(p.Text, "eth0/src_valid_mark=1") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
	})
}

// A kernel that cannot be read is not treated as one that lacks everything.
func TestUnreadableKernel(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.Routes.Lock()
		r.Routes.Unread = errRefused
		r.Routes.Unlock()
		r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" }, func(routing.Route) bool { return false })
		r.after(time.Second)
		if did := fake.With(r.Journal.Take(), "rule"); len(did) > 0 {
			t.Errorf("changed blindly: %v", did)
		}
		r.Routes.Lock()
		r.Routes.Unread = nil
		r.Routes.Unlock()
		r.after(repairMost + time.Second)
		if rules := r.Routes.RuleTexts("oif"); len(rules) != 8 {
			t.Errorf("rules by device: %v", rules)
		}
		if p := r.problem("kernel-refused"); p != nil {
			t.Errorf("problem: %+v", p)
		}
	})
}

// An uplink whose routes the kernel refuses does not prevent flows of others from
// moving: the ladders leave it out, and a problem names it.
func TestRefusedUplink(t *testing.T) {
	inBubble(t, twoUplinks+"  - {name: sat, interface: eth2}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.refuseOps("via 192.0.2.102") // lte's, the next in order
		r.Routes.Lose(func(routing.Rule) bool { return false }, func(o routing.Route) bool {
			return strings.Contains(o.String(), "via 192.0.2.102")
		})
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.after(10 * time.Second)
		did := moving(r.Journal.Take())
		for _, want := range []string{"delete ipv4 flows of 1 by 64", "destroy sockets on 192.0.2.1"} {
			if !slices.Contains(did, want) {
				t.Errorf("%q is not among %v", want, did)
			}
		}
		p := r.problem("uplink-refused")
		if p == nil || p.Object != "lte" || p.Severity != control.Warning || !strings.Contains(p.Text, errRefused.Error()) {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if r.problem("kernel-refused") != nil {
			t.Errorf("the rest is refused too: %+v", r.status().Problems)
		}
		r.refuseNothing()
		r.until("the kernel takes it", repairMost+time.Second, func() bool { return r.problem("uplink-refused") == nil })
		r.wantLadder(2, 3, 1)
	})
}

// If the kernel refuses the only remaining uplink, no flows are moved to the uplink
// that they already use.
func TestRefusedLastUplink(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.refuseOps("via 192.0.2.102")
		r.Routes.Lose(func(routing.Rule) bool { return false }, func(o routing.Route) bool {
			return strings.Contains(o.String(), "via 192.0.2.102")
		})
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.after(10 * time.Second)
		if did := moving(r.Journal.Take()); slices.Contains(did, "delete ipv4 flows of 1 by 64") {
			t.Errorf("with no other way: %v", did)
		}
	})
}
