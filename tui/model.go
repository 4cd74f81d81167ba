package tui

import (
	"slices"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// beat is the interval at which the time on the screen advances.
const beat = 500 * time.Millisecond

// model is the program's state, changed by Update alone: what is known of the daemon,
// and which screen is shown, on what terminal, of which moment.
type model struct {
	connection
	looks *theme
	size  size
	now   time.Time

	pages []page
	at    int  // the index of the page that is shown
	help  bool // the help about that page is shown in its place

	// frozen is what is shown during a pause, which began at paused; nil otherwise.
	frozen *Snapshot
	paused time.Time
}

func newModel(back *backend, looks *theme, socket string, now time.Time) *model {
	return &model{looks: looks, now: now, pages: newPages(),
		connection: connection{back: back, snap: &Snapshot{Socket: socket, trends: trends{}}}}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.back.untilDone(), m.back.tick(beat), m.poll(m.now))
}

// frame returns the frame for what is shown now.
func (m *model) frame() *frame {
	f := &frame{canvas: &canvas{theme: m.looks, size: m.size, now: m.now}, snap: m.snap, clock: m.now}
	if m.frozen != nil {
		f.snap, f.now, f.paused = m.frozen, m.paused, true
	}
	return f
}

// View implements tea.Model.
func (m *model) View() string {
	f, shown := m.frame(), m.pages[m.at]
	switch {
	case m.size == (size{}):
		return "" // the terminal has not reported its size yet
	case f.width < leastWidth || f.height < leastHeight:
		return f.text([]line{{say(strong, "swerve")}, {say(plain, "The terminal is too small.")}})
	case m.help:
		h := help{shown, m.otherPages()}
		return f.around(h.body(f.canvas, f.snap), append([]action{quitKey}, h.keys(f.canvas)...)...)
	case f.snap.Status == nil:
		var o offline
		return f.around(o.body(f.canvas, f.snap), append([]action{quitKey, helpKey}, o.keys(f.canvas)...)...)
	}
	pause := pauseKey
	switch {
	case f.paused:
		pause.SetHelp("p", "resume")
	case f.snap.Outage != nil:
		pause = retryKey
	}
	keys := slices.Concat([]action{quitKey, helpKey}, m.otherPages(), []action{pause}, shown.keys(f.canvas))
	return f.around(f.page(shown), keys...)
}

// otherPages are the keys that choose another page.
func (m *model) otherPages() (keys []action) {
	for i, p := range m.pages {
		if i != m.at {
			keys = append(keys, pageKey(i, p))
		}
	}
	return keys
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.size = size{msg.Width, msg.Height}
	case tickMsg:
		m.now = time.Time(msg)
		return m, tea.Batch(m.back.tick(beat), m.pollIfDue(m.now))
	case statusMsg:
		m.now = msg.at
		return m, m.answered(msg)
	case eventsMsg:
		fresh, cmd := m.received(msg, m.now)
		if m.frozen != nil || len(fresh) == 0 {
			return m, cmd
		}
		return m, tea.Batch(cmd, m.toPages(arrivedMsg(fresh)))
	case tea.KeyMsg:
		return m, m.pressed(msg)
	default:
		return m, m.toPages(msg)
	}
	return m, nil
}

// toPages hands a message to every page.
func (m *model) toPages(msg tea.Msg) tea.Cmd {
	f := m.frame()
	var cmds []tea.Cmd
	for _, p := range m.pages {
		cmds = append(cmds, p.update(msg, f.inside(), f.snap))
	}
	return tea.Batch(cmds...)
}

// pressed handles a key: those of every screen itself, and others through the page
// that is shown.
func (m *model) pressed(msg tea.KeyMsg) tea.Cmd {
	f := m.frame()
	switch {
	case key.Matches(msg, quitKey.Binding):
		return tea.Quit
	case key.Matches(msg, suspendKey):
		return tea.Suspend
	case key.Matches(msg, helpKey.Binding):
		m.help = !m.help
		return nil
	case m.help && msg.Type == tea.KeyEsc:
		m.help = false
		return nil
	}
	for i, p := range m.pages {
		if key.Matches(msg, pageKey(i, p).Binding) {
			m.at, m.help = i, false
			return nil
		}
	}
	switch {
	case m.help: // it hides what the other keys would do
		return nil
	case key.Matches(msg, pauseKey.Binding):
		return m.pause()
	case key.Matches(msg, retryKey.Binding):
		return m.poll(m.now)
	case m.size == (size{}) || f.snap.Status == nil:
		return nil // no page is shown
	}
	return m.pages[m.at].update(msg, f.inside(), f.snap)
}

// pause freezes the screen, or resumes. What happens during a pause is kept.
func (m *model) pause() tea.Cmd {
	if m.frozen == nil {
		m.frozen, m.paused = m.snap.clone(), m.now
		return nil
	}
	m.frozen = nil
	return m.toPages(resumedMsg{})
}
