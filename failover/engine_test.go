package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

var ms = time.Millisecond

// newWorld makes a world around an engine in which no link is reported yet.
func newWorld(t testing.TB, cfg Config, seed uint64) *world {
	return &world{simulator.NewWorld(cfg, seed, simulator.Options{}), t}
}

// world is the simulator's, with helpers for tests of single steps.
type world struct {
	*simulator.World
	t testing.TB
}

// do applies script lines now.
func (w *world) do(lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		if err := w.Do(line); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until lets time pass.
func (w *world) until(at Instant) {
	w.t.Helper()
	if err := w.Run(at); err != nil {
		w.t.Fatalf("at %v: %v", w.Now(), err)
	}
}

func (w *world) after(d time.Duration) { w.t.Helper(); w.until(w.Now() + d) }

// step hands an event to the engine.
func (w *world) step(ev Event) Output {
	w.t.Helper()
	out, err := w.Step(ev)
	if err != nil {
		w.t.Fatalf("at %v: %T: %v", w.Now(), ev, err)
	}
	return out
}

// inside returns the engine's internal state of a path.
func (w *world) inside(uplink string) Inside { return InsideOf(w.Engine, uplink, IPv4) }

// started is a world whose links were reported at 0, a minute later.
func started(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, DefaultConfig(), 1)
	for _, name := range []string{"fiber", "lte"} {
		w.step(LinkChanged{Uplink: name, Link: w.Link(name)})
	}
	w.until(time.Minute)
	return w
}

// untilShunned lets time pass until fiber is shunned for IPv4.
func (w *world) untilShunned() {
	w.t.Helper()
	for w.inside("fiber").State != Shunned {
		w.until(w.Pending())
	}
}

// A target that answers for the first time is probed again at once, until its
// deadline has settled.
func TestTargetsAreKnownSoon(t *testing.T) {
	w := newWorld(t, DefaultConfig(), 1)
	w.step(LinkChanged{Uplink: "fiber", Link: w.Link("fiber")})
	w.until(300 * ms)
	for _, f := range Families {
		for i, d := range InsideOf(w.Engine, "fiber", f).Deadlines {
			if d != LeastDeadline {
				t.Errorf("%s, target %d: the deadline is %v, want %v", f, i, d, LeastDeadline)
			}
		}
	}
}

// TestForeignAnswers steps answers that no probe requested.
func TestForeignAnswers(t *testing.T) {
	e := New(DefaultConfig())
	out := e.Step(0, LinkChanged{Uplink: "fiber", Link: simulator.PlainLink("fiber", 0)})
	if len(out.Probes) != 6 {
		t.Fatalf("%d probes at the start, want one for each target", len(out.Probes))
	}
	id := out.Probes[0].ID
	e.Step(1, ProbeSent{ID: id})
	e.Step(2, ProbeAnswered{ID: 999, RTT: 1})
	e.Step(3, ProbeAnswered{ID: id, RTT: 0})
	if s := e.View().Uplinks[0].Family[IPv4].State; s != Unknown {
		t.Errorf("%s by foreign answers", s)
	}
	e.Step(4, ProbeAnswered{ID: id, RTT: 4})
	v := e.View().Uplinks[0].Family[IPv4]
	if v.State != Up || v.Targets[0].Answering == nil || !*v.Targets[0].Answering || v.Targets[1].Answering != nil {
		t.Errorf("after one answer: %s, %+v", v.State, v.Targets)
	}
	before := InsideOf(e, "fiber", IPv4).Samples
	e.Step(5, ProbeAnswered{ID: id, RTT: 5})
	if after := InsideOf(e, "fiber", IPv4).Samples; after != before {
		t.Errorf("a duplicate counts: %d samples, %d before", after, before)
	}
}

// TestViewIsACopy changes what View returned, and calls it again.
func TestViewIsACopy(t *testing.T) {
	w := started(t)
	v := w.Engine.View()
	v.Policies[0].Family[IPv4][0].Uplink = "x"
	v.Uplinks[0].Link.Family[IPv4].Addresses[0] = v.Uplinks[0].Link.Family[IPv6].Addresses[0]
	v.Uplinks[0].Family[IPv4].Targets[0].Target = "x"
	*v.Uplinks[0].Family[IPv4].Loss = 7
	if err := w.Engine.Check(); err != nil {
		t.Error(err)
	}
	again := w.Engine.View()
	if again.Policies[0].Family[IPv4][0].Uplink != "fiber" || *again.Uplinks[0].Family[IPv4].Loss != 0 ||
		again.Uplinks[0].Family[IPv4].Targets[0].Target != "1.1.1.1" || !again.Uplinks[0].Link.Equal(simulator.PlainLink("fiber", 0)) {
		t.Error("the view shares memory with the engine")
	}
}

// TestLateAnswerIsNoLoss: an answer after lost_after is a sign of life, and the probe
// was not lost but slow. Until it comes it counts as lost.
func TestLateAnswerIsNoLoss(t *testing.T) {
	w := started(t)
	before := w.inside("fiber").Lost
	w.do("fiber ipv4 rtt=1500ms")
	most := 0
	for range 60 {
		w.after(100 * time.Millisecond)
		p := w.inside("fiber")
		most = max(most, p.Lost-before)
	}
	if most == 0 || most > 3 { // those of half a second
		t.Errorf("up to %d counted as lost, want those between one second and a half", most)
	}
	w.do("fiber ipv4 rtt=20ms")
	w.after(10 * time.Second)
	p := w.inside("fiber")
	if p.Lost != before || p.Answered < w.Now()-time.Second {
		t.Errorf("%d lost, %d before; last answer at %v", p.Lost, before, p.Answered)
	}
	v := w.Engine.View().Uplinks[0].Family[IPv4]
	if v.RTT == nil || *v.RTT < 100*time.Millisecond {
		t.Errorf("the mean RTT is %v, want it to have the late ones", v.RTT)
	}
}

// TestMovedLinkVoidsOpenProbes: a new gateway is probed at once, and answers to probes by
// the old one are ignored.
func TestMovedLinkVoidsOpenProbes(t *testing.T) {
	w := started(t)
	w.do("fiber ipv4 rtt=39ms")
	w.until(61*time.Second + 10*ms) // a probe left at 61 s
	l := w.Link("fiber")
	l.Family[IPv4].Gateway = l.Family[IPv4].Gateway.Next()
	if out := w.step(LinkChanged{Uplink: "fiber", Link: l}); len(out.Probes) != 3 {
		t.Errorf("%d probes by the new gateway, want one to each target: %+v", len(out.Probes), out.Probes)
	}
	before := w.inside("fiber").Answered
	if w.after(35 * ms); w.inside("fiber").Answered != before {
		t.Error("an answer from before the change counts")
	}
	if w.after(10 * ms); w.inside("fiber").Answered == before {
		t.Error("no answer by the new gateway")
	}
}

// TestConfigureKeepsTargets: a target that stays keeps its measurements.
func TestConfigureKeepsTargets(t *testing.T) {
	w := started(t)
	c := DefaultConfig()
	c.Uplinks[0].Family[IPv4].Targets = []string{"192.0.2.9", "8.8.8.8"}
	w.step(Configure{Config: c})
	if p := w.inside("fiber"); p.State != Up || p.Known[0] || !p.Known[1] || p.Samples != 0 {
		t.Errorf("after a reload: %+v", p)
	}
	w.after(30 * time.Second)
	if p := w.inside("fiber"); w.Stats().Switches != [3]int{} || p.State != Up || !p.Known[0] {
		t.Errorf("later: %+v, %v switches", p, w.Stats().Switches)
	}
}

// TestSetAsideLeavesTheWindow: the losses of a faulty target before it was detected are
// removed.
func TestSetAsideLeavesTheWindow(t *testing.T) {
	w := started(t)
	all := w.inside("fiber").Samples
	SetAside(w.Engine, IPv4, "8.8.8.8")
	if p := w.inside("fiber"); p.Samples != all*2/3 || p.OfTarget[1] != 0 || p.Quorum != 1 || p.Active != 2 {
		t.Errorf("%d of %d samples left, %d targets", p.Samples, all, p.Active)
	}
}

// TestInstantsAreHeldInRange steps instants that go back or are out of range.
func TestInstantsAreHeldInRange(t *testing.T) {
	w := started(t)
	e, last := w.Engine, w.Now()
	for _, at := range []Instant{w.Now() - time.Second, -1, Never, Forever, 1<<63 - 1, w.Now()} {
		if out, now := e.Step(at, Tick{}), NowOf(e); out.Wake <= now || now < last || now > LastInstant {
			t.Errorf("a step at %d: now %d, wake %d", at, now, out.Wake)
		}
		if err := e.Check(); err != nil {
			t.Errorf("a step at %d: %v", at, err)
		}
	}
}

// TestPauseBeforeDown: the machine pauses when a shunned path is about to be down, and
// the answer waits in a queue that is read after the first tick.
func TestPauseBeforeDown(t *testing.T) {
	w := started(t)
	w.do("fiber ipv4 dead")
	w.untilShunned()
	downAt := w.inside("fiber").DownAt
	w.until(downAt - 1)
	p := w.inside("fiber")
	if p.State != Shunned || w.Pending() != downAt {
		t.Fatalf("%s, wake %v, down at %v", p.State, w.Pending(), downAt)
	}
	id := p.Open[len(p.Open)-1]
	w.Engine.Step(downAt+200*ms, Tick{})
	if s := w.inside("fiber").State; s != Shunned {
		t.Fatalf("%s by a pause", s)
	}
	w.Engine.Step(downAt+210*ms, ProbeAnswered{ID: id, RTT: 210 * ms})
	if s := w.inside("fiber").State; s != Up {
		t.Errorf("%s after the answer", s)
	}
}

// TestUnsentLookEnds: a burst on a candidate that cannot be sent ends, and does not
// prevent the next one.
func TestUnsentLookEnds(t *testing.T) {
	w := started(t)
	w.do("lte ipv4 send=off")
	Look(w.Engine, "lte", IPv4)
	w.step(Tick{})
	w.after(300 * ms)
	if p := w.inside("lte"); p.Looking || p.State != Up {
		t.Errorf("the burst is open: %v, the path %s", p.Looking, p.State)
	}
}

// TestFastProbesTakeTurns: a shunned path probes all its targets, one every 50 ms.
func TestFastProbesTakeTurns(t *testing.T) {
	w := started(t)
	asked := map[string]int{}
	w.World = simulator.NewWorld(DefaultConfig(), 1, simulator.Options{
		Witness: func(_ *Engine, _ Instant, _ Event, out Output) {
			for _, p := range out.Probes {
				if p.Uplink == "fiber" && p.Family == IPv4 {
					asked[p.Target]++
				}
			}
		},
	})
	w.do("all report=0s")
	w.until(time.Minute)
	w.do("fiber ipv4 dead")
	w.untilShunned()
	clear(asked)
	w.after(300 * ms)
	for _, name := range DefaultConfig().Uplinks[0].Family[IPv4].Targets {
		if c := asked[name]; c < 5 || c > 8 {
			t.Errorf("%s was probed %d times in 300ms: %v", name, c, asked)
		}
	}
}
