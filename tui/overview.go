package tui

import (
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	human "swerve/control/say"
)

// The sections of the overview, in their order.
const (
	uplinksPart part = iota
	problemsPart
	policiesPart
	switchPart
	eventsPart
)

// overview is the page with all that matters at one glance.
type overview struct {
	stack
	span   int  // an index of spans
	doubts bool // events that report nothing but doubts are shown
}

func newOverview() *overview { return &overview{stack: stack{focus: eventsPart}} }

// The keys of the overview.
var (
	trendKey  = action{bind("t", "trend", "t"), "t", "trends over 1, 5 or 15 minutes"}
	doubtsKey = action{bind("f", "doubts", "f"), "f", "show or hide doubts that came to nothing"}
)

func (o *overview) title() string { return "overview" }

func (o *overview) keys(c *canvas) []action {
	return append(o.stack.keys(c), trendKey, doubtsKey)
}

func (o *overview) legend(c *canvas) [][2]string {
	bars := c.bar[0] + c.bar[3] + c.bar[7]
	return [][2]string{
		{c.carries, "carries the new flows of a policy"},
		{c.full + " up", "answers"},
		{c.half + " degraded", "over a limit; or suspect, recovering"},
		{c.cross + " shunned", "silent: new flows go elsewhere"},
		{c.cross + " down", "silent for longer: sessions move"},
		{c.dot + " absent", "the family is not offered there"},
		{bars + " RTT", "least shown, up to half more or +10 ms"},
		{bars + " LOSS", "none; up to 1 2 5 10 20 50 %; more"},
		{human.NotKnown, "not measured"},
	}
}

func (o *overview) update(msg tea.Msg, c *canvas, snap *Snapshot) tea.Cmd {
	switch msg := msg.(type) {
	case arrivedMsg: // a reader who scrolled back keeps his place
		if at := &o.scroll[eventsPart]; *at > 0 {
			if o.doubts {
				*at += len(msg)
			} else {
				*at += len(worthwhile(msg))
			}
		}
	case resumedMsg:
		o.scroll[eventsPart] = 0
	case tea.KeyMsg:
		switch {
		case key.Matches(msg, trendKey.Binding):
			o.span = (o.span + 1) % len(spans)
		case key.Matches(msg, doubtsKey.Binding):
			o.doubts = !o.doubts
			o.scroll[eventsPart] = 0
		default:
			o.press(msg, o.picture(c, snap).sections())
		}
	}
	return nil
}

func (o *overview) body(c *canvas, snap *Snapshot) []line {
	return o.draw(c, o.picture(c, snap).sections())
}

// picture is the overview at one moment: all that its sections are drawn from.
type picture struct {
	*canvas
	snap *Snapshot
	set  *overview
}

func (o *overview) picture(c *canvas, snap *Snapshot) *picture { return &picture{c, snap, o} }

// sections returns the sections that have something to show, laid out.
func (p *picture) sections() []section {
	all := []section{p.problems(), p.policies(), p.lastSwitch(), p.events()}
	if len(p.snap.Status.Problems) == 0 {
		all = all[1:]
	}
	others := 0
	for _, s := range all {
		others += 1 + s.least
	}
	all = append([]section{p.uplinks(p.height - others)}, all...)
	return p.set.layOut(all, p.height)
}

// trendSpan returns how much of the past the trends show.
func (p *picture) trendSpan() time.Duration { return spans[p.set.span] }
