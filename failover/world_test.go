package failover_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

var worlds = flag.Uint64("worlds", 40, "how many random worlds to play")

// rough is the rate of events in the random worlds: one every few seconds.
const rough = 40_000

// TestRandomWorlds plays random events and checks the rules after each step, and that
// the target of a switch by choice has just answered.
func TestRandomWorlds(t *testing.T) {
	for seed := range *worlds {
		simulator.MustPlay(t, simulator.RandomLife(seed, 3*time.Minute, rough).Script(), simulator.Options{
			Witness: func(e *Engine, at Instant, _ Event, out Output) {
				for _, r := range out.Records {
					if err := fresh(e, r.Switch); err != nil {
						t.Fatalf("seed %d at %v: %v", seed, at, err)
					}
				}
			},
		})
	}
}

// fresh checks that the target of a switch by choice has answered recently and is not
// suspected.
func fresh(e *Engine, s *SwitchChange) error {
	if s == nil || s.Kind == Failover || s.ByConfig || len(s.From) == 0 {
		return nil
	}
	for _, name := range s.To {
		if p := InsideOf(e, name, s.Family); s.Kind == Return && p.State != Up || !p.Fresh {
			return fmt.Errorf("%s to %s, which is %s", s.Kind, name, p.State)
		}
	}
	return nil
}

// step is one recorded call of Step.
type step struct {
	at  Instant
	ev  Event
	out Output
	cfg Config // in force
}

// TestReplay holds that equal configurations and equal steps give equal
// outputs, and that ticks in between change nothing.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		s := simulator.RandomLife(seed, 2*time.Minute, rough).Script()
		first, err := s.Engine()
		if err != nil {
			t.Fatal(err)
		}
		var steps []step
		simulator.MustPlay(t, s, simulator.Options{CheckEach: 1000, Witness: func(e *Engine, at Instant, ev Event, out Output) {
			steps = append(steps, step{at, ev, out, ConfigOf(e)})
		}})
		replay(t, seed, first, steps, nil)
		replay(t, seed, first, steps, rand.New(rand.NewPCG(seed, 3)))
	}
}

// replay feeds recorded steps to new engines, one after each restart. If idle is not nil,
// it adds idle ticks before random steps.
func replay(t *testing.T, seed uint64, cfg Config, steps []step, idle *rand.Rand) {
	t.Helper()
	e := New(cfg)
	now, wake := Instant(0), Instant(0)
	for i, s := range steps {
		if _, ok := s.ev.(Adopt); ok {
			e, now, wake = New(s.cfg), s.at, s.at
		}
		if idle != nil && i > 0 && min(s.at, wake)-now > 1 {
			tick := now + 1 + Instant(idle.Int64N(int64(min(s.at, wake)-now-1)))
			out := e.Step(tick, Tick{})
			if len(out.Probes)+len(out.Records)+len(out.Reread) > 0 || out.Intent != nil {
				t.Fatalf("seed %d: idle tick at %v before step %d gives %+v", seed, tick, i, out)
			}
		}
		out := e.Step(s.at, s.ev)
		if !reflect.DeepEqual(out, s.out) {
			t.Fatalf("seed %d, step %d at %v, %T:\n got %+v\nwant %+v", seed, i, s.at, s.ev, out, s.out)
		}
		now, wake = s.at, out.Wake
	}
}

// TestNotSentNeverLowersHealth uses good wires on which sending fails for a while,
// repeatedly.
func TestNotSentNeverLowersHealth(t *testing.T) {
	for seed := range uint64(20) {
		up := map[string]bool{}
		w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), seed, simulator.Options{
			Witness: func(_ *Engine, at Instant, _ Event, out Output) {
				for _, rec := range out.Records {
					h := rec.Health
					if h == nil {
						t.Fatalf("seed %d at %v: %s", seed, at, recordText(rec))
					}
					// Where no probe could be sent for long nothing is known, which is not lower.
					if key := h.Uplink + h.Family.String(); up[key] && h.To != Unknown && h.From != Unknown {
						t.Fatalf("seed %d at %v: %s", seed, at, recordText(rec))
					} else if h.To == Up {
						up[key] = true
					}
				}
			},
		})}
		w.do("all report=0s")
		r := rand.New(rand.NewPCG(seed, 4))
		for range 60 {
			w.after(time.Duration(r.Int64N(int64(3 * time.Second))))
			w.do(fmt.Sprintf("%s %s send=%s", []string{"fiber", "lte"}[r.IntN(2)], Family(r.IntN(2)), []string{"off", "on"}[r.IntN(2)]))
		}
	}
}

// TestWorldsHeal checks that no state is permanent: after any history, when all is good
// again, every path is up and each policy uses what it prefers.
func TestWorldsHeal(t *testing.T) {
	for seed := range *worlds / 2 {
		life := simulator.RandomLife(seed+1000, 2*time.Minute, rough)
		s := life.Script()
		cfg, err := s.Engine()
		if err != nil {
			t.Fatal(err)
		}
		heal := []string{
			"configure {}", "resume", "all stalls every=0s", "all bursts every=0s",
			"all alive rtt=20ms jitter=0s loss=0 send=on hold=0s flows=off interface=on admin=on carrier=on address=on gateway=on",
		}
		for _, target := range life.Targets {
			if slices.ContainsFunc(cfg.Uplinks[0].Family[:], func(f FamilyConfig) bool { return slices.Contains(f.Targets, target) }) {
				heal = append(heal, "target "+target+" alive")
			}
		}
		for _, text := range heal {
			s.Lines = append(s.Lines, simulator.Line{At: life.Length + time.Minute, Text: text})
		}
		s.End = life.Length + 31*time.Minute // a metered uplink is probed rarely while it stands by
		var last *Engine
		simulator.MustPlay(t, s, simulator.Options{CheckEach: 1000, Lean: true, Witness: func(e *Engine, _ Instant, _ Event, _ Output) { last = e }})
		for _, u := range last.View().Uplinks {
			for _, f := range Families {
				if s := u.Family[f].State; s != Up && s != Absent {
					t.Errorf("seed %d: %s %s is %s: %s", seed, u.Name, f, s, u.Family[f].Reason)
				}
			}
		}
		if !strings.Contains(life.Config, "manual") {
			checkPreferred(t, seed, cfg, last)
		}
	}
}

func checkPreferred(t *testing.T, seed uint64, cfg Config, e *Engine) {
	t.Helper()
	byName := func(a, b Share) int { return strings.Compare(a.Uplink, b.Uplink) }
	for i, p := range e.View().Policies {
		want := slices.SortedFunc(slices.Values(cfg.Policies[i].Tiers[0]), byName)
		for _, f := range Families {
			if got := slices.SortedFunc(slices.Values(p.Family[f]), byName); cfg.Uplinks[0].Family[f].Enabled && !slices.Equal(got, want) {
				t.Errorf("seed %d: %s %s carries by %v, not by %v", seed, p.Name, f, got, want)
			}
		}
	}
}

// TestRandomAdoption begins with what an earlier run may have left, any uplinks in the
// first rungs, and reloads without one of them.
func TestRandomAdoption(t *testing.T) {
	for seed := range *worlds {
		r := rand.New(rand.NewPCG(seed, 5))
		cfg := DefaultConfig()
		for _, line := range []string{"uplinks fiber cable lte", "policy default fiber*3+cable lte", "policy guests lte fiber"} {
			if err := configure(&cfg, strings.Fields(line)); err != nil {
				t.Fatal(err)
			}
		}
		a := Adopt{Carrying: map[string][2][]string{}}
		for _, p := range cfg.Policies {
			var both [2][]string
			for _, f := range Families {
				for _, u := range cfg.Uplinks {
					if r.IntN(2) == 0 {
						both[f] = append(both[f], u.Name)
					}
				}
			}
			a.Carrying[p.Name] = both
		}
		w := newWorld(t, cfg, seed)
		w.do("all report=0s")
		w.step(a)
		for _, u := range cfg.Uplinks {
			if r.IntN(2) == 0 {
				w.do(u.Name + " carrier=off")
			}
			if r.IntN(2) == 0 {
				w.do(u.Name + " dead")
			}
			w.step(LinkChanged{Uplink: u.Name, Link: w.Link(u.Name)})
		}
		w.after(time.Duration(r.Int64N(int64(time.Minute))))
		gone := cfg.Uplinks[r.IntN(len(cfg.Uplinks))].Name
		w.step(Configure{Config: withoutUplink(cfg, gone)})
		w.after(time.Duration(r.Int64N(int64(time.Minute))))
		w.step(Configure{Config: cfg})
		w.step(LinkChanged{Uplink: gone, Link: w.Link(gone)})
		w.do("all alive carrier=on")
		w.after(time.Minute)
	}
}

// withoutUplink is a configuration without an uplink, in the policies too.
func withoutUplink(c Config, name string) Config {
	c.Uplinks = slices.DeleteFunc(slices.Clone(c.Uplinks), func(u Uplink) bool { return u.Name == name })
	c.Policies = slices.Clone(c.Policies)
	for i := range c.Policies {
		var tiers [][]Share
		for _, tier := range c.Policies[i].Tiers {
			if left := slices.DeleteFunc(slices.Clone(tier), func(s Share) bool { return s.Uplink == name }); len(left) > 0 {
				tiers = append(tiers, left)
			}
		}
		c.Policies[i].Tiers = tiers
	}
	return c
}
