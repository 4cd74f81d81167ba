package tui

import (
	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// move scrolls, or chooses what is scrolled.
func (m *model) move(msg tea.KeyMsg) {
	if m.size == (size{}) || m.page().snap.Status == nil {
		return
	}
	k := m.keys
	switch {
	case key.Matches(msg, k.Next):
		m.focus(1)
	case key.Matches(msg, k.Previous):
		m.focus(-1)
	case key.Matches(msg, k.Up):
		m.scroll(-1)
	case key.Matches(msg, k.Down):
		m.scroll(1)
	case key.Matches(msg, k.PageUp):
		m.scroll(-m.rows())
	case key.Matches(msg, k.PageDown):
		m.scroll(m.rows())
	case key.Matches(msg, k.Top):
		m.scroll(-1 << 20)
	case key.Matches(msg, k.Bottom):
		m.scroll(1 << 20)
	}
}

// focus goes to another section that can be scrolled, in the order of the page.
func (m *model) focus(step int) {
	shown := map[part]bool{}
	for _, s := range m.page().layout() {
		shown[s.part] = s.part == eventsPart || s.limit(s.rows) > 0
	}
	for range parts {
		m.view.focus = (m.view.focus + part(step) + parts) % parts
		if shown[m.view.focus] {
			return
		}
	}
}

// section is the one in focus, nil while it is not shown.
func (m *model) section() *section { return find(m.page().layout(), m.view.focus) }

// rows is how far a page of the section reaches.
func (m *model) rows() int {
	if s := m.section(); s != nil {
		return max(s.rows-1, 1)
	}
	return 1
}

// scroll moves the section in focus by so many lines, down where positive. The
// events rest at their end, so theirs is counted from there.
func (m *model) scroll(by int) {
	s := m.section()
	if s == nil {
		return
	}
	if s.part == eventsPart {
		by = -by
	}
	m.view.scroll[s.part] = min(max(s.scroll+by, 0), s.limit(s.rows))
}
