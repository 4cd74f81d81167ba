package failover

import (
	"fmt"
	"time"
)

// figure is one of a window's figures: how it is called, limited, taken from the
// window's sums, and told. Where nothing was answered most are unknown.
type figure struct {
	name  string
	limit func(*Health) *Limit
	value func(*tally) (v float64, known bool)
	words func(float64) string
}

// figures are all three.
var figures = [...]figure{
	lossFigure: {
		name: "loss", words: percent,
		limit: func(h *Health) *Limit { return &h.Loss },
		value: func(t *tally) (float64, bool) { return t.loss(), true },
	},
	{
		name: "latency", words: seconds,
		limit: func(h *Health) *Limit { return &h.Latency },
		value: func(t *tally) (float64, bool) { return inSeconds(t.latency()) },
	},
	{
		name: "jitter", words: seconds,
		limit: func(h *Health) *Limit { return &h.Jitter },
		value: func(t *tally) (float64, bool) { return inSeconds(t.jitter()) },
	},
}

// lossFigure is the place of loss among the figures.
const lossFigure = 0

func inSeconds(d time.Duration, known bool) (float64, bool) { return d.Seconds(), known }

// of is a window's figure; false while it has too few samples to tell.
func (f *figure) of(w *window) (v float64, known bool) {
	if !w.known() {
		return 0, false
	}
	return f.value(&w.total)
}

// over tells which figure is over its limit, in words; empty for none. While
// the window is not full, or stretched, the loss must also be more than chance
// makes of a loss that would be fine: few samples say little.
func (p *path) over(now Instant) string {
	w := &p.window
	if p.calm == w.version {
		return ""
	}
	calm := true
	for i := range figures {
		f, limit := &figures[i], figures[i].limit(&p.up.cfg.Health)
		if limit.Never {
			continue
		}
		v, known := f.of(w)
		if !known || v <= limit.Degraded {
			continue
		}
		calm = false
		if i == lossFigure && !w.full(now, p.up.cfg.Health.Window) && !beyondChance(w.total.lost, w.n, limit.Clear) {
			continue
		}
		p.worst = i
		return fmt.Sprintf("%s %s over %s, limit %s", f.name, f.words(v), span(p.reach(now)), f.words(limit.Degraded))
	}
	if calm {
		p.calm = w.version
	}
	return ""
}

// clear tells that all figures are known and under their limits' clear, in
// words; empty while they are not.
func (p *path) clear(now Instant) string {
	if !p.window.known() {
		return ""
	}
	told := -1
	for i := range figures {
		limit := figures[i].limit(&p.up.cfg.Health)
		v, known := figures[i].of(&p.window)
		if !known || limit.Never {
			continue
		}
		if v >= limit.Clear && v > 0 {
			return ""
		}
		if told < 0 || i == p.worst {
			told = i
		}
	}
	if told < 0 {
		return "no limit is set"
	}
	f := &figures[told]
	v, _ := f.of(&p.window)
	return fmt.Sprintf("%s %s over %s, under %s", f.name, f.words(v), span(p.reach(now)), f.words(f.limit(&p.up.cfg.Health).Clear))
}

// reach is the time that the window's figures stand for, in steps of a second.
func (p *path) reach(now Instant) time.Duration {
	r := p.window.reach(now)
	if p.window.full(now, p.up.cfg.Health.Window) {
		r = p.up.cfg.Health.Window
	}
	return max(time.Second, r.Round(time.Second))
}
