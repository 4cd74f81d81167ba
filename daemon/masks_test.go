package daemon

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
	"swerve/testenv/fake"
)

// Uses are known once by their bits, dated to the day, forgotten when they were not seen
// for long, and bounded.
func TestNoteUses(t *testing.T) {
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	known := noteUses(nil, []usedBits{{Bits: 0xff0000, By: "a"}, {Bits: 0xff0000, By: "b"}, {By: "none"}, {Bits: 1, By: "c"}}, day)
	want := []usedBits{{0xff0000, "a", day}, {1, "c", day}}
	if !slices.Equal(known, want) {
		t.Fatalf("%v", known)
	}
	if got := noteUses(known, []usedBits{{Bits: 1, By: "d"}}, day.Add(time.Hour)); !slices.Equal(got, want) {
		t.Errorf("an hour later: %v", got)
	}
	later := day.Add(usedMarksAge)
	if got := noteUses(known, []usedBits{{Bits: 1, By: "d"}}, later); !slices.Equal(got, []usedBits{{1, "d", later}}) {
		t.Errorf("much later: %v", got)
	}
	if got := noteUses(known, []usedBits{{Bits: 1, By: "d"}}, day.Add(-time.Hour)); got[1].Seen != day.Add(-time.Hour) || len(got) != 2 {
		t.Errorf("after the clock was set back: %v", got)
	}
	var many []usedBits
	for n := range uint32(1000) {
		many = append(many, usedBits{Bits: n + 1})
	}
	if got := noteUses(known, many, day); len(got) != mostUsedMarks || got[0] != want[0] {
		t.Errorf("%d uses", len(got))
	}
}

// pbr is a rule of another program by bits of connections' marks that are ours by default.
func pbr() routing.OtherRule {
	return routing.OtherRule{Priority: 1000, Mark: 0x20000, Mask: 0xff0000, Table: 102, Suppress: -1}
}

// others sets the rules of other programs.
func (r *rig) others(rules ...routing.OtherRule) {
	r.Routes.Lock()
	r.Routes.Ruled = rules
	r.Routes.Unlock()
}

// wantMask checks under which masks the kernel has lanes, and what is told of it.
func (r *rig) wantMask(when string, mask uint32, told bool) {
	r.t.Helper()
	l, _ := lane.DefaultLayout.WithMarkMask(mask)
	have, err := r.Routes.Read()
	if err != nil || have.MarkMask(l) != mask {
		r.t.Errorf("%s: the rules have the mask %#x, want %#x (%v)", when, have.MarkMask(l), mask, err)
	}
	if got := r.loop.setup.layout; got != l {
		r.t.Errorf("%s: layout %#v", when, got)
	}
	clash := slices.ContainsFunc(r.status().Problems, func(p control.Problem) bool {
		return p.Code == "mark-clash" && p.Object == "kernel.mark_mask" && p.Severity == control.Info
	})
	if clash != told {
		r.t.Errorf("%s: told: %t, want %t; %+v", when, clash, told, r.status().Problems)
	}
}

// Masks whose bits others use are not taken at a first start, and others are kept until
// nothing of ours is in the kernel, with or without the state folder.
func TestMasksAreChosenOnce(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.others(pbr())
		r.start()
		r.after(3 * time.Second)
		r.wantMask("a first start", 0xfe00, true)
		r.others()
		r.restart()
		r.after(3 * time.Second)
		r.wantMask("a restart without them", 0xfe00, true)
		r.others(pbr(), routing.OtherRule{Priority: 9, Mark: 0x100, Mask: 0xff00, Table: 9, Suppress: -1})
		if err := r.reload(twoUplinks + "health: {window: 20s}\n"); err != nil {
			t.Fatal(err)
		}
		r.wantMask("a reload beside another one", 0xfe00, true)

		r.stop()
		cfg, _ := r.load()
		if err := os.RemoveAll(cfg.State); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.after(3 * time.Second)
		r.wantMask("without the state folder", 0xfe00, true)
		r.stop()
		_ = os.RemoveAll(cfg.State)
		r.Routes.Lose(func(routing.Rule) bool { return true }, func(routing.Route) bool { return true })
		r.start()
		r.after(3 * time.Second)
		r.wantMask("with our table alone", 0xfe00, true)
	})
}

// A clash that comes under way is told, and avoided at the next boot, even where the other
// program starts later; when it was not seen for long the default masks are back.
func TestMasksAvoidWhatComesLater(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.wantMask("alone", 0x7f000000, false)
		r.others(pbr())
		fake.Poke(r.net.repair)
		r.until("the clash is told", time.Minute, func() bool {
			p := r.problem("mark-clash")
			return p != nil && p.Object == "rule 1000" && strings.Contains(p.Remedy, "start it again, or boot: it then takes kernel.mark_mask: 0x0000fe00")
		})
		r.wantMask("with a clash", 0x7f000000, false)
		r.restart()
		r.after(3 * time.Second)
		r.wantMask("after a restart", 0x7f000000, false)
		r.stop()
		r.Reboot()
		r.others()
		r.start()
		r.after(3 * time.Second)
		r.wantMask("after a boot", 0xfe00, true)
		r.stop()
		r.Reboot()
		r.set.Store(int64(usedMarksAge + 24*time.Hour))
		r.start()
		r.after(3 * time.Second)
		r.wantMask("a boot much later", 0x7f000000, false)
	})
}

// Masks of the file are used whatever others do; chains of others count as rules do; a
// rule of the file keeps its bits; and where nothing is free the defaults stand, and both
// rule and chain are told.
func TestMasksOfTheFileAndOthers(t *testing.T) {
	inBubble(t, twoUplinks+"kernel: {mark_mask: 0x7f000000, ct_mask: 0x7fff0000}\n", func(t *testing.T, r *rig) {
		r.others(pbr())
		r.start()
		r.after(3 * time.Second)
		r.wantMask("by the file", 0x7f000000, false)
		if p := r.problem("mark-clash"); p == nil || p.Object != "rule 1000" || !strings.Contains(p.Remedy, "set kernel.mark_mask: 0x0000fe00") {
			t.Errorf("%+v", p)
		}
	})
	inBubble(t, twoUplinks+"rules: [{mark: 0x100/0xff00, use: default}]\n", func(t *testing.T, r *rig) {
		r.Packets.Marks.Others = []firewall.MarkUse{{Where: "ip theirs pre", Bits: 0x80000000}, {Where: "ip theirs pre", Bits: 0x7f000000}}
		r.start()
		r.after(3 * time.Second)
		r.wantMask("beside a chain", 0x7f<<17, true)
		if p := r.problem("mark-clash"); p == nil || !strings.Contains(p.Text, `the chain "ip theirs pre"`) || !strings.Contains(p.Text, "0x00fe0000") {
			t.Errorf("%+v", p)
		}
		if err := r.reload(twoUplinks + "rules: [{mark: 0x20000/0xff0000, use: default}]\n"); err != nil {
			t.Fatal(err)
		}
		r.until("the rule that never matches is told", time.Minute, func() bool {
			return slices.ContainsFunc(r.status().Problems, func(p control.Problem) bool {
				return p.Code == "mark-clash" && p.Severity == control.Warning && strings.HasPrefix(p.Object, "line ")
			})
		})
	})
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.others(pbr())
		r.Packets.Marks.Others = []firewall.MarkUse{{Where: "ip theirs pre", Bits: 0x3f00}, {Where: "ip theirs pre", Bits: 0x10000000}}
		r.start()
		r.after(3 * time.Second)
		r.wantMask("nothing free", 0x7f000000, false)
		var objects []string
		for _, p := range r.status().Problems {
			if p.Code == "mark-clash" {
				objects = append(objects, p.Object)
			}
		}
		slices.Sort(objects)
		if !slices.Equal(objects, []string{"chains", "rule 1000"}) {
			t.Errorf("told: %q", objects)
		}
	})
}

// Marks of flows show at a first start what others use that is not read otherwise; what an
// earlier run has left in them does not.
func TestMasksAvoidMarksOfFlows(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Packets.Marked = []uint32{0x20000}
		r.start()
		r.after(3 * time.Second)
		r.wantMask("with a mark", 0xfe00, true)
		r.stop()
		r.Reboot()
		r.Packets.Marked = []uint32{0x2fe, 0x20000, 0x81020003}
		r.start()
		r.after(3 * time.Second)
		r.wantMask("with marks of ours, and one all over", 0xfe00, true)
	})
}

// Under `uplinks: auto` nothing of ours is in the kernel until two uplinks are taken: until
// then masks are chosen anew.
func TestMasksOfAuto(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.others(pbr())
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.until("both are taken", time.Minute, func() bool { return len(r.status().Uplinks) == 2 && r.loop.enforcer.kernel.standing })
		r.wantMask("taken", 0xfe00, true)
	})
}

// What is left of a mark's rule is no use of it.
func TestRuleMarks(t *testing.T) {
	cfg, problems := config.Parse("", []byte(twoUplinks+"rules: [{mark: 0x100/0xff00, use: default}, {mark: 0x2, use: default}]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := ruleMarks(cfg); got != 0xff02 {
		t.Errorf("%#x", got)
	}
}
