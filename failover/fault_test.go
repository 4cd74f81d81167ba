package failover_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// faulty plays an engine for a time: the probes of lte are answered after 10 ms. Those of
// fiber come, from at on, to what outcome returns for them, and are answered before.
// It returns the records, and the view of each millisecond that is asked for.
func faulty(t *testing.T, at, end time.Duration, outcome func(now Instant, id ProbeID) Event, views ...time.Duration) (records []Record, seen []View) {
	t.Helper()
	e := New(DefaultConfig())
	due := map[Instant][]Event{}
	take := func(now Instant, out Output) {
		records = append(records, out.Records...)
		for _, p := range out.Probes {
			due[now] = append(due[now], ProbeSent{ID: p.ID})
			var then Event = ProbeAnswered{ID: p.ID, RTT: 10 * time.Millisecond}
			if p.Uplink == "fiber" && now >= at {
				then = outcome(now, p.ID)
			}
			due[now+10*time.Millisecond] = append(due[now+10*time.Millisecond], then)
		}
	}
	for i, name := range []string{"fiber", "lte"} {
		take(0, e.Step(0, LinkChanged{Uplink: name, Link: simulator.PlainLink(name, i)}))
	}
	for now := Instant(0); now < end; now += time.Millisecond {
		take(now, e.Step(now, Tick{}))
		for len(due[now]) > 0 {
			ev := due[now][0]
			due[now] = due[now][1:]
			if ev != nil {
				take(now, e.Step(now, ev))
			}
		}
		delete(due, now)
		if len(views) > 0 && now >= views[0] {
			views = views[1:]
			seen = append(seen, e.View())
		}
	}
	if err := e.Check(); err != nil {
		t.Error(err)
	}
	return records, seen
}

// Faults decide nothing: with them and without, all is the same but for the words.
func TestFaultsDecideNothing(t *testing.T) {
	const cause = "captive portal at login.example"
	with, _ := faulty(t, 20*time.Second, 30*time.Second, func(_ Instant, id ProbeID) Event {
		return ProbeFailed{ID: id, Fault: Fault{Cause: cause, Portal: true}}
	})
	without, _ := faulty(t, 20*time.Second, 30*time.Second, func(Instant, ProbeID) Event { return nil })
	told := 0
	for _, r := range with {
		if h := r.Health; h != nil && strings.HasSuffix(h.Reason, ": "+cause) {
			h.Reason = strings.TrimSuffix(h.Reason, ": "+cause)
			told++
		}
		if s := r.Switch; s != nil {
			s.Reason = strings.TrimSuffix(s.Reason, ": "+cause)
		}
	}
	if told != 4 { // shunned and down, in both families
		t.Errorf("the portal is told in %d records", told)
	}
	if !reflect.DeepEqual(with, without) || len(with) < 4 {
		t.Errorf("with faults %d records, without %d, or they differ", len(with), len(without))
	}
}

// A fault stands until an answer, or until a probe is lost without one.
func TestFaultsEnd(t *testing.T) {
	fault := func(v View) Fault { return v.Uplinks[0].Family[IPv4].Targets[0].Fault }
	want := Fault{Cause: "status 404"}
	_, seen := faulty(t, 5*time.Second, 14*time.Second, func(now Instant, id ProbeID) Event {
		switch {
		case now < 7*time.Second:
			return ProbeFailed{ID: id, Fault: want}
		case now < 10*time.Second:
			return nil
		case now < 12*time.Second:
			return ProbeFailed{ID: id, Fault: want}
		}
		return ProbeAnswered{ID: id, RTT: 10 * time.Millisecond}
	}, 4*time.Second, 6900*time.Millisecond, 9900*time.Millisecond, 11900*time.Millisecond, 13900*time.Millisecond)
	for i, w := range []Fault{{}, want, {}, want, {}} {
		if got := fault(seen[i]); got != w {
			t.Errorf("view %d: %+v, want %+v", i, got, w)
		}
	}
}

// A fault of a probe that is unknown, or not reported as sent, is ignored.
func TestFaultsOfUnknownProbes(t *testing.T) {
	e := New(DefaultConfig())
	out := e.Step(0, LinkChanged{Uplink: "fiber", Link: simulator.PlainLink("fiber", 0)})
	out = e.Step(time.Millisecond, LinkChanged{Uplink: "lte", Link: simulator.PlainLink("lte", 1)})
	for _, id := range []ProbeID{0, 1, 2, 99_999} {
		e.Step(2*time.Millisecond, ProbeFailed{ID: id, Fault: Fault{Cause: "x"}})
	}
	if len(out.Probes) == 0 || e.View().Uplinks[0].Family[IPv4].Targets[0].Fault != (Fault{}) {
		t.Errorf("%d probes, view %+v", len(out.Probes), e.View().Uplinks[0].Family[IPv4].Targets)
	}
}
