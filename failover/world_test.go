package failover

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// step is one recorded call of Step.
type step struct {
	at  Instant
	ev  Event
	out Output
}

// world is a random configuration under random faults, with a watch over what
// the engine says.
type world struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	cfg    Config
	net    *network
	steps  []step
	intent *Intent
	// voluntary is the last switch by choice of each policy and family.
	voluntary map[string]Instant
	lost      map[string][]string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 2)), voluntary: map[string]Instant{},
		lost: map[string][]string{},
	}
	w.cfg = w.randomConfig()
	w.net = newNetwork(w.cfg, seed)
	w.net.each = w.watch
	return w
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

func (w *world) randomConfig() Config {
	c := testConfig()
	must := func(words ...string) {
		if err := configure(&c, words); err != nil {
			w.t.Fatal(err)
		}
	}
	names := []string{"fiber", "cable", "lte"}[:2+w.rand.IntN(2)]
	must(append([]string{"uplinks"}, names...)...)
	for _, o := range []struct {
		p     float64
		words []string
	}{
		{0.3, []string{"ipv4"}},
		{0.4, []string{"metered", "lte"}},
		{0.2, []string{"manual"}},
		{0.2, []string{"keep"}},
		{0.2, []string{"move-degraded"}},
		{0.2, []string{"targets", "1"}},
		{0.1, []string{"targets", "0"}},
		{0.3, []string{"window", "15s"}},
		{0.5, []string{"failback", "5s"}},
		{0.3, []string{"policy", "default", "fiber*3+cable lte"}},
		{0.4, []string{"policy", "guests", "lte"}},
		{0.5, []string{"block", "guests"}},
	} {
		if w.chance(o.p) {
			must(o.words...)
		}
	}
	for i := range c.Uplinks {
		// Damping lets go within the minutes that a test has.
		c.Uplinks[i].Health.Damping.HalfLife = time.Minute
	}
	if w.chance(0.2) && len(c.Uplinks[0].Family[IPv4].Targets) == 3 {
		must("quorum", "2")
	}
	return c
}

// play lets time pass, with a change every now and then.
func (w *world) play(length time.Duration) {
	for _, u := range w.cfg.Uplinks {
		if w.chance(0.9) {
			w.net.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
		}
	}
	for end := w.net.now + length; w.net.now < end; {
		w.net.run(w.net.now + time.Duration(w.rand.ExpFloat64()*float64(4*time.Second)))
		w.change()
	}
}

func (w *world) uplink() Uplink { return w.cfg.Uplinks[w.rand.IntN(len(w.cfg.Uplinks))] }

// change does one random thing to the world.
func (w *world) change() {
	u, f := w.uplink(), Family(w.rand.IntN(2))
	n := w.net
	switch w.rand.IntN(14) {
	case 0, 1, 2:
		n.wire[wireKey{u.Name, f, ""}] = &wire{rtt: 20 * time.Millisecond}
	case 3, 4:
		n.wire[wireKey{u.Name, f, ""}] = &wire{dead: true}
	case 5:
		n.wire[wireKey{u.Name, f, ""}] = &wire{rtt: 30 * time.Millisecond, jitter: 20 * time.Millisecond, loss: w.rand.Float64()}
	case 6:
		n.wire[wireKey{u.Name, f, ""}].stalled = n.now + time.Duration(w.rand.Int64N(int64(time.Second)))
	case 7:
		n.wire[wireKey{u.Name, f, ""}].noSend = w.chance(0.5)
	case 8, 9:
		n.step(LinkChanged{Uplink: u.Name, Link: w.randomLink(u.Name)})
	case 10:
		n.paused = n.now + time.Duration(w.rand.ExpFloat64()*float64(time.Second))
	case 11:
		n.step(NeighborFailed{Uplink: u.Name, Family: f})
	case 12:
		w.changeByHand(u, f)
	case 13:
		if len(u.Family[f].Targets) > 0 {
			key := wireKey{u.Name, f, u.Family[f].Targets[w.rand.IntN(len(u.Family[f].Targets))]}
			n.wire[key] = &wire{dead: w.chance(0.5)}
		}
	}
}

func (w *world) changeByHand(u Uplink, f Family) {
	n := w.net
	switch w.rand.IntN(5) {
	case 0:
		n.step(Operator{Verb: OperatorVerb(w.rand.IntN(3)), Uplink: u.Name, Until: n.now + time.Duration(w.rand.Int64N(int64(time.Minute)))})
	case 1:
		n.step(Operator{Verb: Resume})
	case 2:
		since := n.now - time.Duration(w.rand.Int64N(int64(time.Second)))
		n.step(Traffic{Uplink: u.Name, Family: f, Unanswered: since, Received: since})
	case 3:
		i := w.rand.IntN(len(w.cfg.Uplinks))
		w.cfg.Uplinks = slices.Clone(w.cfg.Uplinks)
		w.cfg.Uplinks[i].Enabled = w.chance(0.7)
		n.step(Configure{Config: w.cfg})
	case 4:
		w.cfg.Failback.Manual = !w.cfg.Failback.Manual
		n.step(Configure{Config: w.cfg})
	}
}

func (w *world) randomLink(name string) Link {
	l := testLink(name, 1)
	switch w.rand.IntN(8) {
	case 0:
		l = Link{}
	case 1:
		l.AdminUp, l.Carrier = false, false
	case 2:
		l.Carrier = false
	case 3:
		l.Family[w.rand.IntN(2)] = FamilyLink{}
	case 4:
		l.Family[IPv4].Gateway = l.Family[IPv4].Gateway.Next()
	}
	return l
}

// watch checks what must hold after every step.
func (w *world) watch(at Instant, ev Event, out Output) {
	w.steps = append(w.steps, step{at, ev, out})
	if err := w.check(at, out); err != nil {
		w.t.Fatalf("seed %d, step %d, at %v, %T: %v", w.seed, len(w.steps), at, ev, err)
	}
}

func (w *world) check(at Instant, out Output) error {
	if err := w.net.eng.Check(); err != nil {
		return err
	}
	for _, r := range out.Records {
		if r.At != at {
			return fmt.Errorf("record of %v", r.At)
		}
		if r.Switch != nil {
			if err := w.checkSwitch(at, r.Switch); err != nil {
				return err
			}
		}
	}
	return w.checkIntent(out.Intent)
}

// blind reports whether nothing is known of where a switch goes, since no probe can be
// sent there.
func (w *world) blind(s *SwitchChange) bool {
	return !slices.ContainsFunc(s.To, func(name string) bool { return !w.net.eng.uplinks.path(name, s.Family).unsent.blind })
}

// checkSwitch holds a switch against the states that led to it.
func (w *world) checkSwitch(at Instant, s *SwitchChange) error {
	e := w.net.eng
	to := rankUp
	for _, name := range s.To {
		to = max(to, rankOf(e.uplinks.path(name, s.Family)))
	}
	from, cut := rankUp, false
	for _, name := range s.From {
		p := e.uplinks.path(name, s.Family)
		from = max(from, rankOf(p))
		cut = cut || p.cut()
	}
	switch {
	case len(s.To) == 0 || len(s.From) == 0:
		return nil
	case s.Kind == Failover && !to.answers() && !cut && !w.blind(s):
		return fmt.Errorf("failover to %v of rank %d from %v of rank %d", s.To, to, s.From, from)
	case s.Kind == Failover:
		return nil
	case to > from && !e.admined():
		return fmt.Errorf("%s to %v of rank %d from %v of rank %d", s.Kind, s.To, to, s.From, from)
	}
	for _, name := range s.To {
		p := e.uplinks.path(name, s.Family)
		if s.Kind == Return && p.state != Up || p.state == Suspect || !p.provenSince(at-freshProof-p.targets.slowest(p.up.cfg.Probe.LostAfter)) {
			return fmt.Errorf("%s to %s, which is %s", s.Kind, name, p.state)
		}
	}
	key := s.Policy + s.Family.String()
	last, ok := w.voluntary[key]
	w.voluntary[key] = at
	if ok && !e.selector.operatorActed(at) && at-last < e.selector.failback.MinInterval {
		return fmt.Errorf("%s of %s only %v after the last", s.Kind, key, at-last)
	}
	return nil
}

// admined reports whether any override stands.
func (e *Engine) admined() bool {
	for _, u := range e.uplinks {
		if a, _ := e.selector.admin(u.cfg.Name); a != "auto" {
			return true
		}
	}
	return false
}

// checkIntent holds a new intent against the one before.
func (w *world) checkIntent(in *Intent) error {
	if in == nil {
		return nil
	}
	if w.intent != nil {
		if in.Generation != w.intent.Generation+1 {
			return fmt.Errorf("generation %d after %d", in.Generation, w.intent.Generation)
		}
		if reflect.DeepEqual(in.Policies, w.intent.Policies) {
			return fmt.Errorf("generation %d changes nothing", in.Generation)
		}
	}
	w.intent = in
	e := w.net.eng
	for _, p := range in.Policies {
		for _, f := range Families {
			key := p.Policy + f.String()
			for _, name := range p.Family[f].Lost {
				first := p.Family[f].Rungs
				if slices.Contains(w.lost[key], name) {
					continue
				}
				if len(first) == 0 || !e.uplinks.path(first[0].Shares[0].Uplink, f).class().Answering() {
					return fmt.Errorf("%s is lost with nowhere to go", name)
				}
			}
			w.lost[key] = p.Family[f].Lost
		}
	}
	return nil
}

var worlds = flag.Uint64("worlds", 40, "how many random worlds to play")

const worldLength = 3 * time.Minute

// TestRandomWorlds plays random faults and holds the invariants after each step.
func TestRandomWorlds(t *testing.T) {
	for seed := range *worlds {
		newWorld(t, seed).play(worldLength)
	}
}

// TestReplay holds that equal configurations and equal steps give equal
// outputs, and that ticks in between change nothing.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		first := w.cfg
		w.play(2 * time.Minute)
		replay(t, seed, first, w.steps, nil)
		replay(t, seed, first, w.steps, rand.New(rand.NewPCG(seed, 3)))
	}
}

// replay feeds recorded steps to a new engine, with idle ticks before some of
// them where a source of chance is given.
func replay(t *testing.T, seed uint64, cfg Config, steps []step, idle *rand.Rand) {
	t.Helper()
	e := New(cfg)
	now, wake := Instant(0), Instant(0)
	for i, s := range steps {
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

// TestNotSentNeverLowersHealth has good wires on which sending fails for some
// time, and fails again.
func TestNotSentNeverLowersHealth(t *testing.T) {
	for seed := range uint64(20) {
		cfg := testConfig()
		n := newNetwork(cfg, seed)
		r := rand.New(rand.NewPCG(seed, 4))
		up := map[string]bool{}
		n.each = func(at Instant, _ Event, out Output) {
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
		}
		for _, u := range cfg.Uplinks {
			n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
		}
		for range 60 {
			n.run(n.now + time.Duration(r.Int64N(int64(3*time.Second))))
			n.wire[wireKey{cfg.Uplinks[r.IntN(2)].Name, Family(r.IntN(2)), ""}].noSend = r.IntN(2) == 0
		}
	}
}

// TestWorldsHeal holds that nothing sticks: after any history, when all is good
// again, every path is up and each policy uses what it prefers.
func TestWorldsHeal(t *testing.T) {
	for seed := range *worlds / 2 {
		w := newWorld(t, seed+1000)
		w.play(2 * time.Minute)
		w.heal()
		for _, u := range w.net.eng.View().Uplinks {
			for _, f := range Families {
				if s := u.Family[f].State; s != Up && s != Absent {
					t.Errorf("seed %d: %s %s is %s: %s", w.seed, u.Name, f, s, u.Family[f].Reason)
				}
			}
		}
		if !w.cfg.Failback.Manual {
			w.checkPreferred()
		}
	}
}

// heal makes everything good and waits until damping has let go.
func (w *world) heal() {
	n := w.net
	n.paused = 0
	// The healing is long and dull: its outcome is what matters.
	n.each = func(Instant, Event, Output) {}
	for k, wire := range n.wire {
		*wire = *goodWire(k)
	}
	for i := range w.cfg.Uplinks {
		w.cfg.Uplinks[i].Enabled = true
	}
	n.step(Configure{Config: w.cfg})
	n.step(Operator{Verb: Resume})
	for _, u := range w.cfg.Uplinks {
		n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
	}
	n.run(n.now + 10*time.Minute)
}

func goodWire(wireKey) *wire { return &wire{rtt: 20 * time.Millisecond} }

func (w *world) checkPreferred() {
	for i, p := range w.net.eng.View().Policies {
		want := w.cfg.Policies[i].Tiers[0]
		for _, f := range Families {
			if w.cfg.Uplinks[0].Family[f].Enabled && !sameUplinks(p.Family[f], want) {
				w.t.Errorf("seed %d: %s %s carries by %v, not by %v", w.seed, p.Name, f, p.Family[f], want)
			}
		}
	}
}
