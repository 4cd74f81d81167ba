package tui

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	human "swerve/control/say"
)

// part identifies a section of a screen; sections stand in the order of their parts.
type part int

// maxParts bounds the sections of one screen.
const maxParts = 8

// section is a part of a screen with a title and a body that can be scrolled.
type section struct {
	part part
	name string
	// The rest of the title line is a remark and a rule, or the titles of columns.
	remark  string
	columns line
	// least is how many rows the body needs, want how many it has.
	least, want int
	// limit returns how far the body can be scrolled when it is shown in so many rows.
	limit func(rows int) int
	// window returns at most rows lines of the body, and for the title which part of
	// the body they are. scroll is the distance from the position of rest.
	window func(rows, scroll int) (lines []line, scrolled string)
	// cut reports whether the body, shown in so many rows, lacks what it has in focus; nil
	// for never.
	cut func(rows int) bool
	// leave is the order in which sections are left out of a screen that is too low,
	// 1 first; 0 stays.
	leave int
	// grow is the order in which sections get the rows to spare, 1 first; 0 gets none.
	grow int
	// tail: the body shows its end while at rest, is scrolled upwards from there, can
	// always be in focus, and gets the rows that no other section wants.
	tail bool

	rows   int // of the body, as laid out; -1: the section is left out
	scroll int
	spaced bool // an empty line precedes it
}

// fixed returns a section with all lines of its body at hand.
func (c *canvas) fixed(s section, body []line) section {
	s.least, s.want = min(s.least, len(body)), len(body)
	s.limit = func(rows int) int { return max(len(body)-rows, 0) }
	s.window = func(rows, scroll int) ([]line, string) {
		shown := body[scroll:min(scroll+rows, len(body))]
		return shown, c.scrolled(scroll, len(shown), len(body))
	}
	return s
}

// scrolled says which lines of how many are shown, where not all are.
func (c *canvas) scrolled(from, n, all int) string {
	if n >= all {
		return ""
	}
	return fmt.Sprintf("%d%s%d of %d", from+1, c.upTo, from+n, all)
}

// stack is a column of sections, as the user set it.
type stack struct {
	focus  part          // the section that the keys scroll
	scroll [maxParts]int // the distance of each section from its position of rest
}

// layOut distributes the height of the canvas among sections, and returns those that
// are shown.
func (s *stack) layOut(all []section, height int) (shown []section) {
	spare := height
	for i := range all {
		all[i].rows = all[i].least
		spare -= 1 + all[i].least
	}
	for _, next := range inOrder(all, func(s *section) int { return s.leave }) {
		if spare < 0 {
			spare += 1 + next.rows
			next.rows = -1
		}
	}
	for _, next := range inOrder(all, func(s *section) int { return s.grow }) {
		if next.rows >= 0 && spare > 0 {
			more := min(next.want-next.rows, spare)
			next.rows += more
			spare -= more
		}
	}
	const plenty = 4 // the tail gets as many rows before empty lines separate sections
	spaced := spare >= len(all)+plenty
	if spaced {
		spare -= len(all)
	}
	for _, next := range all {
		if next.rows < 0 {
			continue
		}
		if next.tail {
			next.rows += max(spare, 0)
		}
		next.spaced = spaced
		next.scroll = min(max(s.scroll[next.part], 0), next.limit(next.rows))
		shown = append(shown, next)
	}
	return shown
}

// inOrder returns the sections with a rank, the lowest first.
func inOrder(all []section, rank func(*section) int) (ranked []*section) {
	for i := range all {
		if rank(&all[i]) > 0 {
			ranked = append(ranked, &all[i])
		}
	}
	slices.SortStableFunc(ranked, func(a, b *section) int { return cmp.Compare(rank(a), rank(b)) })
	return ranked
}

// draw draws sections that are laid out.
func (s *stack) draw(c *canvas, shown []section) (lines []line) {
	for _, next := range shown {
		if next.spaced {
			lines = append(lines, nil)
		}
		name := next.name
		if next.part == s.focus {
			name += " " + c.scroll
		}
		body, scrolled := next.window(next.rows, next.scroll)
		title := c.title(name, human.Join(c.between, next.remark, scrolled))
		if next.columns != nil {
			title = line{say(strong, name), blank(1)}
			title = title.and(next.columns.from(title.columns())...)
		}
		lines = append(append(lines, title), body...)
	}
	return lines
}

// The keys of a stack.
var (
	nextKey     = bind("tab", "section", "tab")
	previousKey = bind("", "", "shift+tab")
	upKey       = bind("", "", "up", "k")
	downKey     = bind("", "", "down", "j")
	pageUpKey   = bind("", "", "pgup", "ctrl+b", "b")
	pageDownKey = bind("", "", "pgdown", "ctrl+f")
	topKey      = bind("", "", "home", "g")
	bottomKey   = bind("", "", "end", "G")
)

// keys are what the keys of a stack do.
func (s *stack) keys(c *canvas) []action {
	return []action{
		{bind(c.up+c.down, "scroll"), c.up + c.down + " pgup pgdn g G", "scroll the section marked " + c.scroll + "; g, G: its ends"},
		{nextKey, "tab shift+tab", "mark the next section: problems unfold"},
	}
}

// press handles a key: it scrolls the section in focus, or moves the focus.
func (s *stack) press(msg tea.KeyMsg, shown []section) {
	switch {
	case key.Matches(msg, nextKey):
		s.moveFocus(1, shown)
	case key.Matches(msg, previousKey):
		s.moveFocus(-1, shown)
	}
	i := slices.IndexFunc(shown, func(next section) bool { return next.part == s.focus })
	if i < 0 {
		return
	}
	focused := shown[i]
	by := 0 // lines downwards
	switch {
	case key.Matches(msg, upKey):
		by = -1
	case key.Matches(msg, downKey):
		by = 1
	case key.Matches(msg, pageUpKey):
		by = -max(focused.rows-1, 1)
	case key.Matches(msg, pageDownKey):
		by = max(focused.rows-1, 1)
	case key.Matches(msg, topKey):
		by = -1 << 20
	case key.Matches(msg, bottomKey):
		by = 1 << 20
	default:
		return
	}
	if focused.tail {
		by = -by
	}
	s.scroll[focused.part] = min(max(focused.scroll+by, 0), focused.limit(focused.rows))
}

// moveFocus moves the focus to the next section that can be scrolled, or has more to show.
func (s *stack) moveFocus(step int, shown []section) {
	can := [maxParts]bool{}
	for _, next := range shown {
		can[next.part] = next.tail || next.limit(next.rows) > 0 || next.cut != nil && next.cut(next.rows)
	}
	for range can {
		s.focus = (s.focus + part(step) + maxParts) % maxParts
		if can[s.focus] {
			return
		}
	}
}
