package control

import (
	"context"
	"strings"
	"testing"
)

func note(reason string) Event { return Event{Detail: DaemonDetail{Reason: reason}} }

// done is a context that has ended.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// newest returns all that the hub has.
func newest(h *Hub) []Line {
	var out []Line
	for b := range h.Follow(done(), 0) {
		out = append(out, b.Lines...)
	}
	return out
}

// reasonOf is the reason of an event of note.
func reasonOf(e Event) string { return e.Detail.(DaemonDetail).Reason }

func TestTextsAreBounded(t *testing.T) {
	h := NewHub()
	long := strings.Repeat("x", 1<<20)
	for _, e := range []Event{
		{Detail: HealthDetail{Reason: long}},
		{Detail: SwitchDetail{Reason: long}},
		{Detail: RepairDetail{Reason: long, Object: long}},
		{Detail: SessionsDetail{Reason: long}},
		{Detail: OperatorDetail{Reason: long}},
		{Detail: ConfigDetail{Reason: long, Object: long}},
		{Detail: DaemonDetail{Reason: long, Object: long}},
		{Detail: OtherDetail{Type: "new", Reason: long, Object: long}},
	} {
		h.Publish(e)
	}
	for i, l := range h.inbox {
		if len(l.JSON) > 3*maxEventText {
			t.Errorf("event %d has %d bytes", i, len(l.JSON))
		}
	}
}

// Large events shorten the log; the newest is always there.
func TestLogIsBoundedInBytes(t *testing.T) {
	h := NewHub()
	large := ConfigDetail{Problems: make([]string, 1000)}
	for i := range large.Problems {
		large.Problems[i] = strings.Repeat("ü", 10_000)
	}
	for range 200 {
		h.Publish(Event{Detail: large})
	}
	h.emptyInbox()
	if h.bytes > MaxLogBytes || len(h.log) < 50 {
		t.Errorf("%d events have %d bytes", len(h.log), h.bytes)
	}
	got := newest(h)
	problems := got[len(got)-1].Event.Detail.(ConfigDetail).Problems
	if len(problems) != MaxEventProblems+1 || problems[MaxEventProblems] != "and 980 more" || len(problems[0]) > 2*maxEventText {
		t.Errorf("%d problems, the last %q", len(problems), problems[len(problems)-1])
	}
	if len(large.Problems) != 1000 || len(large.Problems[0]) != 20_000 {
		t.Error("the publisher's event was changed")
	}
	h.append(Line{JSON: make([]byte, 2*MaxLogBytes)})
	if len(h.log) != 1 {
		t.Errorf("an event over all bounds leaves %d", len(h.log))
	}
}

func BenchmarkPublish(b *testing.B) {
	h := NewHub()
	e := someEvents()[1]
	b.ReportAllocs()
	for b.Loop() {
		h.Publish(e)
	}
}
