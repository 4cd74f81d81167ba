package tui

// help is the screen that explains a page: its keys and its signs. With those of the
// overview it fits on 60 by 20 cells.
type help struct {
	about  page
	others []action // keys of the other pages
}

func (help) title() string { return "help" }

func (help) keys(*canvas) []action { return []action{{Binding: bind("?", "back")}} }

func (h help) body(c *canvas, snap *Snapshot) []line {
	var lines []line
	row := func(how tone, left, right string) {
		lines = append(lines, line{blank(2), say(how, left)}.padTo(20).and(say(plain, right)))
	}
	actions := append([]action{quitKey, pauseKey}, h.others...)
	for _, a := range append(append(actions, h.about.keys(c)...), retryKey) {
		if a.labels != "" {
			row(strong, a.labels, a.effect)
		}
	}
	lines = append(lines, nil)
	for _, sign := range h.about.legend(c) {
		row(plain, sign[0], sign[1])
	}
	return append(lines, line{blank(2), say(faint, "The daemon's socket: "+snap.Socket)})
}
