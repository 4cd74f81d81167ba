package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swerve/control"
	"swerve/routing"
)

// foldedLines are the lines of a log at level info and above, each with the number
// of lines that it stands for.
func foldedLines(t *testing.T, log string) (lines []string, stand int) {
	t.Helper()
	repeated := regexp.MustCompile(` repeated=(\d+) `)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=DEBUG") {
			continue
		}
		lines = append(lines, strings.TrimSpace(line))
		n := 1
		if m := repeated.FindStringSubmatch(line); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		stand += n
	}
	return lines, stand
}

// lockedBuffer may be read while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Lines that differ in figures only are folded, others are not; the count comes once
// a minute at first, and when the series is over.
func TestFolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		f := newFolding(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		log := slog.New(f)
		go f.run(t.Context())
		begin := time.Now()
		for i := range 100 { // for 50 s
			log.Warn("uplink shunned", "uplink", "wan1", "reason", fmt.Sprintf("0 of %d targets answer for %dms", i%3+1, 100+i), "evidence", time.Duration(i))
			log.Warn("uplink shunned", "uplink", "wan2", "err", errors.New("of another uplink"))
			log.Debug("of level debug", "number", i)
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		if n := strings.Count(out.String(), "of level debug"); n != 100 {
			t.Errorf("%d of 100 lines of level debug", n)
		}
		lines, _ := foldedLines(t, out.String())
		if len(lines) != 2*foldAfter {
			t.Errorf("after 50 s %d lines, want %d:\n%s", len(lines), 2*foldAfter, strings.Join(lines, "\n"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		lines, stand := foldedLines(t, out.String())
		if len(lines) != 2*foldAfter+2 || stand != 200 {
			t.Errorf("at the end %d lines for %d, want %d for 200:\n%s", len(lines), stand, 2*foldAfter+2, strings.Join(lines, "\n"))
		}
		all := strings.Join(lines[2*foldAfter:], "\n")
		since := begin.Add(foldAfter * 500 * time.Millisecond).Format("2006-01-02T15:04:05.000")
		for _, want := range []string{`answer for 199ms" evidence=99ns repeated=95 since=` + since, "uplink=wan2"} {
			if !strings.Contains(all, want) {
				t.Errorf("the folded lines lack %q:\n%s", want, all)
			}
		}
		log.Warn("uplink shunned", "uplink", "wan2", "err", errors.New("of another uplink"))
		if again, _ := foldedLines(t, out.String()); len(again) != len(lines)+1 {
			t.Error("a line of a new series is not written at once")
		}
	})
}

// What is kept for folding is bounded, and nothing is lost beyond the bound.
func TestFoldingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := newFolding(slog.NewTextHandler(&out, nil))
		log := slog.New(f).With("part", "a").WithGroup("g")
		const kinds, each = 4 * foldKinds, 8
		for i := range kinds {
			for range each {
				log.Error("line", "of", "kind"+strconv.Itoa(i))
			}
			time.Sleep(time.Millisecond)
		}
		if len(f.kinds) > foldKinds {
			t.Errorf("%d kinds are kept", len(f.kinds))
		}
		f.flush()
		if lines := strings.Count(out.String(), "\n"); lines != kinds*(foldAfter+1) {
			t.Errorf("%d lines, want %d", lines, kinds*(foldAfter+1))
		}
		want := fmt.Sprintf("part=a g.of=kind1 g.repeated=%d ", each-foldAfter)
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	})
}

func TestKindOf(t *testing.T) {
	kind := func(text string) uint64 { return kindOf(0, "line", []slog.Attr{slog.String("reason", text)}) }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"0 of 3 targets answer for 126ms", "1 of 3 targets answer for 1.2s", true},
		{"loss 21.5% over 10s, limit 20%", "loss 100% over 1m0s, limit 20%", true},
		{"by wan0", "by wan1", false},
		{"no answer from 1.1.1.1", "no answer from 8.8.8.8", false},
		{"ipv4", "ipv6", false},
		{"via 2001:db8::1", "via 2001:db8::2", false},
		{"10.0.0.0/8", "10.0.0.0/9", false},
	} {
		if same := kind(c.a) == kind(c.b); same != c.same {
			t.Errorf("%q and %q: the same kind is %v, want %v", c.a, c.b, same, c.same)
		}
	}
}

// An hour in which a line stalls each two seconds, and another program deletes our
// rules as often: the log has few lines, which stand for all of them, and suspicions
// that come to nothing do not push the verdicts out of the events.
func TestAnHourOfStalls(t *testing.T) {
	const ipv4 = twoUplinks + "probe: {targets: [1.1.1.1]}\n"
	inBubble(t, ipv4, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.take()
		before, _ := foldedLines(t, r.log.String())
		begun := r.uplink("fiber").IPv4.Suspicions
		for range 1800 {
			r.blackHole("eth0", true, both...)
			r.Routes.Lose(func(r routing.Rule) bool { return r.OIF != "" }, noRoute)
			r.after(350 * time.Millisecond)
			r.blackHole("eth0", false, both...)
			r.after(1650 * time.Millisecond)
		}
		r.after(2 * time.Minute)
		verdicts, repairs, events := 0, 0, 0
		for _, e := range r.take() {
			events++
			switch d := e.Detail.(type) {
			case control.RepairDetail:
				repairs++
			case control.HealthDetail:
				if verdicts++; d.To == control.Suspect || d.From == control.Suspect && d.To.Answering() {
					t.Fatalf("a suspicion among the events: %+v", d)
				}
			}
		}
		lines, stand := foldedLines(t, r.log.String())
		lines, stand = lines[len(before):], stand-len(before)
		suspicions := r.uplink("fiber").IPv4.Suspicions - begun
		t.Logf("%d suspicions in IPv4, %d events, of them %d verdicts and %d repairs; %d lines that stand for %d",
			suspicions, events, verdicts, repairs, len(lines), stand)
		if suspicions < 1800 || repairs < 300 {
			t.Errorf("%d suspicions and %d repairs: the hour is too quiet", suspicions, repairs)
		}
		if events > control.MaxEvents/4 {
			t.Errorf("%d events in an hour: only %d are kept", events, control.MaxEvents)
		}
		if len(lines) > 150 || stand < verdicts+repairs {
			t.Errorf("%d lines for %d verdicts and %d repairs, which stand for %d", len(lines), verdicts, repairs, stand)
		}
	})
}

// Two kinds take turns until they end. Their folded lines come together, in the order in
// which the last of each came, and say in their text that they are not of that moment.
func TestFoldedLinesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		f := newFolding(slog.NewTextHandler(&out, nil))
		log := slog.New(f)
		go f.run(t.Context())
		for range foldAfter + 3 {
			log.Warn("to fiber")
			time.Sleep(3 * time.Second)
			log.Warn("to lte")
			time.Sleep(time.Second)
		}
		last := time.Now().Add(-time.Second)
		time.Sleep(2 * foldCalm)
		synctest.Wait()
		lines, _ := foldedLines(t, out.String())
		want := []string{`msg="to fiber, 3 times until ` + last.Add(-3*time.Second).Format(time.TimeOnly), `msg="to lte, 3 times until ` + last.Format(time.TimeOnly)}
		if n := len(lines); n != 2*foldAfter+2 || !strings.Contains(lines[n-2], want[0]) || !strings.Contains(lines[n-1], want[1]) {
			t.Errorf("want %q at the end:\n%s", want, strings.Join(lines, "\n"))
		}
	})
}
