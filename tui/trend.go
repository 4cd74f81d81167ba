package tui

import (
	"math"
	"slices"
	"strings"
	"time"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// Bounds on what is kept of the past.
const (
	// maxSamples of each uplink and family: a quarter of an hour, one a second.
	maxSamples = 900
	// maxTracks is one for each family of the most uplinks that a daemon can have.
	maxTracks = 2 * 63
)

// spans are the lengths of the past that a trend can show.
var spans = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// sample is what a status said of an uplink in one family. NaN is not measured.
type sample struct {
	at        time.Time
	rtt, loss float32
}

// track names an uplink's family.
type track struct {
	uplink string
	family failover.Family
}

// trends are the samples of every uplink and family, the oldest first.
type trends map[track][]sample

// add takes the samples that a status holds, received at that time, and forgets
// uplinks that it no longer has.
func (t trends) add(s *control.Status, at time.Time) {
	present := map[track]bool{}
	for _, u := range s.Uplinks {
		for _, f := range failover.Families {
			key := track{u.Name, f}
			if len(present) < maxTracks {
				present[key] = true
				fs := u.Family(f)
				t[key] = appendSample(t[key], sample{at, measured(fs.RTTMS), measured(fs.Loss)})
			}
		}
	}
	for key := range t {
		if !present[key] {
			delete(t, key)
		}
	}
}

// appendSample drops the oldest sample when there are too many.
func appendSample(all []sample, s sample) []sample {
	if len(all) >= maxSamples {
		all = append(all[:0], all[len(all)-maxSamples+1:]...)
	}
	return append(all, s)
}

func measured(v *float64) float32 {
	if v == nil {
		return float32(math.NaN())
	}
	return float32(*v)
}

// clone is a copy that later samples leave alone.
func (t trends) clone() trends {
	out := make(trends, len(t))
	for key, all := range t {
		out[key] = slices.Clone(all)
	}
	return out
}

// level is what one bar of a trend stands for.
type level struct {
	any   bool // there was a sample
	known bool // and one that measured something
	most  float64
}

// levels divides the time up to end into n steps and returns the most that was
// measured in each. Steps begin at round times, so that bars stay the same while
// time passes, and move on as one.
func levels(all []sample, end time.Time, span time.Duration, n int, value func(sample) float32) []level {
	out := make([]level, n)
	if n == 0 {
		return out
	}
	// Rounded up: a bar more of the past is better than a bar less.
	step := int64((span + time.Duration(n)*time.Second - 1) / (time.Duration(n) * time.Second))
	last := end.Unix() / step
	for _, s := range all {
		i := n - 1 - int(last-s.at.Unix()/step)
		if i < 0 || i >= n {
			continue
		}
		l := &out[i]
		l.any = true
		if v := float64(value(s)); !math.IsNaN(v) {
			l.most = max(l.most, v)
			l.known = true
		}
	}
	return out
}

// rttBars draws latencies: the lowest bar is the least that is shown, the highest
// the most, but at least 10 ms and half as much again as the least, so that a
// steady line looks steady.
func (t *theme) rttBars(all []level) string {
	least, most := math.Inf(1), 0.0
	for _, l := range all {
		if l.known {
			least, most = min(least, l.most), max(most, l.most)
		}
	}
	reach := max(most-least, least/2, 10)
	return t.draws(all, func(v float64) int {
		return int(math.Round((v - least) / reach * float64(len(t.bars)-1)))
	})
}

// lossSteps are the ratios up to which a bar of loss is as high as its place here
// says; none is the lowest, and anything over the last the highest.
var lossSteps = [...]float64{0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.50}

// lossBars draws losses on a scale of its own: one percent already matters.
func (t *theme) lossBars(all []level) string {
	return t.draws(all, func(v float64) int {
		i := 0
		for i < len(lossSteps) && v > lossSteps[i]+1e-6 { // samples are rounded
			i++
		}
		return i
	})
}

// draws gives each level its bar, '-' where nothing was measured, and a space where
// nobody looked.
func (t *theme) draws(all []level, height func(float64) int) string {
	var b strings.Builder
	for _, l := range all {
		switch {
		case l.known:
			b.WriteString(t.bars[min(max(height(l.most), 0), len(t.bars)-1)])
		case l.any:
			b.WriteString(human.NotKnown)
		default:
			b.WriteString(" ")
		}
	}
	return b.String()
}
