package tui

import (
	"errors"
	"fmt"

	"swerve/control"
	human "swerve/control/say"
)

// offline is the screen in place of every page until a daemon has answered.
type offline struct{}

func (offline) title() string { return "offline" }

func (offline) keys(*canvas) []action { return []action{retryKey} }

func (offline) body(c *canvas, snap *Snapshot) []line {
	o := snap.Outage
	if o == nil {
		return []line{nil, {blank(2), say(plain, "Asking the daemon on "+snap.Socket)}}
	}
	lines := []line{nil, {blank(2), say(alarm, "NOT CONNECTED: "+cause(o.Err))}, nil}
	paragraph := func(how tone, text string) {
		narrower := *c
		narrower.width -= 2 // a margin on the right like that on the left
		lines = append(lines, narrower.hanging(nil, 2, 6, how, text)...)
	}
	paragraph(plain, "The daemon was looked for on "+snap.Socket+".")
	if e, ok := errors.AsType[*control.Error](o.Err); ok && e.Remedy != "" {
		paragraph(strong, c.to+" "+e.Remedy)
	}
	tried := fmt.Sprintf("Tried %d times in %s", o.Tries, human.Age(c.now.Sub(o.Since)))
	if o.Tries == 1 {
		tried = "Tried once"
	}
	return append(lines, nil, line{blank(2), say(faint, tried+"; "+o.nextTry(c.now))})
}
