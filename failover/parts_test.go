package failover

import (
	"strings"
	"testing"
	"time"
)

// TestEstimate follows RFC 6298: the first sample, then the smoothing, then the
// bounds.
func TestEstimate(t *testing.T) {
	var r estimate
	r.add(100 * time.Millisecond)
	if r.srtt != 100*time.Millisecond || r.rttvar != 50*time.Millisecond {
		t.Errorf("first sample: %+v", r)
	}
	r.add(180 * time.Millisecond)
	if r.srtt != 110*time.Millisecond || r.rttvar != 57500*time.Microsecond {
		t.Errorf("second sample: %+v", r)
	}
	if d := r.deadline(time.Second); d != 340*time.Millisecond {
		t.Errorf("deadline %v, want 340ms", d)
	}
	if d := r.deadline(200 * time.Millisecond); d != 200*time.Millisecond {
		t.Errorf("deadline %v is over lost_after", d)
	}
	steady := estimate{srtt: 5 * time.Millisecond, samples: 1}
	if d := steady.deadline(time.Second); d != leastDeadline {
		t.Errorf("deadline %v, want the least", d)
	}
	steady.srtt = 60 * time.Millisecond
	if d := steady.deadline(time.Second); d != 70*time.Millisecond {
		t.Errorf("deadline %v, want 60ms and the granularity", d)
	}
}

// What the first answers waited for is not remembered, once one came sooner.
func TestFirstAnswersWait(t *testing.T) {
	ms := time.Millisecond
	for _, tc := range []struct {
		name     string
		rtts     []time.Duration
		deadline time.Duration
	}{
		{"steady", []time.Duration{20 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms}, leastDeadline},
		{"the first waited", []time.Duration{60 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms}, leastDeadline},
		{"a little less begins nothing anew", []time.Duration{20 * ms, 16 * ms}, 53500 * time.Microsecond},
		{"sooner later on", []time.Duration{60 * ms, 60 * ms, 60 * ms, 60 * ms, 60 * ms, 20 * ms}, 123476564},
	} {
		var r estimate
		for _, rtt := range tc.rtts {
			r.add(rtt)
		}
		if d := r.deadline(time.Second); d != tc.deadline {
			t.Errorf("%s: deadline %v, want %v", tc.name, d, tc.deadline)
		}
	}
}

// A target that answers for the first time is asked again at once, until its
// deadline is what it stays at.
func TestTargetsAreKnownSoon(t *testing.T) {
	n := newNetwork(testConfig(), 1)
	n.step(LinkChanged{Uplink: "fiber", Link: testLink("fiber", 1)})
	n.run(300 * time.Millisecond)
	for f := range n.eng.uplinks[0].paths {
		p := &n.eng.uplinks[0].paths[f]
		for i := range p.targets {
			if d := p.targets[i].rtt.deadline(time.Second); d != leastDeadline {
				t.Errorf("%s %s: the deadline is %v, want %v", p.family, p.targets[i].name, d, leastDeadline)
			}
		}
	}
}

func TestDamping(t *testing.T) {
	c := Damping{HalfLife: 15 * time.Minute, Suppress: 3, Reuse: 1, Max: 12}
	d := damping{heldUntil: never}
	for i := range 3 {
		d.add(0, c)
		if d.heldUntil != never {
			t.Errorf("held after %d downs at once", i+1)
		}
	}
	d.add(0, c)
	if want := Instant(30 * time.Minute); d.points != 4 || d.heldUntil != want {
		t.Errorf("four downs: %v points, held until %v, want %v", d.points, d.heldUntil, want)
	}
	d.add(15*time.Minute, c)
	if d.points != 3 || d.heldUntil.Round(time.Second) != 15*time.Minute+23*time.Minute+46*time.Second {
		t.Errorf("a fifth while held: %v points, until %v", d.points, d.heldUntil)
	}
	for range 40 {
		d.add(time.Hour, c)
	}
	if d.points != c.Max {
		t.Errorf("%v points, over the most", d.points)
	}
}

func TestPatience(t *testing.T) {
	var p patience
	p.configure(500 * time.Millisecond)
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 2 * time.Second} {
		if p.double(0); p.now != want {
			t.Errorf("patience %v, want %v", p.now, want)
		}
	}
	p.forget(forgetting - 1)
	if p.now != 2*time.Second {
		t.Errorf("forgotten too early: %v", p.now)
	}
	if p.forget(forgetting); p.now != time.Second {
		t.Errorf("after a month %v", p.now)
	}
	if p.forget(5 * forgetting); p.now != 500*time.Millisecond {
		t.Errorf("after five months %v", p.now)
	}
	p.restore(0, 1500*time.Millisecond)
	if p.configure(600 * time.Millisecond); p.now != 1500*time.Millisecond {
		t.Errorf("a new configuration takes what was learnt: %v", p.now)
	}
	p.configure(3 * time.Second)
	if p.double(0); p.now != 3*time.Second {
		t.Errorf("configured above the most: %v", p.now)
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	b.tune(0, 6, 6)
	n := 0
	for n <= 6*incident && b.take(0) {
		n++
	}
	if n != 6*incident {
		t.Errorf("%d tokens at first, want %d", n, 6*incident)
	}
	for at := Instant(0); at < 10*time.Second; at += time.Millisecond {
		if b.take(at) {
			n++
		}
	}
	if got := n - 6*incident; got < 59 || got > 61 {
		t.Errorf("%d tokens in 10s at 6 a second", got)
	}
}

// TestScheduleIsEven takes the regular sendings of one interval, at the default
// configuration.
func TestScheduleIsEven(t *testing.T) {
	e := New(testConfig())
	var times []Instant
	for _, u := range e.uplinks {
		for f := range u.paths {
			p := &u.paths[f]
			for i := range p.targets {
				first := p.slot(i, 10*time.Second)
				if next := p.slot(i, first); next-first != time.Second {
					t.Errorf("%s %s: %v between two probes", u.cfg.Name, Family(f), next-first)
				}
				times = append(times, first-10*time.Second)
			}
		}
	}
	seen := map[time.Duration]int{}
	for _, at := range times {
		seen[at.Round(time.Millisecond)%time.Second]++
	}
	for i := range 12 {
		// Twelve probes of two uplinks: one each twelfth of a second.
		slot := (time.Duration(i) * time.Second / 12).Round(time.Millisecond)
		if seen[slot] != 1 {
			t.Errorf("%d probes at %v, want 1: %v", seen[slot], slot, seen)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 182400 * time.Microsecond: "182ms", 1250 * time.Millisecond: "1.3s", 2 * time.Second: "2s",
		30 * time.Second: "30s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 125 * time.Second: "2m5s",
		2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m",
	} {
		if got := span(d); got != want {
			t.Errorf("%v reads %s, want %s", d, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0%", 0.2: "20%", 0.3449: "34%", 0.042: "4.2%", 1: "100%"} {
		if got := percent(v); got != want {
			t.Errorf("%v reads %s, want %s", v, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 of 3 targets answer", 1: "1 of 3 targets answers", 3: "3 of 3 targets answer"} {
		if got := answers(n, 3); got != want {
			t.Errorf("%d reads %s", n, got)
		}
	}
	if got := answers(0, 1); got != "0 of 1 target answer" {
		t.Error(got)
	}
}

// TestForeignAnswers hands in what no probe asked for.
func TestForeignAnswers(t *testing.T) {
	n := newNetwork(testConfig(), 1)
	out := n.step(LinkChanged{Uplink: "fiber", Link: testLink("fiber", 1)})
	if len(out.Probes) != 6 {
		t.Fatalf("%d probes at the start, want one for each target", len(out.Probes))
	}
	id := out.Probes[0].ID
	n.eng.Step(1, ProbeSent{ID: id})
	n.eng.Step(2, ProbeAnswered{ID: 999, RTT: 1})
	n.eng.Step(3, ProbeAnswered{ID: id, RTT: 0})
	if s := n.eng.View().Uplinks[0].Family[IPv4].State; s != Unknown {
		t.Errorf("%s by foreign answers", s)
	}
	n.eng.Step(4, ProbeAnswered{ID: id, RTT: 4})
	v := n.eng.View().Uplinks[0].Family[IPv4]
	if v.State != Up || v.Targets[0].Answering == nil || !*v.Targets[0].Answering || v.Targets[1].Answering != nil {
		t.Errorf("after one answer: %s, %+v", v.State, v.Targets)
	}
	before := n.eng.uplinks[0].paths[IPv4].window.n
	n.eng.Step(5, ProbeAnswered{ID: id, RTT: 5})
	if after := n.eng.uplinks[0].paths[IPv4].window.n; after != before {
		t.Errorf("a duplicate counts: %d samples, %d before", after, before)
	}
}

// TestViewIsACopy changes what View returned and looks again.
func TestViewIsACopy(t *testing.T) {
	n := newNetwork(testConfig(), 1)
	for _, name := range []string{"fiber", "lte"} {
		n.step(LinkChanged{Uplink: name, Link: testLink(name, 1)})
	}
	n.run(time.Minute)
	v := n.eng.View()
	v.Policies[0].Family[IPv4][0].Uplink = "x"
	v.Uplinks[0].Link.Family[IPv4].Addresses[0] = v.Uplinks[0].Link.Family[IPv6].Addresses[0]
	v.Uplinks[0].Family[IPv4].Targets[0].Target = "x"
	*v.Uplinks[0].Family[IPv4].Loss = 7
	if err := n.eng.Check(); err != nil {
		t.Error(err)
	}
	again := n.eng.View()
	if again.Policies[0].Family[IPv4][0].Uplink != "fiber" || *again.Uplinks[0].Family[IPv4].Loss != 0 ||
		again.Uplinks[0].Family[IPv4].Targets[0].Target != "1.1.1.1" || !again.Uplinks[0].Link.Equal(testLink("fiber", 1)) {
		t.Error("the view shares memory with the engine")
	}
}

// started is a network whose links came at 0, a minute later.
func started(t *testing.T) *network {
	t.Helper()
	n := newNetwork(testConfig(), 1)
	for _, name := range []string{"fiber", "lte"} {
		n.step(LinkChanged{Uplink: name, Link: testLink(name, 1)})
	}
	n.run(time.Minute)
	return n
}

// TestLateAnswerStaysLost: an answer after lost_after is a sign of life, and no
// sample.
func TestLateAnswerStaysLost(t *testing.T) {
	n := started(t)
	p := &n.eng.uplinks[0].paths[IPv4]
	n.wire[wireKey{"fiber", IPv4, ""}].rtt = 1500 * time.Millisecond
	n.run(n.now + 2*time.Second)
	lost, answered := p.window.total.lost, p.window.total.n-p.window.total.lost
	if lost == 0 || p.answered < n.now-time.Second/2 {
		t.Fatalf("%d lost, last answer at %v", lost, p.answered)
	}
	n.run(n.now + 3*time.Second)
	if a := p.window.total.n - p.window.total.lost; a > answered {
		t.Errorf("%d samples answered, %d before", a, answered)
	}
}

// TestMovedLinkVoidsTheAir: a new gateway is probed at once, and answers to
// what went by the old one are not taken.
func TestMovedLinkVoidsTheAir(t *testing.T) {
	n := started(t)
	n.wire[wireKey{"fiber", IPv4, ""}].rtt = 39 * time.Millisecond
	n.run(61*time.Second + 10*time.Millisecond) // a probe left at 61 s
	l := testLink("fiber", 1)
	l.Family[IPv4].Gateway = l.Family[IPv4].Gateway.Next()
	out := n.step(LinkChanged{Uplink: "fiber", Link: l})
	if len(out.Probes) != 3 {
		t.Errorf("%d probes by the new gateway, want one to each target: %+v", len(out.Probes), out.Probes)
	}
	p := &n.eng.uplinks[0].paths[IPv4]
	before := p.answered
	if n.run(n.now + 35*time.Millisecond); p.answered != before {
		t.Error("an answer from before the change counts")
	}
	if n.run(n.now + 10*time.Millisecond); p.answered == before {
		t.Error("no answer by the new gateway")
	}
}

// TestConfigureKeepsTargets: a target that stays keeps what is known of it.
func TestConfigureKeepsTargets(t *testing.T) {
	n := started(t)
	c := testConfig()
	c.Uplinks[0].Family[IPv4].Targets = []string{"192.0.2.9", "8.8.8.8"}
	n.step(Configure{Config: c})
	p := &n.eng.uplinks[0].paths[IPv4]
	if p.state != Up || p.targets[0].rtt.known() || !p.targets[1].rtt.known() || p.window.n != 0 {
		t.Errorf("after a reload: %s, %+v, %d samples", p.state, p.targets, p.window.n)
	}
	n.run(n.now + 30*time.Second)
	if n.eng.switches != 0 || p.state != Up || !p.targets[0].rtt.known() {
		t.Errorf("later: %s, %d switches", p.state, n.eng.switches)
	}
}

// TestSetAsideLeavesTheWindow: what a faulty target lost before it was found
// out is taken back.
func TestSetAsideLeavesTheWindow(t *testing.T) {
	n := started(t)
	p := &n.eng.uplinks[0].paths[IPv4]
	all := p.window.n
	n.eng.setAside(IPv4, "8.8.8.8", true)
	if p.window.n != all*2/3 || p.window.target[1].n != 0 || p.quorum() != 1 || p.active() != 2 {
		t.Errorf("%d of %d samples left, %d targets", p.window.n, all, p.active())
	}
}

// TestTheLastTargetStays: where the uplinks have different targets, or one was added
// later, all of a path's targets may be found at fault. One of them stays.
func TestTheLastTargetStays(t *testing.T) {
	c := testConfig()
	c.Uplinks[1].Family[IPv4].Targets = []string{"8.8.8.8", "9.9.9.9"}
	e := New(c)
	for _, name := range []string{"8.8.8.8", "9.9.9.9"} {
		e.setAside(IPv4, name, true)
	}
	for i, want := range []int{1, 1} {
		if n := e.uplinks[i].paths[IPv4].active(); n != want {
			t.Errorf("%s has %d targets left, want %d", c.Uplinks[i].Name, n, want)
		}
	}
	if err := e.Check(); err != nil && strings.Contains(err.Error(), "aside") {
		t.Error(err)
	}
}

// TestQuorumIsOfOneTime: answers long apart do not add up to a quorum.
func TestQuorumIsOfOneTime(t *testing.T) {
	p := &path{cfg: FamilyConfig{Quorum: 2}, targets: []target{
		{answeredAt: 7}, {answeredAt: 9}, {answeredAt: 3},
	}}
	if !p.answeredSince(5) || p.answeredSince(8) {
		t.Error("two answered after step 5, one after step 8")
	}
	p.targets[0].misses = 1
	if p.answeredSince(5) {
		t.Error("one of the two has failed since")
	}
}

// TestInstantsAreHeldInRange hands in instants that go back or beyond all use.
func TestInstantsAreHeldInRange(t *testing.T) {
	n := started(t)
	for _, at := range []Instant{n.now - time.Second, -1, never, forever, 1<<63 - 1, n.now} {
		if out := n.eng.Step(at, Tick{}); out.Wake <= n.eng.now || n.eng.now < n.now || n.eng.now > lastInstant {
			t.Errorf("a step at %d: now %d, wake %d", at, n.eng.now, out.Wake)
		}
		if err := n.eng.Check(); err != nil {
			t.Errorf("a step at %d: %v", at, err)
		}
	}
}

// TestPauseAtTheBrink: the machine stops when a shunned path is about to be
// down, and the answer waits in a queue that is read after the first tick.
func TestPauseAtTheBrink(t *testing.T) {
	n := started(t)
	n.wire[wireKey{"fiber", IPv4, ""}].dead = true
	e := n.eng
	p := &e.uplinks[0].paths[IPv4]
	for p.state != Shunned {
		n.run(n.wake)
	}
	brink := p.downAt()
	n.run(brink - 1)
	if p.state != Shunned || n.wake != brink {
		t.Fatalf("%s, wake %v, down at %v", p.state, n.wake, brink)
	}
	id := p.open[len(p.open)-1]
	e.Step(brink+200*time.Millisecond, Tick{})
	if p.state != Shunned {
		t.Fatalf("%s by a pause", p.state)
	}
	e.Step(brink+210*time.Millisecond, ProbeAnswered{ID: id, RTT: 210 * time.Millisecond})
	if p.state != Up {
		t.Errorf("%s after the answer", p.state)
	}
}

// TestUnsentLookEnds: a burst on a candidate that cannot be sent is over, and
// does not stand in the way of the next.
func TestUnsentLookEnds(t *testing.T) {
	n := started(t)
	n.wire[wireKey{"lte", IPv4, ""}].noSend = true
	p := &n.eng.uplinks[1].paths[IPv4]
	n.eng.look(p)
	n.run(n.now + 300*time.Millisecond)
	if p.burst.open || p.state != Up {
		t.Errorf("the burst is open: %v, the path %s", p.burst.open, p.state)
	}
}

// TestFastProbesTakeTurns: a shunned path asks all its targets, each 50 ms.
func TestFastProbesTakeTurns(t *testing.T) {
	n := started(t)
	n.wire[wireKey{"fiber", IPv4, ""}].dead = true
	p := &n.eng.uplinks[0].paths[IPv4]
	for p.state != Shunned {
		n.run(n.wake)
	}
	asked := map[string]int{}
	n.each = func(_ Instant, _ Event, out Output) {
		for _, pr := range out.Probes {
			if pr.Uplink == "fiber" && pr.Family == IPv4 {
				asked[pr.Target]++
			}
		}
	}
	n.run(n.now + 300*time.Millisecond)
	for _, name := range p.cfg.Targets {
		if c := asked[name]; c < 5 || c > 8 {
			t.Errorf("%s was probed %d times in 300ms: %v", name, c, asked)
		}
	}
}
