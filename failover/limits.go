package failover

import (
	"fmt"
	"time"
)

// figure is one of a window's three figures beside its limit.
type figure struct {
	name  string
	value float64
	known bool
	limit Limit
	words func(float64) string
}

// figures returns loss, latency and jitter of a path's window.
func (p *path) figures() [3]figure {
	h := &p.up.cfg.Health
	fs := [3]figure{
		{name: "loss", limit: h.Loss, words: percent},
		{name: "latency", limit: h.Latency, words: seconds},
		{name: "jitter", limit: h.Jitter, words: seconds},
	}
	if !p.window.known() {
		return fs
	}
	t := &p.window.total
	fs[0].value, fs[0].known = t.loss(), true
	if d, ok := t.latency(); ok {
		fs[1].value, fs[1].known = d.Seconds(), true
	}
	if d, ok := t.jitter(); ok {
		fs[2].value, fs[2].known = d.Seconds(), true
	}
	return fs
}

// lossFigure is the place of loss among the figures.
const lossFigure = 0

// over tells which figure is over its limit, in words; empty for none. While
// the window is not full, or stretched, the loss must also be more than chance
// makes of a loss that would be fine: few samples say little.
func (p *path) over(now Instant) string {
	w := &p.window
	for i, f := range p.figures() {
		if !f.known || f.limit.Never || f.value <= f.limit.Degraded {
			continue
		}
		if i == lossFigure && !w.full(now, p.up.cfg.Health.Window) && !beyondChance(w.total.lost, w.n, f.limit.Clear) {
			continue
		}
		p.worst = i
		return fmt.Sprintf("%s %s over %s, limit %s", f.name, f.words(f.value), span(p.reach(now)), f.words(f.limit.Degraded))
	}
	return ""
}

// clear tells that all figures are known and under their limits' clear, in
// words; empty while they are not.
func (p *path) clear(now Instant) string {
	if !p.window.known() {
		return ""
	}
	words := ""
	for i, f := range p.figures() {
		if !f.known || f.limit.Never {
			continue
		}
		if f.value >= f.limit.Clear && f.value > 0 {
			return ""
		}
		if words == "" || i == p.worst {
			words = fmt.Sprintf("%s %s over %s, under %s", f.name, f.words(f.value), span(p.reach(now)), f.words(f.limit.Clear))
		}
	}
	if words == "" {
		return "no limit is set"
	}
	return words
}

// reach is the time that the window's figures stand for, in steps of a second.
func (p *path) reach(now Instant) time.Duration {
	r := p.window.reach(now)
	if p.window.full(now, p.up.cfg.Health.Window) {
		r = p.up.cfg.Health.Window
	}
	return max(time.Second, r.Round(time.Second))
}
