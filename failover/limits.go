package failover

import (
	"fmt"
	"time"
)

// figure is one of a window's figures: its name, its limit, how it is computed
// from the window's sums, and how it is written. Where nothing was answered most
// are unknown.
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

// lossFigure is the index of loss among the figures.
const lossFigure = 0

func inSeconds(d time.Duration, known bool) (float64, bool) { return d.Seconds(), known }

// of returns a window's figure; false while it has too few samples.
func (f *figure) of(w *window) (v float64, known bool) {
	if !w.known() {
		return 0, false
	}
	return f.value(&w.total)
}

// limits is what was last found when a window was compared with its limits.
type limits struct {
	// calm is the version of the window that was found within all limits: it need
	// not be judged again before it changes.
	calm uint64
	// worst is the figure that was last over its limit.
	worst int
}

// exceeded returns which figure is over its limit, in words; empty for none.
// While the window is not full, or stretched, the loss must also be more than
// chance makes of a loss within the limits: few samples say little.
func (l *limits) exceeded(w *window, h *Health, now Instant) string {
	if l.calm == w.version {
		return ""
	}
	calm := true
	for i := range figures {
		f, limit := &figures[i], figures[i].limit(h)
		if limit.Never {
			continue
		}
		v, known := f.of(w)
		if !known || v <= limit.Degraded {
			continue
		}
		calm = false
		if i == lossFigure && !w.full(now, h.Window) && !beyondChance(w.total.lost, w.n, limit.Clear) {
			continue
		}
		l.worst = i
		return fmt.Sprintf("%s %s over %s, limit %s", f.name, f.words(v), span(covered(w, h, now)), f.words(limit.Degraded))
	}
	if calm {
		l.calm = w.version
	}
	return ""
}

// cleared returns, in words, that all figures are under what clears their limits;
// empty while they are not. since is when the path became degraded. Figures that are
// unknown because probes are rare must not keep it degraded forever: once all samples
// are later than since, and the latest is a whole window of the longest kind later,
// the samples that there are decide.
func (l *limits) cleared(w *window, h *Health, since, now Instant) string {
	if !w.known() && !w.outlasts(since) {
		return ""
	}
	if i, ok := l.holds(w, h); ok {
		l.worst = i
		return ""
	}
	named := -1
	for i := range figures {
		_, known := figures[i].value(&w.total)
		if known && !figures[i].limit(h).Never && (named < 0 || i == l.worst) {
			named = i
		}
	}
	if named < 0 {
		return "no limit is set"
	}
	f := &figures[named]
	v, _ := f.value(&w.total)
	why := fmt.Sprintf("%s %s over %s, under %s", f.name, f.words(v), span(covered(w, h, now)), f.words(f.limit(h).Clear))
	if !w.known() {
		why += fmt.Sprintf(", with %d probes in all", w.n)
	}
	return why
}

// holds returns the index of a figure that is not under what clears its limit, the last
// one that was over its limit before others.
func (l *limits) holds(w *window, h *Health) (held int, ok bool) {
	for i := range figures {
		limit := figures[i].limit(h)
		v, known := figures[i].value(&w.total)
		if known && !limit.Never && v >= limit.Clear && v > 0 && (!ok || i == l.worst) {
			held, ok = i, true
		}
	}
	return held, ok
}

// holding returns which figure keeps a path degraded now, in words; empty where its
// window is not known or no figure does.
func (l *limits) holding(w *window, h *Health, now Instant) string {
	i, ok := l.holds(w, h)
	if !ok || !w.known() {
		return ""
	}
	f := &figures[i]
	v, _ := f.value(&w.total)
	bound, limit := f.limit(h), "limit "
	most := bound.Degraded
	if v <= most {
		most, limit = bound.Clear, "up again under "
	}
	return fmt.Sprintf("%s %s over %s, %s%s", f.name, f.words(v), span(covered(w, h, now)), limit, f.words(most))
}

// covered is the time that the window's figures stand for, in steps of a second.
func covered(w *window, h *Health, now Instant) time.Duration {
	r := w.reach(now)
	if w.full(now, h.Window) {
		r = h.Window
	}
	return max(time.Second, r.Round(time.Second))
}
