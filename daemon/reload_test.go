package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/fake"
)

// reload writes another configuration file, with the same state folder, and
// reloads.
func (r *rig) reload(file string) error {
	state, _, _ := strings.Cut(r.file, "\n")
	r.file = state + "\n" + file
	return r.api().Reload(r.t.Context(), 0)
}

func TestReload(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.take()
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		r.wantQuiet("by a reload of the same")
		if got := r.status().Daemon.Generation; got != 2 {
			t.Errorf("generation %d", got)
		}
		told := ofType(r.take(), control.EventConfig)
		if len(told) != 1 {
			t.Fatalf("reported: %+v", told)
		}
		if d := told[0].Detail.(control.ConfigDetail); d.Action != "reloaded" || d.Generation != 2 {
			t.Errorf("reported: %+v", d)
		}
		if !r.isIn("fiber", control.Up)() {
			t.Error("what was known of fiber is forgotten")
		}
	})
}

// A change that does not concern the engine still reaches the kernel.
func TestReloadOfWhatTheEngineDoesNotKnow(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		if err := r.reload(twoUplinks + "kernel: {main_default: leave}\n"); err != nil {
			t.Fatal(err)
		}
		if did := r.Journal.Take(); len(did) != 4 || len(fake.With(did, "route del default table main")) != 4 {
			t.Errorf("done: %v", did)
		}
	})
}

// Uplinks are added and removed by reloads; each name keeps its lane.
func TestReloadKeepsLanes(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		three := `
uplinks:
  - {name: cable, interface: eth2}
  - {name: fiber, interface: eth0}
  - {name: lte, interface: eth1}
failback: {after: 1s, min_interval: 0s}
`
		if err := r.reload(three); err != nil {
			t.Fatal(err)
		}
		r.after(10 * time.Second)
		r.wantLadder(3, 1, 2)
		if n := r.net.unbound; n > 0 {
			t.Errorf("%d probes were sent before the rules stood that keep them on their uplink", n)
		}
		lanes := func(device string) string { return strings.Join(r.Routes.RuleTexts("oif "+device+" lookup"), "\n") }
		if got := lanes("eth0") + lanes("eth1") + lanes("eth2"); strings.Count(got, "lookup 5301") != 2 ||
			strings.Count(got, "lookup 5302") != 2 || strings.Count(got, "lookup 5303") != 2 || !strings.Contains(lanes("eth2"), "5303") {
			t.Errorf("lanes:\n%s", got)
		}

		if err := r.reload("uplinks:\n  - {name: lte, interface: eth1}\n  - {name: cable, interface: eth2}\n"); err != nil {
			t.Fatal(err)
		}
		r.after(10 * time.Second)
		if got := r.Routes.RuleTexts("eth0"); len(got) > 0 {
			t.Errorf("fiber is gone, and yet: %v", got)
		}
		for _, u := range r.status().Uplinks {
			if u.Name == "fiber" {
				t.Error("fiber is in the status")
			}
		}
		if held := r.Packets.Text(); strings.Contains(held, `"eth0"`) {
			t.Error("fiber is in the packet filter")
		}

		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(10 * time.Second)
		if got := lanes("eth0"); !strings.Contains(got, "5301") {
			t.Errorf("fiber came back as %s", got)
		}
		if held, _ := r.Routes.Read(); len(held.Lanes(r.loop.setup.layout)) != 2 {
			t.Errorf("left: %v", held.Lanes(r.loop.setup.layout))
		}
	})
}

// An invalid file changes nothing, and all its mistakes are reported.
func TestBadReload(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.take()
		err := r.reload("uplinks:\n  - {name: fiber, interface: eth0, gatway: auto}\n  - {name: fiber, interface: eth1}\n")
		var refused *control.Error
		if !errors.As(err, &refused) || len(refused.Problems) != 2 || !errors.Is(err, control.ErrRefused) {
			t.Fatalf("error: %+v", err)
		}
		for i, text := range []string{"swerve.yaml:3: uplinks[0].gatway", "swerve.yaml:4: uplinks[1].name"} {
			if !strings.Contains(refused.Problems[i], text) {
				t.Errorf("problem %d: %s, want one with %s", i, refused.Problems[i], text)
			}
		}
		r.after(time.Minute)
		r.wantQuiet("by a bad reload")
		if got := r.status().Daemon.Generation; got != 1 {
			t.Errorf("generation %d", got)
		}
		told := ofType(r.take(), control.EventConfig)
		if len(told) != 1 {
			t.Fatalf("reported: %+v", told)
		}
		if d := told[0].Detail.(control.ConfigDetail); d.Action != "refused" || len(d.Problems) != 2 {
			t.Errorf("reported: %+v", d)
		}
	})
}

// Existing flows carry the marks of the layout, so it cannot change.
func TestReloadOfAnotherLayout(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		err := r.reload(twoUplinks + "kernel: {first_table: 6000}\n")
		if err == nil || !strings.Contains(err.Error(), "restart the daemon") {
			t.Errorf("error: %v", err)
		}
		r.after(time.Second)
		r.wantQuiet("by a reload of another layout")
		if got := r.status().Daemon.Generation; got != 1 {
			t.Errorf("generation %d", got)
		}
	})
}

// Changed settings that are only read at the start are reported, for as long as
// they differ from those at the start.
func TestReloadOfWhatNeedsARestart(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		for range 2 {
			if err := r.reload(twoUplinks + "log: {level: debug}\n"); err != nil {
				t.Fatal(err)
			}
			r.after(time.Second)
			if p := r.problem("restart-needed"); p == nil || p.Severity != control.Info {
				t.Fatalf("problems: %+v", r.status().Problems)
			}
		}
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if p := r.problem("restart-needed"); p != nil {
			t.Errorf("problem: %+v", p)
		}
		if err := r.reload(twoUplinks + "kernel: {sysctls: report}\n"); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if r.problem("restart-needed") == nil {
			t.Error("who sets the sysctls is decided at the start, and that is not reported")
		}
	})
}

func TestHangup(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Second)
		r.file += "failback: {mode: manual}\n"
		r.hangup <- syscall.SIGHUP
		r.after(time.Second)
		if got := r.status().Daemon.Generation; got != 2 || !r.loop.setup.cfg.Failback.Manual {
			t.Errorf("generation %d", got)
		}
		r.file += "nonsense: 1\n"
		r.hangup <- syscall.SIGHUP
		r.after(time.Second)
		if got := r.status().Daemon.Generation; got != 2 {
			t.Errorf("generation %d after a bad file", got)
		}
	})
}

// A request to a daemon that has ended returns at once.
func TestReloadAfterTheEnd(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.stop()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if err := r.api().Reload(ctx, 0); !errors.Is(err, errEnded) {
			t.Errorf("error: %v", err)
		}
	})
}

// Settings that this version does not implement are reported, for as long as they
// are configured.
func TestNotBuilt(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		all := `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: eth1, dns: [192.0.2.53]}
policies: [{name: guests, tiers: [lte], spread: flows}]
sessions: {on_failback: move}
metrics: {listen: "127.0.0.1:9773"}
rules: [{from: 192.168.20.0/24, use: guests}]
`
		if err := r.reload(all); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		var objects []string
		for _, p := range r.status().Problems {
			if p.Code == "not-built" {
				objects = append(objects, p.Object)
			}
		}
		if got := strings.Join(objects, " "); got != "metrics.listen" {
			t.Errorf("not built: %s", got)
		}
		if err := r.reload("uplinks:\n  - {name: lte, interface: eth1, prefix6: none}\n"); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if p := r.problem("not-built"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// A refused file is a problem until a valid one is applied: a reload by signal
// returns no answer.
func TestRefusedReloadIsAProblem(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Second)
		if err := r.reload("uplinks: nothing\n"); err == nil {
			t.Fatal("a bad file is taken")
		}
		p := r.problem("reload-refused")
		if p == nil || p.Severity != control.Warning || !strings.Contains(p.Text, "swerve.yaml:") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if err := r.reload(twoUplinks); err != nil {
			t.Fatal(err)
		}
		if p := r.problem("reload-refused"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// An uplink that has another name for the same interface keeps what is known of it
// and its lane, and nothing of it is done anew; so does a policy.
func TestReloadWithOtherNames(t *testing.T) {
	guests := "policies: [{name: guests, tiers: [%s]}]\n"
	inBubble(t, twoUplinks+fmt.Sprintf(guests, "lte"), func(t *testing.T, r *rig) {
		r.start()
		r.after(20 * time.Second)
		r.loop.state.Patience = map[string]map[string]learnt{"fiber": {"ipv4": {MS: 900}}}
		probes := *r.uplink("fiber").ProbeBytes
		r.Journal.Take()
		r.take()
		swapped := strings.NewReplacer("fiber", "lte", "lte", "fiber").Replace(twoUplinks)
		if err := r.reload(swapped + strings.Replace(fmt.Sprintf(guests, "fiber"), "guests", "visitors", 1)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"fiber", "lte"} {
			if !r.isIn(name, control.Up)() {
				t.Errorf("%s is not up at once: %+v", name, r.uplink(name))
			}
		}
		r.after(20 * time.Second)
		for _, line := range r.Journal.Take() {
			if !strings.Contains(line, "nft") && !strings.Contains(line, "table") || strings.Contains(line, "route") || strings.Contains(line, "rule") {
				t.Errorf("done: %s", line)
			}
		}
		if got := r.loop.state.Lanes; got.Uplinks["lte"] != 1 || got.Uplinks["fiber"] != 2 || got.Policies["visitors"] != 65 {
			t.Errorf("lanes: %+v", got)
		}
		if got := *r.uplink("lte").ProbeBytes; got < probes {
			t.Errorf("%d bytes of probes, %d under the former name", got, probes)
		}
		if n := len(ofType(r.take(), control.EventHealth)) + len(ofType(r.take(), control.EventSwitch)); n > 0 {
			t.Errorf("%d events", n)
		}
		if len(r.net.wrong) > 0 {
			t.Errorf("probes by a wrong way: %v", r.net.wrong)
		}
	})
}

// The flows of an uplink that is removed or switched off are ended; those of one that
// has another interface are, once that is used. Names that swap theirs end none.
func TestReloadEndsFlows(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want int
	}{
		"removed":  {"uplinks:\n  - {name: lte, interface: eth1}\n", 1},
		"disabled": {strings.Replace(twoUplinks, "eth0}", "eth0, enabled: false}", 1), 1},
		"replaced": {strings.Replace(twoUplinks, "eth0", "eth2", 1), 1},
		"renamed":  {strings.Replace(twoUplinks, "fiber", "glass", 1), 0},
		"the same": {twoUplinks, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.start()
				r.after(3 * time.Second)
				r.Journal.Take()
				if err := r.reload(c.file); err != nil {
					t.Fatal(err)
				}
				r.after(20 * time.Second)
				did := r.Journal.Take()
				if got := len(fake.With(did, "drop flows of 1")); got != c.want || len(fake.With(did, "drop flows")) != c.want {
					t.Errorf("done: %v", did)
				}
				if len(r.loop.enforcer.retired) > 0 {
					t.Errorf("left: %+v", r.loop.enforcer.retired)
				}
			})
		})
	}
}

// To another interface the packet filter goes ahead of the routes, so that no flow
// begins there without source NAT, and gives the former one up when they have moved.
func TestOrderOfAMoveToAnotherInterface(t *testing.T) {
	for name, file := range map[string]string{
		"the same uplink": "uplinks:\n  - {name: fiber, interface: eth2}\n  - {name: lte, interface: eth1}\n",
		"another uplink":  "uplinks:\n  - {name: sat, interface: eth2}\n  - {name: lte, interface: eth1}\nfailback: {after: 0s, min_interval: 0s}\n",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
				r.start()
				r.after(3 * time.Second)
				r.Journal.Take()
				if err := r.reload(file); err != nil {
					t.Fatal(err)
				}
				r.after(3 * time.Second)
				did := r.Journal.Take()
				moves := func(line string) bool {
					return strings.Contains(line, "route replace default table 5364 proto 83 metric 1") && strings.Contains(line, "dev eth2")
				}
				moved, filtered := slices.IndexFunc(did, moves), firstOf(did, "nft ")
				if filtered < 0 || moved < filtered {
					t.Errorf("not in the order packet filter, routes:\n%s", strings.Join(did, "\n"))
				}
				if text := r.Packets.Text(); strings.Contains(text, `"eth0"`) || !strings.Contains(text, `"eth2"`) {
					t.Errorf("the packet filter in the end:\n%s", text)
				}
			})
		})
	}
}

// A reload leads an uplink to an interface that is not there: that one is missing, not the
// former one, and nothing of the packet filter is for the former one any more.
func TestReloadToAMissingInterface(t *testing.T) {
	g := newGateway(t)
	g.configure("")
	p := g.start()
	p.await("lte is up", func(s *control.Status) bool { return s.Uplinks[1].IPv4.State == control.Up })
	g.uplinks("- {name: fiber, interface: wan0}\n  - {name: lte, interface: wan7}")
	_, err := p.client.Reload(t.Context(), 0)
	g.must(err)
	p.await("wan7 is missing", func(s *control.Status) bool {
		return s.Uplinks[1].IPv4.State == control.Down && s.Uplinks[1].IPv4.Reason == "interface wan7 is missing"
	})
	g.eventually("the packet filter to be without wan1", func() bool { return !strings.Contains(g.sh("nft list table inet swerve"), `"wan1"`) })
}
