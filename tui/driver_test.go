package tui

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"swerve/control"
)

// driver runs a model without a terminal, as Bubble Tea would.
type driver struct {
	t     *testing.T
	model *model
	msgs  chan tea.Msg
	done  chan struct{}
	cmds  sync.WaitGroup
	quit  bool
}

func drive(t *testing.T, socket string, s size) *driver {
	t.Helper()
	back := newBackend(t.Context(), socket)
	d := &driver{t: t, model: newModel(back, looks(), socket, time.Now()), msgs: make(chan tea.Msg), done: make(chan struct{})}
	t.Cleanup(func() {
		close(d.done)
		back.close()
		d.cmds.Wait()
	})
	d.run(d.model.Init())
	d.update(tea.WindowSizeMsg{Width: s.width, Height: s.height})
	return d
}

// run runs a command in a goroutine.
func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	d.cmds.Go(func() {
		select {
		case d.msgs <- cmd():
		case <-d.done:
		}
	})
}

func (d *driver) update(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, cmd := range msg {
			d.run(cmd)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		_, cmd := d.model.Update(msg)
		d.run(cmd)
	}
}

// until handles messages until the page contains a text, and returns the page.
func (d *driver) until(text string) string {
	d.t.Helper()
	return d.untilIt("shows "+text, func(page string) bool { return strings.Contains(page, text) })
}

func (d *driver) untilIt(what string, holds func(page string) bool) string {
	d.t.Helper()
	for end := time.After(30 * time.Second); ; {
		page := d.model.View()
		if holds(page) {
			return page
		}
		select {
		case msg := <-d.msgs:
			d.update(msg)
		case <-end:
			d.t.Fatalf("deadline exceeded before the page %s:\n%s", what, page)
		}
	}
}

// fakeDaemon is a control server with a status that the test sets.
type fakeDaemon struct {
	t      *testing.T
	socket string
	hub    *control.Hub
	mu     sync.Mutex
	status *control.Status
	asked  atomic.Int64 // for the status
	stop   func()
}

func newFake(t *testing.T) *fakeDaemon {
	f := &fakeDaemon{t: t, socket: filepath.Join(t.TempDir(), "s"), stop: func() {}}
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *fakeDaemon) Reload(context.Context, time.Duration) error { return nil }

func (f *fakeDaemon) Confirm(context.Context) (control.Confirmed, error) {
	return control.Confirmed{}, nil
}

func (f *fakeDaemon) Explain(context.Context, control.Question) (control.Explanation, error) {
	return control.Explanation{}, nil
}

func (f *fakeDaemon) Switch(context.Context, control.Order) (control.Ordered, error) {
	return control.Ordered{}, nil
}

func (f *fakeDaemon) Drain(context.Context, control.Order) (control.Ordered, error) {
	return control.Ordered{}, nil
}

func (f *fakeDaemon) Resume(context.Context, string) (control.Resumed, error) {
	return control.Resumed{}, nil
}

func (f *fakeDaemon) Status() *control.Status {
	f.asked.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := *f.status
	s.Now = control.At(time.Now())
	return &s
}

func (f *fakeDaemon) set(s *control.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = s
}

// start starts a daemon: always on the same socket, with events numbered from 1.
func (f *fakeDaemon) start(s *control.Status) {
	f.t.Helper()
	f.set(s)
	f.hub = control.NewHub()
	l, err := control.Listen(f.socket, "")
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := control.NewServer(l, f.hub, f, slog.New(slog.DiscardHandler))
	go func() { served <- server.Serve(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			f.t.Errorf("serve: %v", err)
		}
	})
}

func (f *fakeDaemon) say(reason string) {
	f.hub.Publish(control.Event{Detail: control.DaemonDetail{Object: "daemon", Action: "says", Reason: reason}})
}

// The page starts without a daemon, connects to it, loses it, connects to the next one,
// and shows every event once.
func TestReconnects(t *testing.T) {
	f := newFake(t)
	d := drive(t, f.socket, sizes[1])
	d.until("there is no such socket")

	f.start(allUp().Status)
	f.say("first run, one")
	d.until("● OK")
	d.until("first run, one")
	f.say("first run, two")
	d.until("first run, two")

	f.stop()
	page := d.until("NOT CONNECTED")
	if !strings.Contains(page, "? was OK") || !strings.Contains(page, "first run, one") {
		t.Errorf("what was known is gone:\n%s", page)
	}
	d.until(" old")

	f.start(carrierLost().Status)
	f.say("second run, one")
	d.until("second run, one")
	page = d.untilIt("is live", func(page string) bool {
		return strings.Contains(page, "◐ WARNING") && strings.Contains(page, "live ")
	})
	for _, want := range []string{"first run, one", "first run, two", "second run, one", "no carrier"} {
		if n := strings.Count(page, want); n == 0 || n > 1 && want != "no carrier" {
			t.Errorf("%q is there %d times:\n%s", want, n, page)
		}
	}
}

// Changes are shown at once, without waiting for the next poll.
func TestFollows(t *testing.T) {
	f := newFake(t)
	f.start(allUp().Status)
	d := drive(t, f.socket, sizes[0])
	d.until("● OK")
	for i := range 3000 { // more than one message holds, and than the journal keeps
		f.hub.Publish(eventsOf(noon, uint64(i+1), uint64(i+1))[0])
	}
	f.set(carrierLost().Status)
	f.hub.Publish(health(0, 0, "fiber", "ipv4", control.Up, control.Down, "no carrier", new(0.1)))
	d.until("fiber IPv4 up → down: no carrier")
	d.until("× down")
	if n := len(d.model.snap.events); n != maxEvents {
		t.Errorf("%d events are kept, want %d", n, maxEvents)
	}
}

// A daemon that hangs is distinguished from one that is gone.
func TestHangingDaemon(t *testing.T) {
	f := newFake(t)
	f.start(allUp().Status)
	d := drive(t, f.socket, sizes[0])
	d.until("● OK")
	f.mu.Lock()
	goOn := sync.OnceFunc(f.mu.Unlock)
	t.Cleanup(goOn) // before the server stops, which waits for its answers
	d.until("NO ANSWER for ")
	goOn()
	d.until("● OK")
}

func TestQuitsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	back := newBackend(ctx, "/nowhere")
	defer back.close()
	cancel()
	if _, ok := back.untilDone()().(tea.QuitMsg); !ok {
		t.Error("no quit")
	}
	back.close()
	ended := &stream{items: make(chan control.Event)}
	close(ended.items)
	for _, cmd := range []tea.Cmd{back.poll(), back.tick(time.Hour), back.untilDone(), back.fetch(ended)} {
		if msg := cmd(); msg != nil {
			t.Errorf("%T from a closed backend", msg)
		}
	}
}
