package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
	"swerve/testenv/fake"
)

func noRoute(routing.Route) bool { return false }
func noRule(routing.Rule) bool   { return false }

var anyIPv4 = netip.MustParsePrefix("0.0.0.0/0")

func TestForeignDeletion(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" && r.Family == failover.IPv4 }, noRoute)
		took := r.until("the rules are back", time.Second, func() bool { return r.Routes.Keeps("") == 8 })
		if took < repairAfter || took > 2*repairAfter {
			t.Errorf("repaired after %v", took)
		}
		r.after(time.Minute)
		repairs := ofType(r.take(), control.EventRepair)
		if len(repairs) != 1 {
			t.Fatalf("%d repairs: %+v", len(repairs), repairs)
		}
		d := repairs[0].Detail.(control.RepairDetail)
		if d.Action != "restored" || *d.Count != 4 || d.TookMS == nil || !strings.Contains(d.Reason, "ip -4 rule add") || !strings.Contains(d.Reason, "oif eth1") {
			t.Errorf("reported: %+v", d)
		}
		if r.status().SwitchesTotal != 0 {
			t.Error("a repair is no switch")
		}
	})
}

// A burst of deletions causes one repair, however long it lasts.
func TestBurstOfDeletions(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		want, _ := r.Routes.Read()
		for len(r.Routes.RuleTexts("")) > 0 {
			first := r.Routes.Rules()[0]
			r.Routes.Lose(func(r routing.Rule) bool { return r == first }, noRoute)
			r.after(500 * time.Microsecond)
		}
		r.Packets.Flush()
		r.Routes.Lose(noRule, func(r routing.Route) bool { return r.Table != routing.MainTable })
		r.after(time.Second)
		got, _ := r.Routes.Read()
		if lacks := routing.Plan(want, got); len(lacks) > 0 || r.Packets.Text() == "" {
			t.Errorf("it lacks %v", lacks)
		}
		repairs := ofType(r.take(), control.EventRepair)
		if len(repairs) != 1 {
			t.Fatalf("%d repairs: %+v", len(repairs), repairs)
		}
		if d := repairs[0].Detail.(control.RepairDetail); !strings.Contains(d.Reason, "more") || !strings.Contains(d.Reason, "table inet swerve") {
			t.Errorf("repairs: %+v", repairs)
		}
	})
}

// Repairs after repeated deletions are made at a growing interval. After a long
// calm period, a repair is made at once again.
func TestRepeatedDeletion(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		var at []time.Time
		for begin := time.Now(); time.Since(begin) < 90*time.Second; r.after(5 * time.Millisecond) {
			if r.Routes.Keeps("") < 8 {
				continue
			}
			r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" }, noRoute)
			at = append(at, time.Now())
		}
		wantGrowingPace(t, at[2:])
		r.after(10 * time.Minute)
		r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" }, noRoute)
		first := r.until("the rules are back", time.Second, func() bool { return r.Routes.Keeps("") == 8 })
		r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" }, noRoute)
		second := r.until("the rules are back again", time.Second, func() bool { return r.Routes.Keeps("") == 8 })
		if first > 2*repairAfter || second > 2*repairFirst {
			t.Errorf("after ten calm minutes repaired within %v and then %v", first, second)
		}
	})
}

// Flows that began while the table was missing are healed, once, when it is
// restored.
func TestFlushIsHealed(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Journal.Take()
		r.Flows.Healed = 3
		r.Packets.Flush()
		r.after(3 * time.Second)
		if did := r.Journal.Take(); !slices.Equal(did, []string{"nft apply", "heal flows"}) {
			t.Errorf("done: %v", did)
		}
		told := ofType(r.take(), control.EventSessions)
		if len(told) != 1 {
			t.Fatalf("reported: %+v", told)
		}
		if d := told[0].Detail.(control.SessionsDetail); d.Action != "healed" || *d.Count != 3 {
			t.Errorf("reported: %+v", told)
		}
		r.blackHole("eth0", true, both...)
		r.after(3 * time.Second)
		r.restart()
		r.after(3 * time.Second)
		if did := fake.With(r.Journal.Take(), "heal"); len(did) > 0 {
			t.Error("healed by a switch or a restart")
		}
	})
}

// A deletion right before a change of our own is still repaired.
func TestDeletionBesideAnOwnChange(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Packets.Flush()
		r.after(time.Millisecond)
		r.change("eth1", func(l *line) { l.link.Family[failover.IPv4].Source = "static" }) // no change for the kernel
		r.after(time.Second)
		if r.Packets.Text() == "" {
			t.Error("the table is still missing")
		}
	})
}

// A packet filter that cannot be repaired is not reported as repaired.
func TestRepairThatFails(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Packets.Lock()
		r.Packets.Refuse = errRefused
		r.Packets.Unlock()
		r.Packets.Flush()
		r.after(time.Second)
		if p := r.problem("kernel-refused"); p == nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("reported: %+v", repairs[0].Detail)
		}
		r.Packets.Lock()
		r.Packets.Refuse = nil
		r.Packets.Unlock()
		r.after(repairMost + time.Second)
		if r.Packets.Text() == "" || r.problem("kernel-refused") != nil {
			t.Errorf("not repaired: %+v", r.status().Problems)
		}
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) != 1 {
			t.Errorf("reported: %+v", repairs)
		}
	})
}

// If routes of other programs make ours change their metric, that does not count as
// a repair.
func TestForeignDefaultComes(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		v4 := routing.Route{Slot: routing.Slot{Family: failover.IPv4, Table: routing.MainTable, Dst: anyIPv4, Metric: 4278250000}, Protocol: 16}
		r.Routes.Lock()
		r.Routes.Others = append(r.Routes.Others, v4)
		r.Routes.Unlock()
		fake.Poke(r.net.changed)
		r.after(time.Second)
		held, _ := r.Routes.Read()
		var metrics []uint32
		for _, route := range held.Routes {
			if route.Table == routing.MainTable && route.Family == failover.IPv4 {
				metrics = append(metrics, route.Metric)
			}
		}
		slices.Sort(metrics)
		if !slices.Equal(metrics, []uint32{4278250001, 4278250002}) {
			t.Errorf("the mirror in main is at %v", metrics)
		}
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("reported as a repair: %+v", repairs[0].Detail)
		}
	})
}

// Where tables are big a comparison takes long; hints then cost a twentieth of the
// time. One that was long because the machine paused delays nothing.
func TestComparisonsTakeAShare(t *testing.T) {
	const took = 30 * time.Millisecond
	var r repairs
	now, busy := failover.Instant(time.Hour), time.Duration(0)
	for end := now + failover.Instant(time.Minute); now < end; now += time.Millisecond {
		r.hint(now)
		if !r.due(now) {
			continue
		}
		busy += took
		now += took
		r.compared(now, false)
		r.spent(now, took)
	}
	if most := (time.Minute+compareCredit)/compareRest + 2*took; busy > most || busy < most/2 {
		t.Errorf("comparisons took %v of a minute, want about %v", busy, time.Minute/compareRest)
	}
	r = repairs{}
	r.spent(now, 100*time.Microsecond)
	r.spent(now, 100*time.Millisecond)
	if r.hint(now); r.at > now+repairAfter {
		t.Errorf("after a pause of the machine a hint waits for %v", r.at-now)
	}
}

// Where comparisons are short, as on a small machine, none waits because of the ones
// before it, until they took much time.
func TestShortComparisonsDoNotWait(t *testing.T) {
	const took = 3 * time.Millisecond
	var r repairs
	now, n := failover.Instant(time.Hour), 0
	for begin := now; now < begin+10*time.Minute; n++ {
		r.hint(now)
		if n < 10 && r.at != now+repairAfter {
			t.Fatalf("the comparison after %d others waits for %v", n, r.at-now)
		}
		now = r.at + took
		r.compared(now, false)
		r.spent(now, took)
	}
	if share := float64(n) * took.Seconds() / (10 * time.Minute).Seconds(); share > 1.05/compareRest || share < 0.9/compareRest {
		t.Errorf("comparisons take %.3f of the time", share)
	}
}

// A goal that waits is no repair when something has the kernel compared meanwhile; what
// others remove in that time is one, and is restored at once.
func TestGoalThatWaitsIsNoRepair(t *testing.T) {
	const three = twoUplinks + "  - {name: spare, interface: eth2}\n"
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprint("removed ", removed), func(t *testing.T) {
			inBubble(t, three, func(t *testing.T, r *rig) {
				r.start()
				r.after(time.Minute)
				r.take()
				inLoop := func(do func()) {
					t.Helper()
					if err := r.loop.ask(t.Context(), do); err != nil {
						t.Fatal(err)
					}
				}
				inLoop(func() { r.loop.enforcer.rested = r.loop.clock.now() + 10*time.Second }) // as after slow ones
				waits := func() (yes bool) {
					t.Helper()
					inLoop(func() { yes = r.loop.enforcer.stale })
					return yes
				}
				r.blackHole("eth1", true, both...)
				r.until("a goal waits", 5*time.Second, waits)
				r.after(time.Second)
				if removed {
					r.Routes.Lose(func(r routing.Rule) bool { return r.OIF == "eth0" && r.Family == failover.IPv4 }, noRoute)
				} else {
					fake.Poke(r.net.repair)
				}
				r.after(2 * repairAfter)
				if stale := waits(); stale == removed {
					t.Errorf("after a comparison the goal waits: %v", stale)
				}
				r.after(10 * time.Second)
				if waits() {
					t.Error("the goal waits for ever")
				}
				var lines []string
				for _, e := range ofType(r.take(), control.EventRepair) {
					d := e.Detail.(control.RepairDetail)
					lines = append(lines, fmt.Sprint(*d.Count, " ", d.Reason))
				}
				if !removed && len(lines) > 0 || removed && (len(lines) != 1 || !strings.HasPrefix(lines[0], "2 the kernel lacked: ip -4 rule add") || strings.Contains(lines[0], "eth1")) {
					t.Errorf("repaired: %q", lines)
				}
			})
		})
	}
}

// Where reading the kernel takes long, a switch does not wait for it. What was deleted
// unnoticed is found by the comparison that follows.
func TestSwitchWithoutReading(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.Routes.Lock()
		r.Routes.Slow = 50 * time.Millisecond
		r.Routes.Unlock()
		for range 2 { // since only the second long reading counts
			r.Routes.Changed()
			r.after(5 * time.Second)
		}
		r.Routes.LoseUnnoticed(func(r routing.Rule) bool { return r.OIF == "eth1" }, noRoute)
		reads := func() int {
			r.Routes.Lock()
			defer r.Routes.Unlock()
			return r.Routes.Reads
		}
		before := reads()
		r.take()
		r.blackHole("eth0", true, failover.IPv4)
		r.until("fiber is left", 3*time.Second, func() bool { return r.status().SwitchesTotal == 1 })
		if n := reads() - before; n > 0 || r.Routes.Ladder(failover.IPv4, 5364)[0] != 2 {
			t.Errorf("the kernel was read %d times before the switch was told; %v", n, r.Routes.Ladder(failover.IPv4, 5364))
		}
		for _, e := range ofType(r.take(), control.EventSwitch) {
			if d := e.Detail.(control.SwitchDetail); *d.SwitchMS >= 50 {
				t.Errorf("the switch took %v ms", *d.SwitchMS)
			}
		}
		r.until("the rules are back", 5*time.Second, func() bool { return r.Routes.Keeps("eth1") == 4 })
		if n := len(ofType(r.take(), control.EventRepair)); n != 1 {
			t.Errorf("%d repairs", n)
		}
	})
}

// A ruleset that is loaded anew now and then is answered at once each time, and is no
// contest; a program that deletes whatever is repaired is one, until it has stopped for a
// minute.
func TestContested(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		back := func() bool { return r.Packets.Text() != "" }
		for range 5 {
			r.Packets.Flush()
			if took := r.until("the table is back", time.Second, back); took > 2*repairAfter {
				t.Errorf("repaired after %v", took)
			}
			r.after(5 * time.Second)
		}
		if p := r.problem("contested"); p != nil {
			t.Errorf("a problem: %+v", p)
		}
		r.after(2 * time.Minute)
		for begin := time.Now(); time.Since(begin) < 10*time.Second; r.after(5 * time.Millisecond) {
			if back() {
				r.Packets.Flush()
			}
		}
		p := r.problem("contested")
		if p == nil || p.Severity != control.Warning || !strings.Contains(p.Text, "table inet swerve is missing") {
			t.Errorf("the problem is %+v", p)
		}
		r.after(2 * time.Minute)
		if p := r.problem("contested"); p != nil {
			t.Errorf("it stays: %+v", p)
		}
	})
}

// What a person or a VPN pinned to a lost uplink is told, a few of many.
func TestPinsOfPersons(t *testing.T) {
	var pins []routing.Route
	for n := range 10 {
		to := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		pins = append(pins, routing.Route{
			Slot: routing.Slot{Table: routing.MainTable, Dst: netip.PrefixFrom(to, 32)}, Protocol: 3, Type: routing.Unicast,
			Hops: []routing.Hop{{Device: "eth0", Index: 2, Gateway: netip.MustParseAddr("203.0.113.1")}},
		})
	}
	found := pinProblems(pins)
	if len(found) != mostPersonal || found[0].Severity != control.Info || !strings.Contains(found[0].Text, "192.0.2.0 is reached by eth0 alone") {
		t.Errorf("found: %+v", found)
	}
}
