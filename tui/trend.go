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

// sample is what a status reported of an uplink in one family: the round trip time in
// milliseconds and the loss as a ratio, NaN where not measured.
type sample struct {
	at        time.Time
	rtt, loss float32
}

// track identifies an uplink in one family.
type track struct {
	uplink string
	family failover.Family
}

// trends are the samples of every uplink and family, the oldest first.
type trends map[track][]sample

// add appends the samples of a status that was received at that time, drops the oldest
// of those that are too many, and deletes the tracks of uplinks that are gone.
func (t trends) add(s *control.Status, at time.Time) {
	present := map[track]bool{}
	for _, u := range s.Uplinks {
		for _, f := range failover.Families {
			key := track{u.Name, f}
			if len(present) < maxTracks {
				present[key] = true
				fs := u.Family(f)
				past := t[key]
				if len(past) >= maxSamples {
					past = append(past[:0], past[len(past)-maxSamples+1:]...)
				}
				t[key] = append(past, sample{at, measured(fs.RTTMS), measured(fs.Loss)})
			}
		}
	}
	for key := range t {
		if !present[key] {
			delete(t, key)
		}
	}
}

func measured(v *float64) float32 {
	if v == nil {
		return float32(math.NaN())
	}
	return float32(*v)
}

// clone returns a copy that later samples do not reach.
func (t trends) clone() trends {
	out := make(trends, len(t))
	for key, all := range t {
		out[key] = slices.Clone(all)
	}
	return out
}

// level is what one bar of a trend represents: a step of time.
type level struct {
	any   bool    // the step has a sample
	known bool    // and one that measured something
	most  float64 // the highest value, if known
}

// levels divides the span up to end into n steps and returns the level of each. Steps
// begin at round times, so that bars keep their heights as time passes, and all move
// at once.
func levels(all []sample, end time.Time, span time.Duration, n int, value func(sample) float32) []level {
	out := make([]level, n)
	if n == 0 {
		return out
	}
	// Rounded up, so that the steps cover the whole span.
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

// series is what a trend is drawn of: the samples of one uplink and family, and the
// time that the trend covers.
type series struct {
	samples []sample // the oldest first
	end     time.Time
	span    time.Duration
}

// rttTrend returns a cell with a bar for each part of the time, as wide as its column:
// the longest round trip time in it.
func (c *canvas) rttTrend(s series) cell {
	return cell{fill: func(width int) span {
		return say(plain, c.rttBars(levels(s.samples, s.end, s.span, width, func(s sample) float32 { return s.rtt })))
	}}
}

// lossTrend is like rttTrend, with the highest loss.
func (c *canvas) lossTrend(s series) cell {
	return cell{fill: func(width int) span {
		return say(plain, c.lossBars(levels(s.samples, s.end, s.span, width, func(s sample) float32 { return s.loss })))
	}}
}

// rttBars draws round trip times. The lowest bar is the shortest that is shown. The
// highest is the longest, but at least 10 ms and half as much again above the
// shortest, so that a steady line looks steady.
func (c *canvas) rttBars(all []level) string {
	least, most := math.Inf(1), 0.0
	for _, l := range all {
		if l.known {
			least, most = min(least, l.most), max(most, l.most)
		}
	}
	reach := max(most-least, least/2, 10)
	return c.bars(all, func(v float64) int {
		return int(math.Round((v - least) / reach * float64(len(c.bar)-1)))
	})
}

// lossSteps are the ratios up to which a bar of loss has the height of its place here;
// no loss is the lowest bar, and anything over the last ratio the highest.
var lossSteps = [...]float64{0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.50}

// lossBars draws losses on a scale of its own, as one percent is significant already.
func (c *canvas) lossBars(all []level) string {
	return c.bars(all, func(v float64) int {
		i := 0
		for i < len(lossSteps) && v > lossSteps[i]+1e-6 { // samples are rounded
			i++
		}
		return i
	})
}

// bars draws a bar for each level, '-' where nothing was measured, and a space where
// there is no sample.
func (c *canvas) bars(all []level, height func(float64) int) string {
	var b strings.Builder
	for _, l := range all {
		switch {
		case l.known:
			b.WriteString(c.bar[min(max(height(l.most), 0), len(c.bar)-1)])
		case l.any:
			b.WriteString(human.NotKnown)
		default:
			b.WriteString(" ")
		}
	}
	return b.String()
}
