package tui

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	human "swerve/control/say"
)

// The smallest terminal on which a screen is drawn.
const (
	leastWidth  = 40
	leastHeight = 10
)

// frame is what surrounds every screen: the head, the notices above a page, and the
// keys in the foot.
type frame struct {
	*canvas // the whole terminal
	snap    *Snapshot
	clock   time.Time // the time, also during a pause
	paused  bool
}

// around draws the head, a body and the foot.
func (f *frame) around(body []line, keys ...action) string {
	lines := make([]line, f.height)
	lines[0] = f.head()
	copy(lines[1:len(lines)-1], body)
	lines[len(lines)-1] = f.foot(keys)
	return f.text(lines)
}

// inside is the canvas between the head with its notices and the foot.
func (f *frame) inside() *canvas {
	c := *f.canvas
	c.height -= 2 + len(f.notices())
	return &c
}

// page draws a page below the notices. Data that may be out of date lose the colours
// of the present.
func (f *frame) page(p page) []line {
	lines := append(f.notices(), p.body(f.inside(), f.snap)...)
	if !f.snap.live(f.now) {
		for i := range lines {
			lines[i] = lines[i].aged()
		}
	}
	return lines
}

// head is the first line: the overall state, who reports it, and how recent it is.
// Facts that do not fit are left out, the least important first.
func (f *frame) head() line {
	right := f.freshness()
	s := f.snap.Status
	if s == nil {
		return f.spread(line{say(strong, "swerve")}, right)
	}
	config := filepath.Base(s.Daemon.Config)
	if s.Daemon.Config == "" {
		config = "no config file"
	}
	left := line{f.badge()}
	for _, fact := range []string{
		"running " + human.AgeAt(s.Now, s.Daemon.Since),
		fmt.Sprintf("%s (generation %d)", config, s.Daemon.Generation),
		"swerve " + s.Software,
		fmt.Sprintf("pid %d", s.Daemon.PID),
	} {
		next := left.and(say(faint, f.between), say(plain, fact))
		if next.columns() > f.width-right.columns()-2 {
			break
		}
		left = next
	}
	return f.spread(left, right)
}

// badge is the overall state in a word, marked as past when the daemon no longer
// answers.
func (f *frame) badge() span {
	overall := f.snap.Status.Overall
	word := strings.ToUpper(string(overall))
	if !f.snap.live(f.now) {
		return say(faint, "? was "+word)
	}
	return say(severityTone(overall), f.severityMark(overall)+" "+word)
}

// freshness is the right of the head: how recent the data are.
func (f *frame) freshness() line {
	snap := f.snap
	switch {
	case f.paused:
		return line{say(warn, "PAUSED "+human.Age(f.clock.Sub(f.now)))}
	case snap.Status == nil:
		return line{say(faint, f.now.Local().Format("15:04:05"))}
	case !snap.live(f.now):
		return line{say(warn, "data "+human.Age(snap.age(f.now))+" old")}
	}
	return line{say(faint, "live "), say(plain, snap.Received.Local().Format("15:04:05"))}
}

// notices are warnings about the page as a whole, mostly none: that the data are old
// and why, and that the configuration is on trial.
func (f *frame) notices() (lines []line) {
	notice := func(how tone, text string) { lines = append(lines, f.hanging(nil, 2, 2, how, text)...) }
	snap := f.snap
	if snap.Status == nil {
		return nil
	}
	if o := snap.Outage; o != nil {
		notice(alarm, fmt.Sprintf("NOT CONNECTED for %s: %s; %s", human.Age(f.now.Sub(o.Since)), cause(o.Err), o.nextTry(f.now)))
	} else if !snap.live(f.now) {
		notice(alarm, fmt.Sprintf("NO ANSWER for %s: the daemon is there but does not answer", human.Age(snap.age(f.now))))
	}
	if snap.Status.Daemon.ConfigPending {
		notice(warn, human.Unconfirmed(snap.Status))
	}
	return lines
}

// foot is the last line: those keys for which there is room.
func (f *frame) foot(keys []action) line {
	var l line
	for _, k := range keys {
		if k.Help().Key == "" {
			continue
		}
		next := l
		if len(l) > 0 {
			next = l.and(blank(3))
		}
		next = next.and(say(strong, k.Help().Key), blank(1), say(faint, k.Help().Desc))
		if next.columns() > f.width {
			break
		}
		l = next
	}
	return l
}
