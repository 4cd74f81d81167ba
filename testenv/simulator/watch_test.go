package simulator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"swerve/failover"
)

// settledWorld is a world in which fiber carries and all is up.
func settledWorld(t *testing.T) *World {
	t.Helper()
	w, err := Open(Script{Config: TwoUplinks, Seed: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if first := w.watch.ladders[0][failover.IPv4].first; first != 1 {
		t.Fatalf("%b carries, and not fiber alone", first)
	}
	return w
}

// recorded makes an output with records at the present instant.
func recorded(w *World, rs ...failover.Record) failover.Output {
	for i := range rs {
		rs[i].At = w.now
	}
	return failover.Output{Wake: w.now + 1, Records: rs}
}

func becomes(name string, from, to failover.State) failover.Record {
	return failover.Record{Health: &failover.HealthChange{Uplink: name, From: from, To: to}}
}

func goes(kind failover.SwitchKind, from, to string) failover.Record {
	return failover.Record{Switch: &failover.SwitchChange{
		Policy: "default", Kind: kind, From: strings.Fields(from), To: strings.Fields(to),
	}}
}

// asks makes an output with an intent that has IPv4's rungs and lost uplinks as given.
func asks(w *World, rungs, lost string) failover.Output {
	in := *w.watch.intent
	in.Generation++
	in.Policies = append([]failover.PolicyIntent{}, in.Policies...)
	var l failover.Ladder
	if lost != "" {
		l.Lost = strings.Fields(lost)
	}
	for _, name := range strings.Fields(rungs) {
		l.Rungs = append(l.Rungs, failover.Rung{Shares: []failover.Share{{Uplink: name, Weight: 1}}})
	}
	if len(l.Rungs) > 1 {
		l.Spare = l.Rungs[1].Shares[0].Uplink
	}
	in.Policies[0].Family[failover.IPv4] = l
	return failover.Output{Wake: w.now + 1, Intent: &in}
}

// breach is what a broken engine might do, with the expected complaint; empty for
// none.
type breach struct {
	what, want string
	outs       func(*World) []failover.Output
}

// check checks that the watch reports each breach.
func check(t *testing.T, breaches []breach) {
	t.Helper()
	for _, c := range breaches {
		w := settledWorld(t)
		var err error
		for _, out := range c.outs(w) {
			if err == nil {
				err = w.watch.step(&out)
			}
		}
		if rule := new(brokenRule); err != nil && !errors.As(err, rule) {
			t.Errorf("%s: %v is no broken rule", c.what, err)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: the watch says %v, want %q", c.what, err, c.want)
		}
	}
}

// TestWatchSees hands the watch the output of a broken engine, and expects complaints.
func TestWatchSees(t *testing.T) {
	up, down, shunned, suspect := failover.Up, failover.Down, failover.Shunned, failover.Suspect
	check(t, []breach{
		{"a healthy failover", "", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("fiber", up, suspect), becomes("fiber", suspect, shunned), goes(failover.Failover, "fiber", "lte"))}
		}},
		{"a wake in the past", "not later", func(w *World) []failover.Output { return []failover.Output{{Wake: w.now}} }},
		{"a leap of state", "goes from", func(w *World) []failover.Output { return []failover.Output{recorded(w, becomes("fiber", down, up))} }},
		{"to what is silent", "to lte: which is down", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("lte", up, down), becomes("fiber", up, shunned), goes(failover.Failover, "fiber", "lte"))}
		}},
		{"forced by nothing", "a failover from [fiber], which is up", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, goes(failover.Failover, "fiber", "lte"))}
		}},
		{"to what is worse", "from up to degraded by choice", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("lte", up, failover.Degraded), goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"to what is suspect", "which is suspect", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("lte", up, suspect), goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"too soon again", "after the last", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, goes(failover.Switchover, "fiber", "lte"), goes(failover.Return, "lte", "fiber"))}
		}},
		{"no default route", "no default route", func(w *World) []failover.Output { return []failover.Output{asks(w, "", "")} }},
		{"the same again", "changes nothing", func(w *World) []failover.Output { return []failover.Output{asks(w, "fiber lte", "")} }},
		{"lost while shunned", "sessions of fiber", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("fiber", up, shunned)), asks(w, "lte fiber", "fiber")}
		}},
		{"lost with nowhere to go", "sessions of fiber", func(w *World) []failover.Output {
			return []failover.Output{recorded(w, becomes("fiber", up, down), becomes("lte", up, down)), asks(w, "lte fiber", "fiber")}
		}},
	})
}

// TestWatchSeesWhatWasAsked does the same for the operator, restarts and traffic.
func TestWatchSeesWhatWasAsked(t *testing.T) {
	up, down, shunned, suspect := failover.Up, failover.Down, failover.Shunned, failover.Suspect
	check(t, []breach{
		{"back at once, as the operator asks", "", func(w *World) []failover.Output {
			w.watch.observe(failover.Operator{Verb: failover.Switch, Uplink: "lte"})
			return []failover.Output{recorded(w, goes(failover.Switchover, "fiber", "lte")), recorded(w, goes(failover.Return, "lte", "fiber"))}
		}},
		{"switched to what is degraded", "", func(w *World) []failover.Output {
			w.watch.observe(failover.Operator{Verb: failover.Switch, Uplink: "lte"})
			return []failover.Output{recorded(w, becomes("lte", up, failover.Degraded), goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"switched to what is dead", "to what is down", func(w *World) []failover.Output {
			w.watch.observe(failover.Operator{Verb: failover.Switch, Uplink: "lte"})
			return []failover.Output{recorded(w, becomes("lte", up, down), goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"to what is drained", "to what is drained", func(w *World) []failover.Output {
			w.watch.observe(failover.Operator{Verb: failover.Drain, Uplink: "lte"})
			return []failover.Output{recorded(w, goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"a drain that moves sessions", "sessions of fiber are moved, which is up", func(w *World) []failover.Output {
			w.watch.observe(failover.Operator{Verb: failover.Drain, Uplink: "fiber"})
			return []failover.Output{recorded(w, goes(failover.Switchover, "fiber", "lte")), asks(w, "lte fiber", "fiber")}
		}},
		{"a restart that moves traffic", "as the restart's doing", func(w *World) []failover.Output {
			w.watch.restart()
			w.watch.observe(failover.Adopt{Carrying: map[string][2][]string{"default": {{"fiber"}, {"fiber"}}}})
			for _, l := range w.lines {
				w.watch.observe(failover.LinkChanged{Uplink: l.name, Link: l.link})
			}
			return []failover.Output{recorded(w, becomes("lte", failover.Unknown, up), goes(failover.Switchover, "fiber", "lte"))}
		}},
		{"shunned while flows receive", "flows received", func(w *World) []failover.Output {
			out := recorded(w, becomes("fiber", up, suspect))
			if err := w.watch.step(&out); err != nil {
				return nil
			}
			w.now += leastBurst / 2
			w.watch.observe(failover.Traffic{Uplink: "fiber", Received: w.now, Unanswered: -1})
			return []failover.Output{recorded(w, becomes("fiber", suspect, shunned))}
		}},
		{"down before its patience", "flows received", func(w *World) []failover.Output {
			w.watch.observe(failover.Traffic{Uplink: "fiber", Received: w.now, Unanswered: -1})
			w.now += leastBurst
			return []failover.Output{recorded(w, becomes("fiber", up, suspect), becomes("fiber", suspect, shunned), becomes("fiber", shunned, down))}
		}},
	})
}

// TestWrongMovesAreSeen checks that leaving a fine uplink counts as wrong, and that
// leaving a dead one does not.
func TestWrongMovesAreSeen(t *testing.T) {
	for _, c := range []struct {
		fault string
		wrong int
	}{{"", 1}, {"fiber dead", 0}, {"fiber loss=0.2", 0}, {"fiber ipv6 dead", 1}, {"target 1.1.1.1 dead", 0}} {
		w := settledWorld(t)
		if c.fault != "" {
			if err := w.Do(c.fault); err != nil {
				t.Fatal(err)
			}
		}
		moves := recorded(w, becomes("fiber", failover.Up, failover.Shunned), goes(failover.Failover, "fiber", "lte"))
		if err := w.watch.step(&moves); err != nil {
			t.Fatal(err)
		}
		if w.stats.WrongMoves != c.wrong {
			t.Errorf("after %q the move counts as wrong %d times, want %d", c.fault, w.stats.WrongMoves, c.wrong)
		}
	}
}

// TestStuckCarrierIsSeen checks that an engine which stays on a dead uplink is
// detected: here it never gets another tick.
func TestStuckCarrierIsSeen(t *testing.T) {
	w := settledWorld(t)
	if err := w.Do("fiber dead"); err != nil {
		t.Fatal(err)
	}
	w.now += leaveWithin
	if err := w.review(0, failover.IPv4); err == nil || !strings.Contains(err.Error(), "still on fiber") {
		t.Errorf("the review says %v", err)
	}
}

// TestFailureReplays checks that a failure's script leads to the same failure, and
// that it is shortened.
func TestFailureReplays(t *testing.T) {
	s := roughLife(2).Script()
	o := Options{CheckEach: 1000, forbid: failover.Down}
	_, err := Play(s, o)
	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("a forbidden state gives %v", err)
	}
	_, text, _ := strings.Cut(failure.Error(), "\n")
	again, err := ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Play(again, o)
	var second *Failure
	if !errors.As(err, &second) || second.At != failure.At || second.Broken.Error() != failure.Broken.Error() {
		t.Errorf("the printed script gives %v, want %v", err, failure.Broken)
	}
	short := Shrink(failure, Playing(o), 100)
	if n, m := len(short.Script.Lines), len(failure.Script.Lines); n == 0 || n > 3 || n >= m {
		t.Errorf("the script was shortened to %d lines of %d", n, m)
	}
	t.Logf("%v", short)
}

// narrowed is a life in which a shared rung loses the plug of one member while the
// other is silent, and the answers of a third uplink are of before that silence.
const narrowed = `uplinks:
  - {name: fiber, interface: eth0, metered: false}
  - {name: cable, interface: eth1, metered: false}
  - {name: lte, interface: eth2, metered: false}
probe: {targets: [1.1.1.1, '2606:4700:4700::1111']}
policies:
  - {name: default, tiers: [{fiber: 3, cable: 1}, lte]}
----
seed 1584
430.498ms        lte hold=2.997229s
2.407148s        target 1.1.1.1 dead
4.728396s        fiber carrier=off report=184ms
20s              target 1.1.1.1 alive
40s              fiber carrier=on
2m               end
`

// TestNarrowedRung: until another uplink is proven, what is left of a shared rung
// carries, silent as it is. What is cut itself, or was not in the rung, may not.
func TestNarrowedRung(t *testing.T) {
	s, err := ParseScript(narrowed)
	if err != nil {
		t.Fatal(err)
	}
	carried := false // by cable alone, while lte answers and cable does not
	MustPlay(t, s, Options{Witness: func(e *failover.Engine, _ failover.Instant, _ failover.Event, _ failover.Output) {
		v := e.View()
		first := v.Policies[0].Family[failover.IPv4]
		carried = carried || len(first) == 1 && first[0].Uplink == "cable" &&
			!v.Uplinks[1].Family[failover.IPv4].State.Answering() && v.Uplinks[2].Family[failover.IPv4].State.Answering()
	}})
	if !carried {
		t.Error("cable alone never carried")
	}
	w, err := Open(Script{Config: s.Config, Seed: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	const fiber, cable, lte mask = 1, 2, 4
	a := &w.watch.account
	for i, state := range []failover.State{failover.Down, failover.Down, failover.Recovering} {
		a.paths[i][failover.IPv4].state = state
	}
	cut := a.reported[0]
	cut.link.Carrier = false
	a.reported[0] = cut
	for _, c := range []struct {
		from, to mask
		may      bool
	}{
		{fiber | cable, cable, true},
		{fiber | cable, lte, true},
		{fiber | cable, fiber, false},
		{fiber, cable, false},
	} {
		err := a.mayMove(move{family: failover.IPv4, from: c.from, to: c.to, at: w.now})
		if may := err == nil; may != c.may {
			t.Errorf("from %s to %s: %v, want it allowed: %t", a.list(c.from), a.list(c.to), err, c.may)
		}
	}
}

// disabledLost is a life in which a failback has left an uplink whose sessions are to move,
// and which is dead and disabled while another daemon starts.
const disabledLost = `uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: wwan0, metered: false}
sessions: {on_failback: move}
----
seed 1
1m     fiber dead
2m     fiber alive
3m     lte dead
4m     restart for=2s
4m1s   configure {"uplinks":[{"name":"fiber","interface":"eth0"},{"name":"lte","interface":"wwan0","metered":false,"enabled":false}]}
5m     end
`

// TestDisabledIsNotDrained: of an uplink that is disabled nothing is drained, so that what
// was lost by an earlier engine is down to the next one.
func TestDisabledIsNotDrained(t *testing.T) {
	s, err := ParseScript(disabledLost)
	if err != nil {
		t.Fatal(err)
	}
	if stats := MustPlay(t, s, Options{}); stats.Restarts != 1 || stats.Lost == 0 {
		t.Errorf("%d restarts, %d lost", stats.Restarts, stats.Lost)
	}
}
