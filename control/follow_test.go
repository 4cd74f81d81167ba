package control

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogKeepsTheNewest(t *testing.T) {
	h := NewHub()
	for i := range MaxEvents + 100 {
		h.Publish(note(fmt.Sprint(i + 1)))
	}
	seq, missed := uint64(100), uint64(0)
	for b := range h.Follow(done(), 1) { // from an event that was dropped
		if len(b.Lines) > maxBatch {
			t.Fatalf("%d lines at a time", len(b.Lines))
		}
		missed += b.Missed
		for _, l := range b.Lines {
			if seq++; l.Event.Seq != seq || reasonOf(l.Event) != fmt.Sprint(seq) {
				t.Fatalf("event %d is %+v", seq, l.Event)
			}
		}
	}
	if seq != MaxEvents+100 || missed != 100 {
		t.Errorf("events up to %d, %d missed; want %d and 100", seq, missed, MaxEvents+100)
	}
	fresh := 0
	for b := range h.Follow(done(), 0) {
		if fresh += len(b.Lines); b.Missed > 0 {
			t.Errorf("a new reader missed %d", b.Missed)
		}
	}
	if fresh != MaxEvents {
		t.Errorf("a new reader gets %d events, want %d", fresh, MaxEvents)
	}
	if m := string(missedLine(100)); !strings.Contains(m, `"type":"daemon","action":"skipped","reason":"too slow: 100 events missed","missed":100`) {
		t.Errorf("a client gets %s", m)
	}
}

// All readers of an event have the same bytes and the same value, and what the
// publisher does with its own afterwards changes neither.
func TestLinesAreWhatWasPublished(t *testing.T) {
	h := NewHub()
	from := List[string]{"fiber"}
	h.Publish(Event{Time: At(noon), Detail: SwitchDetail{Policy: "default", From: from}})
	from[0] = "another"
	l := newest(h)[0]
	want := Event{Time: At(noon), Seq: 1, Detail: SwitchDetail{Policy: "default", From: List[string]{"fiber"}}}
	if !reflect.DeepEqual(l.Event, want) || string(l.JSON) != string(encode(want).JSON) {
		t.Errorf("%+v, %s", l.Event, l.JSON)
	}
}

func TestFollowFromANumber(t *testing.T) {
	h := NewHub()
	for i := range 200 {
		h.Publish(note(fmt.Sprint(i)))
	}
	for from, want := range map[uint64]int{0: 200, 1: 200, 2: 199, 200: 1, 201: 0, 300: 0} {
		got := 0
		for b := range h.Follow(done(), from) {
			got += len(b.Lines)
			if b.Missed > 0 || b.Lines[0].Event.Seq < from {
				t.Errorf("from %d: %d missed, then %d", from, b.Missed, b.Lines[0].Event.Seq)
			}
		}
		if got != want {
			t.Errorf("from %d: %d events, want %d", from, got, want)
		}
	}
}

// A reader whose context ends still gets what was published before, also without a
// broadcast, and then its loop ends.
func TestFollowUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub() // nothing runs it: nobody is woken
		h.Publish(note("first"))
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		ended := false
		go func() {
			for b := range h.Follow(ctx, 0) {
				for _, l := range b.Lines {
					got = append(got, reasonOf(l.Event))
				}
			}
			ended = true
		}()
		synctest.Wait()
		h.Publish(note("second"))
		synctest.Wait()
		if len(got) != 1 || ended {
			t.Errorf("before the end: %q, ended %t", got, ended)
		}
		cancel()
		synctest.Wait()
		if strings.Join(got, " ") != "first second" || !ended {
			t.Errorf("at the end: %q, ended %t", got, ended)
		}
	})
}

// Publishers that go on for ever do not keep a reader whose context has ended.
func TestFollowEndsWhileOthersPublish(t *testing.T) {
	h := NewHub()
	h.Publish(note("first"))
	batches := 0
	for range h.Follow(done(), 0) {
		batches++
		for range 2 * maxBatch {
			h.Publish(note("more"))
		}
		h.emptyInbox()
	}
	if batches != 1 {
		t.Errorf("%d batches, want the one that was there", batches)
	}
}

// A loop that is left early, while it could go on, leaves no goroutine behind.
func TestFollowIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		h.Publish(note("first"))
		for range h.Follow(t.Context(), 0) {
			break
		}
		h.Publish(note("second"))
		for range h.Follow(done(), 0) {
			break
		}
	})
}

// A slow reader holds up neither publishers nor other readers, and learns exactly
// how much it missed.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		ctx, cancel := context.WithCancel(t.Context())
		go h.run(ctx)
		h.Publish(note("first"))
		stuck := make(chan struct{})
		var slow, fast []Batch
		go func() {
			for b := range h.Follow(ctx, 0) {
				slow = append(slow, b)
				<-stuck
			}
		}()
		go func() {
			for b := range h.Follow(ctx, 0) {
				fast = append(fast, b)
			}
		}()
		synctest.Wait()
		const rest = MaxEvents + 10
		begin := time.Now()
		for i := range rest {
			h.Publish(note(fmt.Sprint(i)))
			if i%maxBatch == 0 {
				time.Sleep(pace)
				synctest.Wait()
			}
		}
		time.Sleep(pace)
		synctest.Wait()
		if got := lines(fast); got != rest+1 || missed(fast) != 0 {
			t.Errorf("the fast reader has %d events and missed %d", got, missed(fast))
		}
		if took := time.Since(begin); took > (rest/maxBatch+2)*pace {
			t.Errorf("publishing took %v", took)
		}
		close(stuck)
		synctest.Wait()
		if got := lines(slow); got != MaxEvents+1 || missed(slow) != 10 || slow[1].Missed != 10 {
			t.Errorf("the slow reader has %d events and missed %d", got, missed(slow))
		}
		cancel()
		synctest.Wait()
	})
}

func lines(batches []Batch) (n int) {
	for _, b := range batches {
		n += len(b.Lines)
	}
	return n
}

func missed(batches []Batch) (n uint64) {
	for _, b := range batches {
		n += b.Missed
	}
	return n
}

// A client names a time; what comes after it connected is news at any time.
func TestEventsSince(t *testing.T) {
	h := NewHub()
	for i := range 10 {
		e := note(fmt.Sprint(i))
		e.Time = At(noon.Add(time.Duration(i) * time.Second))
		h.Publish(e)
	}
	head := h.seq()
	news := note("news")
	news.Time = At(noon.Add(-time.Hour)) // the clock was set back
	h.Publish(news)
	for _, c := range []struct {
		since time.Time
		want  int
	}{
		{time.Time{}, 10}, {noon, 10}, {noon.Add(999 * time.Microsecond), 10}, {noon.Add(time.Millisecond), 9},
		{noon.Add(9 * time.Second), 1}, {noon.Add(time.Hour), 0},
	} {
		var got [][]byte
		for b := range h.Follow(done(), 0) {
			got = append(got, eventsQuery{since: c.since}.wanted(b, head)...)
		}
		if len(got) != c.want+1 || !strings.Contains(string(got[c.want]), "news") {
			t.Errorf("since %v: %d events, want %d and the news", c.since, len(got), c.want)
		}
	}
	got := eventsQuery{since: noon.Add(time.Hour)}.wanted(Batch{Missed: 3, Lines: newest(h)}, head)
	if len(got) != 2 || !strings.Contains(string(got[0]), `"missed":3`) {
		t.Errorf("with some missed: %s", got)
	}
}

// Readers at every pace get all events in order, or learn exactly how many they
// missed, while several goroutines publish.
func TestReadersAndPublishers(t *testing.T) {
	const publishers, each, readers = 4, 1500, 4
	h := NewHub()
	ctx, cancel := context.WithCancel(t.Context())
	var pump, reading, publishing sync.WaitGroup
	pump.Go(func() { h.run(ctx) })
	for r := range readers {
		reading.Go(func() { readToTheEnd(t, h, publishers*each, time.Duration(r)*time.Millisecond) })
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
func readToTheEnd(t *testing.T, h *Hub, total uint64, nap time.Duration) {
	var seen uint64 // or missed
	for b := range h.Follow(t.Context(), 1) {
		seen += b.Missed
		for _, l := range b.Lines {
			if seen++; l.Event.Seq != seen {
				t.Errorf("event %d comes as number %d", l.Event.Seq, seen)
				return
			}
		}
		if seen >= total {
			return
		}
		time.Sleep(nap)
	}
}
