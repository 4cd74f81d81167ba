package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A reader that stops does not delay the writer, and lines beyond the bounds are
// dropped and counted.
func TestLogQueueNeverBlocks(t *testing.T) {
	r, w := io.Pipe()
	q := NewLogQueue(w)
	begin := time.Now()
	const lines = 3 * logLines
	for range lines {
		if n, err := q.Write([]byte("a line\n")); n != 7 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	dropped := q.dropped.Load()
	if dropped < lines-logLines-1 || dropped >= lines {
		t.Errorf("dropped %d of %d", dropped, lines)
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	q.Close()
	w.Close()
	all := <-read
	if got := strings.Count(all, "a line\n"); got != lines-int(dropped) {
		t.Errorf("read %d lines, want %d", got, lines-int(dropped))
	}
}

// Long lines are bounded by their total size.
func TestLogQueueIsBounded(t *testing.T) {
	_, w := io.Pipe()
	q := NewLogQueue(w)
	long := bytes.Repeat([]byte("x"), logBytes/4)
	for range 10 {
		q.Write(long)
	}
	if n := len(q.lines); n > 4 {
		t.Errorf("%d lines of a quarter of the bound each wait", n)
	}
	w.Close()
	q.Close()
}

type brokenWriter struct{ err error }

func (b *brokenWriter) Write(p []byte) (int, error) { return len(p), b.err }

// A log that cannot be written is a problem, which is cleared a minute after the
// last dropped line.
func TestLogThatCannotBeWritten(t *testing.T) {
	to := &brokenWriter{errors.New("broken pipe")}
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		q := NewLogQueue(to)
		var log bytes.Buffer
		r.start()
		watching := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { watching <- q.watch(ctx, r.loop.reporter.problems, slog.New(slog.NewTextHandler(&log, nil))) }()
		q.Write([]byte("lost\n"))
		r.after(2 * logCheck)
		p := r.problem("log-dropped")
		if p == nil || !strings.Contains(p.Text, "1 line was dropped from the log: broken pipe") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		to.err = nil
		q.Write([]byte("kept\n"))
		r.after(time.Minute + 2*logCheck)
		if p := r.problem("log-dropped"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
		cancel()
		<-watching
		if got := log.String(); strings.Count(got, "lines of the log were dropped") != 1 || !strings.Contains(got, "count=1") {
			t.Errorf("the log on dropped lines:\n%s", got)
		}
		q.Close()
		synctest.Wait()
	})
}
