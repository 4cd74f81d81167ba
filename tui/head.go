package tui

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"

	"swerve/control"
	human "swerve/control/say"
)

// head is the first line: how things are, who says so, and how fresh that is.
func (p *page) head() line {
	return p.spread(p.about(p.size.width-p.freshness().columns()-2), p.freshness(), p.size.width)
}

// about is the left of the head: facts that do not fit into room are left out, the
// least important first.
func (p *page) about(room int) line {
	s := p.snap.Status
	if s == nil {
		return line{say(strong, "swerve")}
	}
	l := line{p.badge()}
	for _, fact := range p.facts(s) {
		next := l.and(say(faint, p.between), say(plain, fact))
		if next.columns() > room {
			break
		}
		l = next
	}
	return l
}

func (p *page) facts(s *control.Status) []string {
	config := filepath.Base(s.Daemon.Config)
	if s.Daemon.Config == "" {
		config = "no config file"
	}
	return []string{
		"running " + human.AgeAt(s.Now, s.Daemon.Since),
		fmt.Sprintf("%s (generation %d)", config, s.Daemon.Generation),
		"swerve " + s.Software,
		fmt.Sprintf("pid %d", s.Daemon.PID),
	}
}

// badge is the whole in a word. What was so before the daemon fell silent is not
// said as if it were so now.
func (p *page) badge() span {
	overall := p.snap.Status.Overall
	word := strings.ToUpper(string(overall))
	if !p.live() {
		return say(faint, "? was "+word)
	}
	return say(severityTone(overall), p.severityMark(overall)+" "+word)
}

// freshness is the right of the head.
func (p *page) freshness() line {
	snap := p.snap
	switch {
	case !p.view.paused.IsZero():
		return line{say(warn, "PAUSED "+human.Age(p.now.Sub(p.view.paused)))}
	case snap.Status == nil:
		return line{say(faint, p.now.Local().Format("15:04:05"))}
	case !p.live():
		return line{say(warn, "data "+human.Age(snap.age(p.moment()))+" old")}
	}
	return line{say(faint, "live "), say(plain, snap.Received.Local().Format("15:04:05"))}
}

// banner is what must not be overlooked, below the head; mostly nothing.
func (p *page) banner() (lines []line) {
	if text := p.trouble(); text != "" {
		lines = p.notice(alarm, text)
	}
	if s := p.snap.Status; s != nil && s.Daemon.ConfigPending {
		lines = append(lines, p.notice(warn, human.Unconfirmed)...)
	}
	return lines
}

func (p *page) notice(how tone, text string) (lines []line) {
	for _, l := range wrap(human.Clean(text), p.size.width-2, 2, p.ellipsis) {
		lines = append(lines, line{blank(2), say(how, l)})
	}
	return lines
}

// trouble says why what is shown is old, or nothing.
func (p *page) trouble() string {
	o := p.snap.Outage
	switch {
	case o != nil:
		return fmt.Sprintf("NOT CONNECTED for %s: %s; %s", human.Age(p.moment().Sub(o.Since)), cause(o.Err), p.nextTry())
	case p.snap.Status != nil && !p.live():
		return fmt.Sprintf("NO ANSWER for %s: the daemon is there and says nothing", human.Age(p.snap.age(p.moment())))
	}
	return ""
}

// nextTry tells when the daemon is looked for again.
func (p *page) nextTry() string {
	wait := p.snap.Outage.Next.Sub(p.moment())
	if wait <= 0 {
		return "trying now"
	}
	return fmt.Sprintf("next try in %s", human.Age(wait+time.Second-1)) // 0.2 s is not 0 s
}

// cause is why it failed, without what was tried and what to do.
func cause(err error) string {
	var e *control.Error
	if errors.As(err, &e) && e.Cause != nil {
		return e.Cause.Error()
	}
	return err.Error()
}

// foot is the last line: the keys, as far as there is room.
func (p *page) foot() line {
	keys := newKeyMap()
	move := key.NewBinding(key.WithHelp(p.up+p.down, "scroll"))
	shown := []key.Binding{keys.Quit, keys.Help, keys.Pause, move, keys.Next, keys.Trend, keys.Doubts}
	switch {
	case p.view.help:
		shown = []key.Binding{keys.Quit, key.NewBinding(key.WithHelp("?", "back"))}
	case p.snap.Status == nil:
		shown = []key.Binding{keys.Quit, keys.Help, keys.Retry}
	case !p.view.paused.IsZero():
		shown[2].SetHelp("p", "go on")
	case p.snap.Outage != nil:
		shown[2] = keys.Retry
	}
	var l line
	for _, k := range shown {
		next := l
		if len(l) > 0 {
			next = l.and(blank(3))
		}
		next = next.and(say(strong, k.Help().Key), blank(1), say(faint, k.Help().Desc))
		if next.columns() > p.size.width {
			break
		}
		l = next
	}
	return l
}
