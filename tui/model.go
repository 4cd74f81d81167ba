package tui

import (
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// How often the daemon is asked.
const (
	pollEvery = time.Second
	// soonest is the least time between two polls, however much happens.
	soonest = 250 * time.Millisecond
	// beat is how often the page moves on.
	beat = 500 * time.Millisecond
)

// retries are the waits after the first, second… attempt that failed; the last
// holds for all that follow.
var retries = []time.Duration{time.Second, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second}

func retryAfter(tries int) time.Duration { return retries[min(tries, len(retries))-1] }

// model is the program's state. It is one value that is only changed by Update.
type model struct {
	back  *backend
	keys  keyMap
	looks *theme

	size size
	view view
	now  time.Time

	snap    *Snapshot // what is known
	frozen  *Snapshot // what is shown while the page is paused
	journal journal

	polling bool
	polled  time.Time // when the latest poll began
	stream  *stream   // nil while no events come
	deaf    struct {  // streams that failed
		tries int
		next  time.Time
	}
}

func newModel(back *backend, looks *theme, socket string, now time.Time) *model {
	return &model{back: back, looks: looks, keys: newKeyMap(), now: now,
		snap: &Snapshot{Socket: socket, trends: trends{}}, view: view{focus: eventsPart}}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.back.untilDone(), m.back.tick(beat), m.poll())
}

// View implements tea.Model.
func (m *model) View() string {
	if m.size == (size{}) {
		return "" // the terminal has not said yet how large it is
	}
	return m.page().String()
}

func (m *model) page() *page {
	snap := m.snap
	if m.frozen != nil {
		snap = m.frozen
	}
	return &page{theme: m.looks, snap: snap, view: m.view, size: m.size, now: m.now}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.size = size{msg.Width, msg.Height}
	case tickMsg:
		m.now = time.Time(msg)
		return m, tea.Batch(m.back.tick(beat), m.due())
	case statusMsg:
		return m, m.answered(msg)
	case eventsMsg:
		return m, m.heard(msg)
	case tea.KeyMsg:
		return m, m.pressed(msg)
	}
	return m, nil
}

// poll asks for the status, once at a time.
func (m *model) poll() tea.Cmd {
	if m.polling {
		return nil
	}
	m.polling, m.polled = true, m.now
	return m.back.poll()
}

// due polls when it is time to.
func (m *model) due() tea.Cmd {
	next := m.polled.Add(pollEvery - beat/2) // a tick that is early by a little will do
	if o := m.snap.Outage; o != nil {
		next = o.Next
	}
	if m.now.Before(next) {
		return nil
	}
	return m.poll()
}

// answered takes the outcome of a poll.
func (m *model) answered(msg statusMsg) tea.Cmd {
	m.polling = false
	m.now = msg.at
	if msg.err != nil {
		m.failed(msg)
		return nil
	}
	m.snap.Status, m.snap.Received, m.snap.Outage = msg.status, msg.at, nil
	m.snap.trends.add(msg.status, msg.at)
	return m.listen()
}

// failed notes that nobody answers, and when to try again.
func (m *model) failed(msg statusMsg) {
	if m.snap.Outage == nil {
		m.snap.Outage = &Outage{Since: msg.at}
	}
	o := m.snap.Outage
	o.Tries++
	o.Err, o.Next = msg.err, msg.at.Add(retryAfter(o.Tries))
}

// listen opens a stream of events where there is none, and not too often.
func (m *model) listen() tea.Cmd {
	if m.stream != nil || m.now.Before(m.deaf.next) {
		return nil
	}
	var cmd tea.Cmd
	m.stream, cmd = m.back.follow()
	return cmd
}

// heard takes events, and looks at once what they changed.
func (m *model) heard(msg eventsMsg) tea.Cmd {
	if msg.from != m.stream {
		return nil
	}
	fresh := m.journal.add(msg.events)
	m.snap.events = m.journal.entries
	m.keepPlace(len(fresh), len(worthwhile(fresh)))
	if msg.ended {
		m.stream = nil
		m.snap.Deaf = msg.err
		m.deaf.tries++
		m.deaf.next = m.now.Add(retryAfter(m.deaf.tries))
		return m.poll()
	}
	m.deaf.tries, m.snap.Deaf = 0, nil
	fetch := m.back.fetch(msg.from)
	if len(fresh) == 0 || m.now.Sub(m.polled) < soonest {
		return fetch
	}
	return tea.Batch(fetch, m.poll())
}

// keepPlace lets a reader who scrolled back stay with what he reads.
func (m *model) keepPlace(all, worthwhile int) {
	if at := &m.view.scroll[eventsPart]; *at > 0 && m.frozen == nil {
		if m.view.doubts {
			*at += all
		} else {
			*at += worthwhile
		}
	}
}

// pressed does what a key asks for.
func (m *model) pressed(msg tea.KeyMsg) tea.Cmd {
	k := m.keys
	switch {
	case key.Matches(msg, k.Quit):
		return tea.Quit
	case key.Matches(msg, k.Suspend):
		return tea.Suspend
	case key.Matches(msg, k.Help):
		m.view.help = !m.view.help
	case m.view.help:
		m.view.help = msg.Type != tea.KeyEsc
	case key.Matches(msg, k.Pause):
		m.pause()
	case key.Matches(msg, k.Trend):
		m.view.span = (m.view.span + 1) % len(spans)
	case key.Matches(msg, k.Doubts):
		m.view.doubts = !m.view.doubts
		m.view.scroll[eventsPart] = 0
	case key.Matches(msg, k.Retry):
		return m.poll()
	default:
		m.move(msg)
	}
	return nil
}

// pause lets the page stand still, or go on. What happens meanwhile is kept.
func (m *model) pause() {
	if m.frozen != nil {
		m.frozen, m.view.paused = nil, time.Time{}
		m.view.scroll[eventsPart] = 0
		return
	}
	m.frozen, m.view.paused = m.snap.clone(), m.now
}
