package tui

import "github.com/charmbracelet/bubbles/key"

// keyMap is what the keys do.
type keyMap struct {
	Quit, Help, Pause, Next, Previous, Retry, Trend, Doubts, Suspend key.Binding
	Up, Down, PageUp, PageDown, Top, Bottom                          key.Binding
}

func newKeyMap() keyMap {
	bind := func(label, what string, keys ...string) key.Binding {
		return key.NewBinding(key.WithKeys(keys...), key.WithHelp(label, what))
	}
	return keyMap{
		Quit:     bind("q", "quit", "q", "ctrl+c"),
		Help:     bind("?", "help", "?", "h", "f1"),
		Pause:    bind("p", "pause", "p", " "),
		Next:     bind("tab", "section", "tab"),
		Previous: bind("shift+tab", "section before", "shift+tab"),
		Retry:    bind("r", "try now", "r"),
		Trend:    bind("t", "trend", "t"),
		Doubts:   bind("f", "doubts", "f"),
		Suspend:  bind("ctrl+z", "suspend", "ctrl+z"),
		Up:       bind("k", "up", "up", "k"),
		Down:     bind("j", "down", "down", "j"),
		PageUp:   bind("pgup", "page up", "pgup", "ctrl+b", "b"),
		PageDown: bind("pgdown", "page down", "pgdown", "ctrl+f"),
		Top:      bind("g", "top", "home", "g"),
		Bottom:   bind("G", "bottom", "end", "G"),
	}
}
