package tui

import (
	"context"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"swerve/control"
)

// How the daemon is asked.
const (
	// maxBatch is how many events one message holds; more wait for the next.
	maxBatch = 512
	// gather is how long an event waits for others to come along, so that a storm
	// of them costs a few redraws a second.
	gather = 50 * time.Millisecond
)

// Messages from the backend.
type (
	// tickMsg tells the time.
	tickMsg time.Time
	// statusMsg is an answer to a poll.
	statusMsg struct {
		status *control.Status
		err    error
		at     time.Time
	}
	// eventsMsg is what a stream of events brought, and its end, with the reason.
	eventsMsg struct {
		from   *stream
		events []control.Event
		ended  bool
		err    error
	}
)

// backend does the work that waits, in commands. It owns everything they start:
// after close, all of it has ended.
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

// close ends every command and stream and waits for them.
func (b *backend) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.tasks.Wait()
	b.client.Close()
}

// enter counts a task that begins, and reports whether it may.
func (b *backend) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.tasks.Add(1)
	return true
}

// command makes a tea.Cmd of f. It gives no message once the backend is closed.
func (b *backend) command(f func() tea.Msg) tea.Cmd {
	return func() tea.Msg {
		if !b.enter() {
			return nil
		}
		defer b.tasks.Done()
		return f()
	}
}

// tick tells the time after d.
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

// untilDone ends the program with the context that the backend was given.
func (b *backend) untilDone() tea.Cmd {
	return b.command(func() tea.Msg {
		<-b.ctx.Done()
		return tea.QuitMsg{}
	})
}

// stream is one connection over which events come.
type stream struct {
	// items holds what was read and not yet fetched; the reader waits when it is
	// full, and the daemon then tells how many events it left out. Closed at the
	// end of the stream.
	items chan control.Event
	err   error // of the end; to be read once items is closed
}

// follow opens a stream with all events that the daemon keeps and those to come,
// and fetches the first of them.
func (b *backend) follow() (*stream, tea.Cmd) {
	s := &stream{items: make(chan control.Event, maxBatch)}
	return s, b.command(func() tea.Msg {
		if !b.enter() {
			return nil
		}
		go b.read(s)
		return b.take(s)
	})
}

// read moves events from the daemon to the stream, until either ends.
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
	return b.command(func() tea.Msg { return b.take(s) })
}

// take waits for an event, and a moment for more.
func (b *backend) take(s *stream) tea.Msg {
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
