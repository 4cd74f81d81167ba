package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// life is a hub with its archive, in one run of a process.
type life struct {
	hub     *Hub
	archive *Archive
	stop    func()

	mu    sync.Mutex
	cause error
	syncs []time.Time
}

func (l *life) problem() error { l.mu.Lock(); defer l.mu.Unlock(); return l.cause }

// begin starts a hub with the events of the folder, and its archive, within a
// synctest bubble.
func begin(t *testing.T, folder string) *life {
	t.Helper()
	l := &life{hub: NewHub(), archive: OpenArchive(folder)}
	l.archive.sync = func(*os.File) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.syncs = append(l.syncs, time.Now())
		return nil
	}
	lines, err := l.archive.Read()
	l.cause = err
	l.hub.Restore(lines)
	ctx, cancel := context.WithCancel(t.Context())
	from := l.hub.Next()
	var done sync.WaitGroup
	done.Go(func() { l.hub.run(ctx) })
	done.Go(func() {
		l.archive.Keep(ctx, l.hub, from, func(err error) { l.mu.Lock(); l.cause = err; l.mu.Unlock() })
	})
	l.stop = func() { cancel(); done.Wait() }
	return l
}

func (l *life) publish(reason string) {
	l.hub.Publish(Event{Detail: DaemonDetail{Action: "started", Reason: reason}})
}

// all returns the reasons of the events that a reader gets, and checks their
// numbers.
func (l *life) all(t *testing.T) (reasons []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last uint64
	for b := range l.hub.Follow(ctx, 0) {
		for _, line := range b.Lines {
			if last > 0 && line.Event.Seq != last+1 {
				t.Errorf("number %d follows %d", line.Event.Seq, last)
			}
			last = line.Event.Seq
			reasons = append(reasons, line.Event.Detail.(DaemonDetail).Reason)
		}
	}
	return reasons
}

func wantReasons(t *testing.T, l *life, want string) {
	t.Helper()
	if got := strings.Join(l.all(t), " "); got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

// Events outlive the process, whether it ends normally or not, and the numbering
// continues.
func TestArchiveOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "state") // does not exist yet
		a := begin(t, folder)
		a.publish("one")
		a.publish("two")
		time.Sleep(time.Second)
		b := begin(t, folder) // a never ended, as after kill -9
		a.stop()
		b.publish("three")
		wantReasons(t, b, "one two three")
		if n := b.hub.Next(); n != 4 {
			t.Errorf("the next number is %d, want 4", n)
		}
		b.stop()
		c := begin(t, folder)
		wantReasons(t, c, "one two three")
		c.stop()
	})
}

// The incomplete line of a sudden stop, and lines that other programs wrote into
// the file, are skipped; the other lines are kept.
func TestArchiveWithBrokenLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		path := filepath.Join(folder, archiveFile)
		a := begin(t, folder)
		a.publish("one")
		a.stop()
		one, _ := os.ReadFile(path)
		os.WriteFile(path, append(one, one[:len(one)/2]...), 0o600)
		b := begin(t, folder)
		if b.problem() != nil {
			t.Errorf("a last line without its end: %v", b.problem())
		}
		b.publish("two")
		b.stop()
		two, _ := os.ReadFile(path)
		broken := append([]byte("\x00\x00\x00\n{\"seq\":18446744073709551615}\n"), two...)
		os.WriteFile(path, append(broken, "nothing\n"...), 0o600)
		lines, err := OpenArchive(folder).Read()
		if err == nil || !strings.Contains(err.Error(), "3 lines are no events") {
			t.Errorf("error %v", err)
		}
		if len(lines) != 2 {
			t.Errorf("%d events", len(lines))
		}
		os.WriteFile(path, append(one, strings.ReplaceAll(string(two[len(one):]), `"seq":2`, `"seq":9`)...), 0o600)
		c := begin(t, folder)
		wantReasons(t, c, "one two") // numbered without a gap
		if n := c.hub.Next(); n != 10 {
			t.Errorf("the next number is %d, want 10", n)
		}
		c.stop()
	})
}

// The archive has two files, neither larger than its bound, with the newest events.
func TestArchiveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		l := begin(t, folder)
		for range 3000 {
			l.publish(strings.Repeat("x", 1000))
			time.Sleep(pace)
		}
		l.publish("last")
		l.stop()
		entries, _ := os.ReadDir(folder)
		if len(entries) != 2 {
			t.Errorf("%d files", len(entries))
		}
		for _, e := range entries {
			if info, _ := e.Info(); info.Size() > MaxArchiveBytes {
				t.Errorf("%s has %d bytes", e.Name(), info.Size())
			}
		}
		lines, err := OpenArchive(folder).Read()
		if err != nil || len(lines) < 1000 {
			t.Fatalf("%d events, %v", len(lines), err)
		}
		if e := lines[len(lines)-1].Event; e.Seq != 3001 || e.Detail.(DaemonDetail).Reason != "last" {
			t.Errorf("the last is %+v", e)
		}
	})
}

// A disk is synced at most once a minute, and at once for a switch.
func TestArchiveSyncsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, t.TempDir())
		defer l.stop()
		start := time.Now()
		for range 600 {
			l.publish("health")
			time.Sleep(time.Second)
		}
		l.mu.Lock()
		n := len(l.syncs)
		l.syncs = nil
		l.mu.Unlock()
		if n < 9 || n > 11 {
			t.Errorf("%d syncs in %v, want about 10", n, time.Since(start))
		}
		begun := time.Now()
		l.hub.Publish(Event{Detail: SwitchDetail{Policy: "default"}})
		time.Sleep(3 * pace)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.syncs) != 1 || l.syncs[0].Sub(begun) > 2*pace {
			t.Errorf("syncs at a switch: %v", l.syncs)
		}
	})
}

// Events that cannot be written stay in the hub, are reported, and are written
// later.
func TestArchiveThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		path := filepath.Join(folder, archiveFile)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		l := begin(t, folder)
		l.publish("one")
		time.Sleep(time.Second)
		if err := l.problem(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("problem %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(archiveAgain)
		if err := l.problem(); err != nil {
			t.Errorf("problem %v", err)
		}
		l.stop()
		next := begin(t, folder)
		wantReasons(t, next, "one")
		next.stop()
	})
}

// A folder that is removed gets everything again that the hub has, with the numbers of
// before; so does one that is removed after the last event.
func TestArchiveIsRemoved(t *testing.T) {
	for name, last := range map[string]bool{"with an event after it": false, "after the last event": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "state")
				l := begin(t, folder)
				l.publish("one")
				time.Sleep(time.Second)
				if last {
					l.publish("two")
					time.Sleep(time.Second)
				}
				if err := os.RemoveAll(folder); err != nil {
					t.Fatal(err)
				}
				if !last {
					l.publish("two")
					time.Sleep(time.Second)
				}
				if err := l.problem(); err != nil {
					t.Errorf("problem %v", err)
				}
				l.stop()
				next := begin(t, folder)
				wantReasons(t, next, "one two")
				if n := next.hub.Next(); n != 3 {
					t.Errorf("the next number is %d, want 3", n)
				}
				next.stop()
			})
		})
	}
}

// The kernel reports a failed write-back once, to the sync that follows; that error
// is not lost where a timer made the sync.
func TestArchiveSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, t.TempDir())
		defer l.stop()
		l.archive.mu.Lock()
		l.archive.sync = func(*os.File) error { return unix.EIO }
		l.archive.mu.Unlock()
		l.publish("one")
		time.Sleep(archiveSync + time.Second)
		l.publish("two")
		time.Sleep(time.Second)
		if err := l.problem(); !errors.Is(err, unix.EIO) {
			t.Errorf("problem %v", err)
		}
		l.archive.mu.Lock()
		l.archive.sync = func(*os.File) error { return nil }
		l.archive.mu.Unlock()
		time.Sleep(archiveAgain)
		if err := l.problem(); err != nil {
			t.Errorf("problem %v", err)
		}
		wantReasons(t, l, "one two")
	})
}

// A failed write returns its error, and does not count as written.
func TestArchiveWriteFails(t *testing.T) {
	a := OpenArchive(t.TempDir())
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	a.file.Close()
	err := a.write([]Line{encode(Event{Time: At(time.Now()), Seq: 1, Detail: DaemonDetail{}})})
	if err == nil || !errors.Is(err, os.ErrClosed) || a.size != 0 {
		t.Errorf("error %v, size %d", err, a.size)
	}
}
