package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func note(reason string) Event {
	return Event{Type: EventDaemon, Detail: &Detail{Reason: reason}}
}

// readEvents takes all that a cursor has.
func readEvents(t *testing.T, c *cursor) []Event {
	t.Helper()
	var out []Event
	c.hub.settle()
	for {
		lines, _ := c.read(nil)
		if len(lines) == 0 {
			return out
		}
		if len(lines) > batch {
			t.Fatalf("%d lines at a time", len(lines))
		}
		for _, l := range lines {
			var e Event
			if err := json.Unmarshal(l, &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
	}
}

func TestLogKeepsTheNewest(t *testing.T) {
	h := NewHub()
	slow := h.cursor(time.Time{})
	for i := range MaxEvents + 100 {
		h.Publish(note(fmt.Sprint(i + 1)))
	}
	got := readEvents(t, slow)
	if len(got) != MaxEvents+1 {
		t.Fatalf("%d events, want %d and one on those missed", len(got), MaxEvents)
	}
	if m := got[0]; m.Type != EventDaemon || m.Detail.Missed != 100 || m.Detail.Reason != "too slow: 100 events missed" || m.Seq != 0 {
		t.Errorf("first line: %+v", m.Detail)
	}
	for i, e := range got[1:] {
		if want := i + 101; e.Detail.Reason != fmt.Sprint(want) || e.Seq != uint64(want) {
			t.Fatalf("line %d is %+v, number %d", i, e.Detail, e.Seq)
		}
	}
	if fresh := readEvents(t, h.cursor(time.Time{})); len(fresh) != MaxEvents || fresh[0].Seq != 101 {
		t.Errorf("a new reader gets %d events from %d on, and nothing about missed ones", len(fresh), fresh[0].Seq)
	}
}

func TestTextsAreBounded(t *testing.T) {
	h := NewHub()
	long := strings.Repeat("x", 1<<20)
	for _, e := range []Event{
		{Type: EventHealth, Health: &HealthDetail{Reason: long}},
		{Type: EventSwitch, Switch: &SwitchDetail{Reason: long}},
		{Type: EventRepair, Detail: &Detail{Reason: long, Object: long}},
	} {
		h.Publish(e)
	}
	for i, l := range h.inbox {
		if len(l.line) > 3*maxEventText {
			t.Errorf("event %d has %d bytes", i, len(l.line))
		}
	}
}

// Large events shorten the log; the newest is always there.
func TestLogIsBoundedInBytes(t *testing.T) {
	h := NewHub()
	large := note("")
	large.Detail.Problems = make([]string, 1000)
	for i := range large.Detail.Problems {
		large.Detail.Problems[i] = strings.Repeat("ü", 10_000)
	}
	for range 200 {
		h.Publish(large)
	}
	h.settle()
	if h.bytes > MaxLogBytes || len(h.log) < 50 {
		t.Errorf("%d events have %d bytes", len(h.log), h.bytes)
	}
	got := readEvents(t, h.cursor(time.Time{}))
	problems := got[len(got)-1].Detail.Problems
	if len(problems) != MaxEventProblems+1 || problems[MaxEventProblems] != "and 980 more" || len(problems[0]) > 2*maxEventText {
		t.Errorf("%d problems, the last %q", len(problems), problems[len(problems)-1])
	}
	if len(large.Detail.Problems) != 1000 {
		t.Error("the publisher's event was changed")
	}
	h.append(logLine{line: make([]byte, 2*MaxLogBytes)})
	if len(h.log) != 1 {
		t.Errorf("an event over all bounds leaves %d", len(h.log))
	}
}

func TestCursorSince(t *testing.T) {
	h := NewHub()
	for i := range 10 {
		e := note(fmt.Sprint(i))
		e.Time = At(noon.Add(time.Duration(i) * time.Second))
		h.Publish(e)
	}
	for _, c := range []struct {
		since time.Time
		want  int
	}{
		{time.Time{}, 10}, {noon, 10}, {noon.Add(999 * time.Microsecond), 10}, {noon.Add(time.Millisecond), 9},
		{noon.Add(9 * time.Second), 1}, {noon.Add(time.Hour), 0},
	} {
		cur := h.cursor(c.since)
		if got := readEvents(t, cur); len(got) != c.want {
			t.Errorf("since %v: %d events, want %d", c.since, len(got), c.want)
		}
		h.Publish(note("news"))
		if got := readEvents(t, cur); len(got) != 1 {
			t.Errorf("since %v: %d news", c.since, len(got))
		}
		h.log = h.log[:10]
		h.next.Store(11)
	}
}

// Readers at every pace get all events in order, or are told exactly how many they
// missed, while several goroutines publish.
func TestReadersAndPublishers(t *testing.T) {
	const publishers, each, readers = 4, 1500, 4
	h := NewHub()
	ctx, cancel := context.WithCancel(t.Context())
	var pump, reading, publishing sync.WaitGroup
	pump.Go(func() { h.run(ctx) })
	for r := range readers {
		c := h.cursor(time.Time{})
		reading.Go(func() { readToTheEnd(t, c, publishers*each, time.Duration(r)*time.Millisecond) })
	}
	for range publishers {
		publishing.Go(func() {
			for i := range each {
				h.Publish(note(fmt.Sprint(i)))
			}
		})
	}
	publishing.Wait()
	reading.Wait()
	cancel()
	pump.Wait()
}

// readToTheEnd reads until it has seen, or knows that it missed, so many events.
func readToTheEnd(t *testing.T, c *cursor, total uint64, nap time.Duration) {
	var seen uint64 // or missed
	for seen < total {
		lines, changed := c.read(nil)
		if len(lines) == 0 {
			<-changed
			continue
		}
		time.Sleep(nap)
		for _, l := range lines {
			var e struct{ Seq, Missed uint64 }
			if err := json.Unmarshal(l, &e); err != nil {
				t.Error(err)
				return
			}
			if e.Missed > 0 {
				seen += e.Missed
				continue
			}
			if seen++; e.Seq != seen {
				t.Errorf("event %d comes as number %d", e.Seq, seen)
				return
			}
		}
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
