package tui

import (
	"context"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"swerve/control"
)

// How events are collected.
const (
	// maxBatch is how many events one message holds; more wait for the next.
	maxBatch = 512
	// gather is how long an event waits for more, so that a burst of events causes
	// only a few redraws a second.
	gather = 50 * time.Millisecond
)

// Messages from the backend.
type (
	// tickMsg is the time.
	tickMsg time.Time
	// statusMsg is an answer to a poll.
	statusMsg struct {
		status *control.Status
		err    error
		at     time.Time
	}
	// eventsMsg holds events of a stream, or its end with the reason.
	eventsMsg struct {
		from   *stream
		events []control.Event
		ended  bool
		err    error
	}
)

// backend does the work that waits, in commands. It owns the goroutines that they
// start: after close, all have ended.
type backend struct {
	client *control.Client
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup // Add only under mu while not closed
}

func newBackend(ctx context.Context, socket string) *backend {
	ctx, cancel := context.WithCancel(ctx)
	return &backend{client: control.Dial(socket), ctx: ctx, cancel: cancel}
}

// close cancels every command and stream, and waits until they have ended.
func (b *backend) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.tasks.Wait()
	b.client.Close()
}

// enter registers a task, and reports whether it may begin: not after close.
func (b *backend) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.tasks.Add(1)
	return true
}

// command returns a command that runs f, unless the backend is closed.
func (b *backend) command(f func() tea.Msg) tea.Cmd {
	return func() tea.Msg {
		if !b.enter() {
			return nil
		}
		defer b.tasks.Done()
		return f()
	}
}

// tick reports the time after d.
func (b *backend) tick(d time.Duration) tea.Cmd {
	return b.command(func() tea.Msg {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case at := <-timer.C:
			return tickMsg(at)
		case <-b.ctx.Done():
			return nil
		}
	})
}

// poll asks for the status.
func (b *backend) poll() tea.Cmd {
	return b.command(func() tea.Msg {
		s, err := b.client.Status(b.ctx)
		return statusMsg{s, err, time.Now()}
	})
}

// untilDone ends the program when the context of the backend is done.
func (b *backend) untilDone() tea.Cmd {
	return b.command(func() tea.Msg {
		<-b.ctx.Done()
		return tea.QuitMsg{}
	})
}

// stream is one connection over which events arrive.
type stream struct {
	// items holds events that were read and not yet fetched. The reader waits when it
	// is full; the daemon then drops events, and reports how many. It is closed at the
	// end of the stream.
	items chan control.Event
	err   error // why the stream ended; readable once items is closed
}

// follow opens a stream of all events that the daemon keeps and all future ones, and
// fetches the first.
func (b *backend) follow() (*stream, tea.Cmd) {
	s := &stream{items: make(chan control.Event, maxBatch)}
	return s, b.command(func() tea.Msg {
		if !b.enter() {
			return nil
		}
		go b.read(s)
		return b.collect(s)
	})
}

// read moves events from the daemon to the stream, until the connection or the backend
// ends.
func (b *backend) read(s *stream) {
	defer b.tasks.Done()
	defer close(s.items)
	for e, err := range b.client.Events(b.ctx, time.Time{}, true) {
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.items <- e:
		case <-b.ctx.Done():
			return
		}
	}
}

// fetch waits for the next events of a stream.
func (b *backend) fetch(s *stream) tea.Cmd {
	return b.command(func() tea.Msg { return b.collect(s) })
}

// collect waits for an event, and then for gather for more.
func (b *backend) collect(s *stream) tea.Msg {
	msg := eventsMsg{from: s}
	first, open := <-s.items
	if !open {
		msg.ended, msg.err = true, s.err
		return msg
	}
	msg.events = append(msg.events, first)
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for len(msg.events) < maxBatch {
		select {
		case e, open := <-s.items:
			if !open {
				msg.ended, msg.err = true, s.err
				return msg
			}
			msg.events = append(msg.events, e)
		case <-timer.C:
			return msg
		}
	}
	return msg
}
