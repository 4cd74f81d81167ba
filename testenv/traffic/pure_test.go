package traffic

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Now()

const ms = time.Millisecond

// story makes a log of one request each 10 ms, one letter each: A answered after
// 20 ms, x not answered, - not sent, L answered but sent 30 ms late.
func story(text string) (log []Request) {
	for i, c := range text {
		due := start.Add(time.Duration(i) * 10 * ms)
		r := Request{Seq: uint64(i), Due: due, Sent: due}
		switch c {
		case 'A':
			r.Answered = r.Sent.Add(20 * ms)
		case 'L':
			r.Sent = due.Add(30 * ms)
			r.Answered = r.Sent.Add(20 * ms)
		case 'x':
			r.Err = noAnswer
		case '-':
			r.Sent, r.Err = time.Time{}, "not connected"
		}
		log = append(log, r)
	}
	return log
}

func TestInterruption(t *testing.T) {
	for _, tc := range []struct {
		name  string
		log   string
		onset time.Duration
		end   time.Duration
		want  Outcome
	}{
		{"nothing happened", "AAAAAAAAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Over: true, SlowestReply: 20 * ms}},
		{"a plain gap: until the sending of the first answered one", "AAAAxxxAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Unanswered: 3, Interruption: 35 * ms, Over: true, SlowestReply: 20 * ms}},
		{"lost on the way at the onset, but sent before", "AAxxAAAAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Interruption: 5 * ms, Over: true, SlowestReply: 20 * ms}},
		{"all of it before the onset", "AxxAAAAAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Over: true, SlowestReply: 20 * ms}},
		{"answers in between do not end it", "AAAAxAxAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Unanswered: 2, Interruption: 35 * ms, Over: true, SlowestReply: 20 * ms}},
		{"what cannot be sent counts from when it was due", "AAAAx--AAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Unanswered: 3, Interruption: 35 * ms, Over: true, SlowestReply: 20 * ms}},
		{"not over", "AAAAxxxxxx", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Unanswered: 6, Interruption: 55 * ms, SlowestReply: 0}},
		{"what comes after the end does not count", "AAAAxxAAxx", 35 * ms, 80 * ms,
			Outcome{Requests: 4, Unanswered: 2, Interruption: 25 * ms, Over: true, SlowestReply: 20 * ms}},
		{"an onset exactly at a sending", "AAAxAAAA", 30 * ms, 80 * ms,
			Outcome{Requests: 5, Unanswered: 1, Interruption: 10 * ms, Over: true, SlowestReply: 20 * ms}},
		{"a client that was late", "AAAALAAAAA", 35 * ms, 100 * ms,
			Outcome{Requests: 6, Over: true, SlowestReply: 20 * ms, Lateness: 30 * ms}},
		{"an empty log", "", 0, 100 * ms, Outcome{Over: true}},
	} {
		got := Measure(story(tc.log), start.Add(tc.onset), start.Add(tc.end))
		if got != tc.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
		if got.Void() != (tc.want.Lateness > 25*ms) {
			t.Errorf("%s: void is %v at a lateness of %v", tc.name, got.Void(), got.Lateness)
		}
	}
}

// The definition, literally: try each request as the first after which all are
// answered.
func interruptionByDefinition(log []Request, onset time.Time) (time.Duration, bool) {
	for i, r := range log {
		if !slices.ContainsFunc(log[i:], func(r Request) bool { return r.Answered.IsZero() }) {
			return max(0, r.Sent.Sub(onset)), true
		}
	}
	return 0, false
}

func TestInterruptionAgainstItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := story(rapid.StringOfN(rapid.SampledFrom([]rune("AAAx")), 1, 40, -1).Draw(t, "log"))
		onset := start.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "onset ms")) * ms)
		want, over := interruptionByDefinition(log, onset)
		got := Measure(log, onset, start.Add(time.Hour))
		if got.Over != over || over && got.Interruption != want {
			t.Fatalf("got %v, %v; want %v, %v", got.Interruption, got.Over, want, over)
		}
	})
}

func TestOutcomeInWords(t *testing.T) {
	for want, o := range map[string]Outcome{
		"interrupted for 35ms, 3 of 6 unanswered":                {Requests: 6, Unanswered: 3, Interruption: 35 * ms, Over: true},
		"not over: interrupted for 35ms, 3 of 6 unanswered":      {Requests: 6, Unanswered: 3, Interruption: 35 * ms},
		"interrupted for 0s, 0 of 6 unanswered, void: 40ms late": {Requests: 6, Over: true, Lateness: 40 * ms},
	} {
		if got := o.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestResetDelay(t *testing.T) {
	at := func(d time.Duration) time.Time { return start.Add(d) }
	b := Break{Segments: []time.Time{at(10 * ms), at(20 * ms), at(50 * ms)}, Reset: at(53 * ms)}
	if d, ok := b.ResetDelay(at(15 * ms)); !ok || d != 33*ms {
		t.Errorf("after 15 ms: %v, %v; want 33 ms", d, ok)
	}
	if d, ok := b.ResetDelay(at(50 * ms)); !ok || d != 3*ms {
		t.Errorf("after 50 ms: %v, %v; want 3 ms", d, ok)
	}
	if _, ok := b.ResetDelay(at(51 * ms)); ok {
		t.Error("there is no segment after 51 ms")
	}
	b.Reset = time.Time{}
	if _, ok := b.ResetDelay(at(0)); ok {
		t.Error("no reset")
	}
	if !b.LastSent().Equal(at(50*ms)) || !(Break{}).LastSent().IsZero() {
		t.Error("LastSent is not the last segment, or not zero if there is none")
	}
}

func TestMessagesSurviveTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message{kind: rapid.Byte().Draw(t, "kind"), stream: rapid.Uint64().Draw(t, "stream"), seq: rapid.Uint64().Draw(t, "seq")}
		if rapid.Bool().Draw(t, "answer") {
			addr := rapid.SampledFrom([]string{"203.0.113.2", "2001:db8::1"}).Draw(t, "from")
			m.from = netip.AddrPortFrom(netip.MustParseAddr(addr), rapid.Uint16Min(1).Draw(t, "port"))
		}
		b := make([]byte, messageLen)
		m.put(b)
		if got, ok := parse(b); !ok || got != m {
			t.Fatalf("%+v is parsed as %+v, %v", m, got, ok)
		}
	})
	for _, b := range [][]byte{nil, make([]byte, messageLen), make([]byte, messageLen-1), make([]byte, messageLen+1)} {
		if m, ok := parse(b); ok {
			t.Errorf("%d zero bytes are parsed as %+v", len(b), m)
		}
	}
}

func TestNextDueFollowsWhatIsOverdue(t *testing.T) {
	l := requestLog{keep: 4}
	began := time.Now()
	if seq := l.dueSeq(began, 100); seq != 0 {
		t.Errorf("request %d is due before any has begun", seq)
	}
	l.add(began)
	for late, want := range map[time.Duration]uint64{-time.Millisecond: 1, 0: 1, 9 * time.Millisecond: 1, 215 * time.Millisecond: 22} {
		if seq := l.dueSeq(began.Add(late), 100); seq != want {
			t.Errorf("%v after the last request %d is due, want %d", late, seq, want)
		}
	}
}

func TestLogKeepsTheLatest(t *testing.T) {
	l := requestLog{keep: 4}
	for i := range 10 {
		l.add(start.Add(time.Duration(i) * ms))
	}
	l.sent(9, start)
	l.answered(message{seq: 9}, start.Add(ms))
	l.failed(9, "too late: it is settled")
	l.failed(8, "broken")
	l.failed(2, "forgotten")
	l.failed(77, "never sent")
	var got []string
	for _, r := range l.requests() {
		got = append(got, r.Err)
	}
	if !slices.Equal(got, []string{"", "", "broken", ""}) || l.requests()[0].Seq != 6 {
		t.Errorf("kept from %d: %q", l.requests()[0].Seq, got)
	}
	if !l.pending(start.Add(time.Hour)) || l.pending(start.Add(6*ms)) {
		t.Error("requests 6 and 7 are pending, and none that was due before 6 ms")
	}
	l.expire(start.Add(7 * ms))
	if r := l.requests(); r[0].Err != noAnswer || r[1].Err != "" {
		t.Errorf("after expiring what was due before 7 ms: %+v", r)
	}
	l.expire(start.Add(time.Hour))
	if l.pending(start.Add(time.Hour)) || l.requests()[3].Err != "" {
		t.Errorf("after expiring all: %+v", l.requests())
	}
}

func TestReceivedNumbers(t *testing.T) {
	a, b := netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("198.51.100.2")
	var v received
	for i, seq := range []uint64{0, 1, 5, 3, 5, 130, 131} {
		from := a
		if i >= 3 {
			from = b
		}
		v.record(seq, from, start.Add(time.Duration(i)*ms))
	}
	r := v.report()
	if r.Count != 6 || r.Duplicates != 1 || r.Reordered != 1 || r.Next != 132 || r.Truncated {
		t.Errorf("got %+v", r)
	}
	if want := []Range{{2, 2}, {4, 4}, {6, 129}}; !slices.Equal(r.Missing, want) {
		t.Errorf("missing %v, want %v", r.Missing, want)
	}
	want := []Source{{a, start, 0, 3}, {b, start.Add(3 * ms), 3, 4}}
	if !slices.Equal(r.Sources, want) {
		t.Errorf("sources %v, want %v", r.Sources, want)
	}
	v.record(maxNumber, b, start)
	if !v.report().Truncated {
		t.Error("a number beyond the bound is not reported")
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := Start(nil, "smoke-signals", netip.MustParseAddr("1.1.1.1"), Options{}); err == nil || !strings.Contains(err.Error(), "smoke-signals") {
		t.Errorf("error %v, want one that names the kind", err)
	}
}
