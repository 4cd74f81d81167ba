package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
	"swerve/testenv/fake"
)

// lastOf and firstOf return the index of the last or first line that contains a
// text; -1 if there is none.
func firstOf(lines []string, text string) int {
	return slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, text) })
}

func lastOf(lines []string, text string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], text) {
			return i
		}
	}
	return -1
}

func TestStartOnAnEmptyKernel(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		did := r.Journal.Take()
		order := []int{lastOf(did, "sysctl"), firstOf(did, "route replace"), lastOf(did, " route "), firstOf(did, "adopt flows"),
			firstOf(did, "nft apply"), firstOf(did, "heal flows"), firstOf(did, "rule add"), lastOf(did, "rule add")}
		if !slices.IsSorted(order) || order[0] < 0 || order[7] != len(did)-1 {
			t.Errorf("not in the order sysctls, routes, flows, packet filter, flows again, rules, and nothing after them:\n%s", strings.Join(did, "\n"))
		}
		if n := len(fake.With(did, "nft")); n != 1 {
			t.Errorf("the packet filter was made %d times", n)
		}
		r.wantLadder(1, 2)
		if n := r.net.unbound; n > 0 {
			t.Errorf("%d probes were sent before the rules stood that keep them on their uplink", n)
		}
		if s := r.status(); s.Daemon.Generation != 1 || len(s.Problems) > 0 && r.problem("starting") == nil {
			t.Errorf("status after the start: %+v", s)
		}
		r.after(time.Minute)
		r.wantQuiet("in a minute without events")
		if !r.isIn("fiber", control.Up)() || !r.isIn("lte", control.Up)() {
			t.Errorf("uplinks after a minute: %+v", r.status().Uplinks)
		}
		events := r.take()
		if n := len(ofType(events, control.EventDaemon)); n != 1 {
			t.Errorf("reported %d times that it started", n)
		}
		if n := len(ofType(events, control.EventRepair)) + len(ofType(events, control.EventSwitch)); n > 0 {
			t.Errorf("switches or repairs at a start: %+v", events)
		}
	})
}

// Where other programs have rules that look at bits of ours, flows have no lanes before
// our rules for these are there, and are led by no other rule before they have them; at a
// teardown they lose the lanes before those rules. Rules that look at other bits are no
// reason.
func TestOrderBesideRulesForMarks(t *testing.T) {
	const marked, last = "fwmark 0x01000000", "pref 32765"
	for mask, beside := range map[uint32]bool{0xffffffff: true, 0x00ff0000: true, 0x0000ffff: false} {
		inBubble(t, twoUplinks+"kernel: {mark_mask: 0x7f000000}\n", func(t *testing.T, r *rig) {
			r.Routes.Ruled = []routing.OtherRule{{Priority: 20000, Mark: 0xca6c0001 & mask, Mask: mask, Inverted: true, Table: 77, Suppress: -1}}
			r.start()
			did := r.Journal.Take()
			order := []int{lastOf(did, " route "), firstOf(did, "adopt flows"), firstOf(did, "nft apply"), firstOf(did, "heal flows"), firstOf(did, last)}
			if !slices.IsSorted(order) || order[0] < 0 || lastOf(did, marked) < 0 || (lastOf(did, marked) < order[1]) != beside {
				t.Errorf("mask %#x: started so:\n%s", mask, strings.Join(did, "\n"))
			}
			r.wantLadder(1, 2)
			if lines, _, err := r.loop.enforcer.kernel.lacks(); err != nil || len(lines) > 0 {
				t.Errorf("mask %#x: after the start the kernel lacks %v (%v)", mask, lines, err)
			}
			r.stop()
			if err := remove(r.Routes, r.Packets, r.loop.setup.layout); err != nil {
				t.Error(err)
			}
			did = r.Journal.Take()
			order = []int{firstOf(did, last), firstOf(did, "nft teardown"), firstOf(did, " route ")}
			if beside != (lastOf(did, marked) > order[1]) || order[0] < 0 || order[0] > order[1] || beside && !slices.IsSorted(order) {
				t.Errorf("mask %#x: removed so:\n%s", mask, strings.Join(did, "\n"))
			}
			if left, err := r.Routes.Read(); err != nil || !left.Empty() {
				t.Errorf("mask %#x: left %v (%v)", mask, left, err)
			}
		})
	}
}

// Where nobody tracked connections, that is all that is changed for two seconds; the
// kernel is brought to the goal afterwards as ever, and a restart does not wait again.
func TestStartOnAnUntrackedMachine(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Untracked = true
		r.start()
		if did := r.Journal.Take(); len(fake.With(did, "watch flows")) != 1 || len(fake.With(did, "adopt"))+len(fake.With(did, "route"))+len(fake.With(did, "rule"))+len(fake.With(did, "nft")) > 0 {
			t.Errorf("at once:\n%s", strings.Join(did, "\n"))
		}
		r.after(watchFirst - 100*time.Millisecond)
		if did := r.Journal.Take(); len(did) > 0 {
			t.Errorf("while flows are watched:\n%s", strings.Join(did, "\n"))
		}
		r.after(time.Second)
		did := r.Journal.Take()
		order := []int{firstOf(did, "route replace"), firstOf(did, "adopt flows"), firstOf(did, "nft apply"), firstOf(did, "rule add")}
		if !slices.IsSorted(order) || order[0] < 0 {
			t.Errorf("after that:\n%s", strings.Join(did, "\n"))
		}
		r.wantLadder(1, 2)
		r.after(time.Minute)
		for _, e := range r.take() {
			if e.Type() == control.EventRepair || e.Type() == control.EventSwitch {
				t.Errorf("a start was told as %+v", e)
			}
		}
		r.Journal.Take()
		r.restart()
		r.after(time.Second)
		if did := fake.With(r.Journal.Take(), "watch flows"); len(did) > 0 {
			t.Error("watched again at a restart")
		}
	})
}

func TestRestartMovesNothing(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.after(time.Second)
		r.wantLadder(2, 1)
		held := r.Packets.Text()

		r.restart()
		r.after(10 * time.Second)
		r.wantLeftovers()
		r.wantLadder(2, 1)
		if r.Packets.Text() != held {
			t.Error("the table is another one")
		}
		if !r.isIn("fiber", control.Down)() {
			t.Errorf("fiber is %s and %s, want down as before", r.uplink("fiber").IPv4.State, r.uplink("fiber").IPv6.State)
		}
		events := r.take()
		if moved := ofType(events, control.EventSessions); len(moved) > 0 {
			t.Errorf("sessions were moved a second time: %+v", moved)
		}
		if s := r.status(); s.SwitchesTotal != 0 {
			t.Errorf("a restart counts %d switches", s.SwitchesTotal)
		}
	})
}

// wantLeftovers wants nothing of the kernel's to be changed by a restart while the first
// uplink is lost but the end of what the run before may have left there when it was killed.
func (r *rig) wantLeftovers() {
	r.t.Helper()
	want := slices.DeleteFunc(slices.Clone(fiberCut), func(line string) bool { return strings.HasPrefix(line, "grace") })
	did := r.Journal.Take()
	slices.Sort(did)
	if !slices.Equal(did, want) {
		r.t.Errorf("after a restart the kernel was changed by %q, want %q", did, want)
	}
}

// The carrying uplink is read from the kernel, even if no uplink is lost and the
// file prefers another.
func TestRestartKeepsWhoCarries(t *testing.T) {
	inBubble(t, twoUplinks+"failback: {mode: manual}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.blackHole("eth0", true, both...)
		r.after(10 * time.Second)
		r.blackHole("eth0", false, both...)
		r.until("fiber is up again", 2*time.Minute, r.isIn("fiber", control.Up))
		r.after(10 * time.Second)
		r.wantLadder(2, 1)
		r.restart()
		r.after(time.Minute)
		r.wantQuiet("after a restart")
		r.wantLadder(2, 1)
	})
}

// A daemon may be killed at any moment, even between two ops of its first start.
// The next one completes its work.
func TestStartThatIsKilled(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		whole := len(r.Journal.Take())
		r.stop()
		want, _ := r.Routes.Read()
		table := r.Packets.Text()
		for done := range whole {
			r.Reboot()
			r.Journal.Dead, r.Journal.DeadAfter = true, done
			r.start()
			r.stop()
			r.Journal.Dead = false
			r.Journal.Take()
			r.start()
			r.after(100 * time.Millisecond)
			got, _ := r.Routes.Read()
			if len(routing.Plan(want, got)) > 0 || r.Packets.Text() != table || r.problem("kernel-refused") != nil {
				t.Fatalf("killed after %d of %d steps, started again: it lacks %v", done, whole, routing.Plan(want, got))
			}
			r.stop()
		}
	})
}

// At a start whose first goal took long the preferred uplink takes over as soon as it
// answers, although finding the first place is no switch.
func TestPreferredUplinkAfterASlowStart(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		const slow = 200 * time.Millisecond
		r.Routes.Slow = slow
		r.change("eth0", func(l *line) { l.rtt = 900 * time.Millisecond })
		r.start()
		r.until("lte carries", 10*time.Second, func() bool { return slices.Equal(r.Routes.Ladder(failover.IPv4, 5364), []int{2, 1}) })
		for r.uplink("fiber").IPv4.State != control.Up {
			r.after(time.Millisecond)
		}
		took := r.until("fiber carries", 10*time.Second, func() bool { return slices.Equal(r.Routes.Ladder(failover.IPv4, 5364), []int{1, 2}) })
		if took > slow {
			t.Errorf("in the kernel %v after it was decided", took)
		}
		r.after(time.Second)
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("repaired, where nobody changed anything: %+v", repairs[0].Detail)
		}
		if s := r.status(); s.SwitchesTotal != 0 {
			t.Errorf("a start is no switch: %+v", s.LastSwitch)
		}
	})
}
