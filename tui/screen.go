package tui

import (
	"strconv"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// screen is what stands between the head and the foot.
type screen interface {
	// title names the screen in a word or two.
	title() string
	// keys are the keys that act on the screen, in the order of the foot.
	keys(*canvas) []action
	// body draws the screen, from the top of the canvas. Lines beyond its height are
	// not shown.
	body(*canvas, *Snapshot) []line
}

// page is a screen about a daemon that has answered: one that the user can choose,
// and that keeps what the user set on it.
type page interface {
	screen
	// legend explains the signs on the page, for the help: sign and meaning.
	legend(*canvas) [][2]string
	// update handles the keys that are pressed while the page is shown, and at any
	// time the messages that the model does not handle itself: arrivedMsg, resumedMsg
	// and what the page's own commands return. The canvas and the snapshot are those
	// that body would get; the snapshot has no status before the first answer.
	update(tea.Msg, *canvas, *Snapshot) tea.Cmd
}

// newPages returns the pages in the order of the keys that choose them: 1, 2, 3 …
// The first is the one that the dashboard starts with.
func newPages() []page {
	return []page{
		newOverview(),
	}
}

// Messages from the model to the pages.
type (
	// arrivedMsg holds the events that were added to the journal; it is not sent while
	// the dashboard is paused.
	arrivedMsg []entry
	// resumedMsg reports the end of a pause.
	resumedMsg struct{}
)

// action is what a key does. The help of its binding is for the foot, a key and a
// word; the foot leaves out those that have none.
type action struct {
	key.Binding
	// labels and effect are for the help: all the keys, and what they do. The help
	// leaves out those that have none.
	labels, effect string
}

// The keys that act on every screen.
var (
	quitKey    = action{bind("q", "quit", "q", "ctrl+c"), "q ctrl+c", "quit"}
	helpKey    = action{Binding: bind("?", "help", "?", "h", "f1")}
	pauseKey   = action{bind("p", "pause", "p", " "), "p space", "pause the page, or resume it"}
	retryKey   = action{bind("r", "try now", "r"), "r", "look for the daemon now"}
	suspendKey = bind("", "", "ctrl+z")
)

// bind returns a binding of keys with its label and word for the foot.
func bind(label, word string, keys ...string) key.Binding {
	return key.NewBinding(key.WithKeys(keys...), key.WithHelp(label, word))
}

// pageKey is the key that chooses the page of that index.
func pageKey(i int, p page) action {
	number := strconv.Itoa(i + 1)
	return action{bind(number, p.title(), number), number, p.title()}
}
