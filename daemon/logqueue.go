package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"swerve/control"
	"swerve/control/say"
)

// LogQueue is a writer for the daemon's log that never blocks and never fails:
// lines are put into a bounded queue, from which a goroutine writes them. A reader
// that stops reading the log, or closes it, must not stop failover. Lines that
// exceed the queue are dropped, counted, and reported in the log as soon as it can
// be written again.
type LogQueue struct {
	to    io.Writer
	lines chan []byte
	// size is the total size of the queued lines, in bytes.
	size    atomic.Int64
	dropped atomic.Uint64

	mu sync.Mutex
	// failed is the error of the last write; nil if it succeeded.
	failed error
	// quit is closed to stop the goroutine, done when it has ended.
	quit, done chan struct{}
}

// The bounds of the queue: number of lines, and their total size in bytes.
const (
	logLines = 2048
	logBytes = 1 << 20
)

// NewLogQueue returns a queue that writes lines to a writer, and starts its
// goroutine, which ends with Close.
func NewLogQueue(to io.Writer) *LogQueue {
	q := &LogQueue{to: to, lines: make(chan []byte, logLines), quit: make(chan struct{}), done: make(chan struct{})}
	go q.work()
	return q
}

// Write queues one line, or drops it if there is no room. It may be called by
// several goroutines; lines written after Close are lost.
func (q *LogQueue) Write(line []byte) (int, error) {
	n := int64(len(line))
	if q.size.Add(n) <= logBytes {
		select {
		case q.lines <- append([]byte(nil), line...):
			return len(line), nil
		default:
		}
	}
	q.size.Add(-n)
	q.dropped.Add(1)
	return len(line), nil
}

// work writes lines until Close, and then those that are still queued.
func (q *LogQueue) work() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.write(line)
		case <-q.quit:
			for {
				select {
				case line := <-q.lines:
					q.write(line)
				default:
					return
				}
			}
		}
	}
}

func (q *LogQueue) write(line []byte) {
	_, err := q.to.Write(line)
	q.size.Add(-int64(len(line)))
	if err != nil {
		q.dropped.Add(1)
	}
	q.mu.Lock()
	q.failed = err
	q.mu.Unlock()
}

// Close writes the queued lines, for at most a second, and ends the goroutine once
// the writer returns.
func (q *LogQueue) Close() {
	close(q.quit)
	select {
	case <-q.done:
	case <-time.After(time.Second):
	}
}

// logCheck is the interval at which the daemon checks whether its log can be
// written.
const logCheck = time.Second

// watch keeps the problem of a log that drops lines, until ctx ends. It stands
// while lines are dropped, and for a minute after the last.
func (q *LogQueue) watch(ctx context.Context, p *problems, log *slog.Logger) error {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	var before, reported uint64
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			n := q.dropped.Load()
			switch {
			case n > before:
				before, last = n, now
			case n > reported: // the log can be written again
				log.Warn("lines of the log were dropped", "count", n-reported)
				reported = n
			}
			var cause error
			if !last.IsZero() && now.Sub(last) < time.Minute {
				cause = fmt.Errorf("%s dropped from the log: %s", say.Several(int(n), "line was", "lines were"), q.why())
			}
			p.set("log", "log-dropped", control.Warning, cause,
				"see to it that somebody reads the daemon's standard error; failover goes on without it, and swerve events has what happened")
		}
	}
}

func (q *LogQueue) why() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed != nil {
		return q.failed.Error()
	}
	return "nobody reads standard error fast enough"
}
