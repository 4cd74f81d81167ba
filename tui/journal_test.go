package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// eventsOf returns the events from number from to number to, of the run of a daemon that
// started at start.
func eventsOf(start time.Time, from, to uint64) (out []control.Event) {
	for seq := from; seq <= to; seq++ {
		out = append(out, control.Event{Time: control.At(start.Add(time.Duration(seq) * time.Second)), Seq: seq,
			Detail: control.DaemonDetail{Reason: fmt.Sprintf("%s-%d", start.Format("15h"), seq)}})
	}
	return out
}

// reasonOf is the reason of an event of eventsOf.
func reasonOf(e entry) string { return e.Detail.(control.DaemonDetail).Reason }

func TestJournal(t *testing.T) {
	first, second := noon, noon.Add(time.Hour)
	unnumbered := control.Event{Time: control.At(noon), Detail: control.DaemonDetail{Missed: 3}}
	for _, c := range []struct {
		name    string
		batches [][]control.Event
		want    int
		last    string
	}{
		{"in order", [][]control.Event{eventsOf(first, 1, 3), eventsOf(first, 4, 5)}, 5, "12h-5"},
		{"the stream was cut and repeats all", [][]control.Event{eventsOf(first, 1, 5), eventsOf(first, 1, 7)}, 7, "12h-7"},
		{"what the daemon no longer has stays", [][]control.Event{eventsOf(first, 1, 5), eventsOf(first, 4, 7)}, 7, "12h-7"},
		{"a new run", [][]control.Event{eventsOf(first, 1, 5), eventsOf(second, 1, 2)}, 7, "13h-2"},
		{"a new run with more", [][]control.Event{eventsOf(first, 1, 2), eventsOf(second, 1, 9)}, 11, "13h-9"},
		{"a new run, repeated", [][]control.Event{eventsOf(first, 1, 5), eventsOf(second, 1, 2), eventsOf(second, 1, 3)}, 8, "13h-3"},
		{"a new run on a clock set back", [][]control.Event{eventsOf(second, 1, 5), eventsOf(first, 1, 5)}, 10, "12h-5"},
		{"a gap", [][]control.Event{eventsOf(first, 1, 2), {unnumbered}, eventsOf(first, 6, 7)}, 5, "12h-7"},
		{"more than is kept", [][]control.Event{eventsOf(first, 1, 4000), eventsOf(first, 1, 4001)}, maxEvents, "12h-4001"},
		{"a long run and a new one", [][]control.Event{eventsOf(first, 5000, 9000), eventsOf(second, 1, 4000)}, maxEvents, "13h-4000"},
		{"more than the daemon keeps", [][]control.Event{eventsOf(first, 1, 9000), eventsOf(first, 4905, 9001)}, maxEvents, "12h-9001"},
	} {
		var j journal
		for _, b := range c.batches {
			j.add(b)
		}
		if last := reasonOf(j.entries[len(j.entries)-1]); len(j.entries) != c.want || last != c.last {
			t.Errorf("%s: %d events up to %s, want %d up to %s", c.name, len(j.entries), last, c.want, c.last)
		}
		if len(j.seen) > control.MaxEvents {
			t.Errorf("%s: %d numbers are kept", c.name, len(j.seen))
		}
	}
}

// The doubts of a bad line do not displace other events.
func TestDoubtsLeaveRoom(t *testing.T) {
	var j journal
	j.add(eventsOf(noon, 1, 400))
	for i := range 3 * maxEvents {
		states := [2]control.State{control.Up, control.Suspect}
		j.add([]control.Event{health(0, 0, "fiber", "ipv4", states[i%2], states[1-i%2], "", nil)})
	}
	if n := len(worthwhile(j.entries)); n != 400 || len(j.entries) != maxEvents {
		t.Errorf("%d of %d events are no doubts, want 400 of %d", n, len(j.entries), maxEvents)
	}
	j.add(eventsOf(noon, 401, 2000))
	if kept := worthwhile(j.entries); len(j.entries) != maxEvents || len(kept) != maxEvents || reasonOf(kept[maxEvents-1]) != "12h-2000" {
		t.Errorf("%d events, of them %d no doubts; want the newest %d", len(j.entries), len(kept), maxEvents)
	}
}

// A doubt is a suspicion that ended in the state before it.
func TestDoubts(t *testing.T) {
	const up, suspect, degraded, shunned = control.Up, control.Suspect, control.Degraded, control.Shunned
	for _, c := range []struct {
		states []control.State // of one uplink, in turn
		shown  string          // the changes that are shown
	}{
		{[]control.State{up, suspect, up, suspect, up}, ""},
		{[]control.State{degraded, suspect, degraded}, ""},
		{[]control.State{up, suspect, degraded, suspect, degraded}, "suspect-degraded "},
		{[]control.State{degraded, suspect, up}, "suspect-up "},
		{[]control.State{up, suspect, shunned, up}, "suspect-shunned shunned-up "},
		{[]control.State{shunned, suspect, up}, "shunned-suspect suspect-up "},
		{[]control.State{suspect, up}, "suspect-up "}, // the state before it is not known
		{[]control.State{up, control.Down, control.Recovering, suspect, control.Recovering, up}, "up-down down-recovering recovering-up "},
	} {
		var j journal
		for i := range c.states[1:] {
			j.add([]control.Event{
				health(0, 0, "fiber", "ipv4", c.states[i], c.states[i+1], "", nil),
				health(0, 0, "fiber", "ipv6", up, suspect, "", nil), // of another family
			})
		}
		shown := ""
		for _, e := range worthwhile(j.entries) {
			d := e.Detail.(control.HealthDetail)
			shown += fmt.Sprintf("%s-%s ", d.From, d.To)
		}
		if shown != c.shown {
			t.Errorf("%v: shown %q, want %q", c.states, shown, c.shown)
		}
	}
	var j journal
	for i := range 10 * maxTracks {
		j.add([]control.Event{health(0, 0, fmt.Sprint(i), "ipv4", up, suspect, "", nil)})
	}
	if len(j.before) > maxTracks {
		t.Errorf("%d suspects are kept", len(j.before))
	}
}

// Every type of event is described in words.
func TestEventPhrases(t *testing.T) {
	p := pictureOf(looks(), allUp(), sizes[0])
	change := lastSwitch(0, "ipv4", "no carrier", nil, []string{"lte", "sat"})
	for _, c := range []struct {
		e    control.Event
		want string
	}{
		{health(1, 0, "fiber", "ipv4", control.Up, control.Down, "no carrier", new(1.5)), "fiber IPv4 up → down: no carrier (decided after 1.5 ms)"},
		{health(1, 0, "fiber", "ipv4", control.Down, control.Recovering, "", nil), "fiber IPv4 down → recovering"},
		{control.SwitchEvent(*change), "default IPv4 failover nothing → lte+sat: no carrier (decided after 0.0 ms, done in 0.9 ms)"},
		{detail(1, 0, control.OperatorDetail{Uplink: "lte", Action: "drained", Reason: "asked by root", Until: before(-time.Hour)}),
			"lte drained: asked by root (until 14:00:00)"},
		{detail(1, 0, control.ConfigDetail{Action: "refused", Reason: "2 problems", Problems: []string{"a:1: x", "a:2: y"}}),
			"refused: a:1: x; the rest by swerve check; 2 problems"},
		{detail(1, 0, control.ConfigDetail{Action: "reloaded", Generation: 2}), "reloaded (generation 2)"},
		{detail(1, 0, control.SessionsDetail{Uplink: "lte", Action: "moved", Moved: new(int64(12)), Reason: "r", TookMS: new(3.0)}),
			"lte moved 12: r (done in 3.0 ms)"},
		{detail(1, 0, control.OtherDetail{Type: "novelty"}), "novelty"},
	} {
		if got := p.eventPhrase(c.e); strings.Join(strings.Fields(got), " ") != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
