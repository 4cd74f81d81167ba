package failover

import (
	"fmt"
	"time"
)

// A line can answer and still be of no use: where most packets are lost no session lives.
// Such a brown-out is a down, though answers come, and lasts until the loss has ended. The
// path keeps a rank above those that are silent: some packets are better than none.

const (
	// brownSpan is the time over which the loss of a brown-out is taken, or that of
	// leastSamples probes where it is longer.
	brownSpan = 20 * time.Second
	// gaspFor is how long after an answer a path in a brown-out counts as one that
	// answers.
	gaspFor = 2 * time.Second
)

// brownOut is a down by loss.
type brownOut struct {
	// open: the loss has not ended.
	open bool
	// heard: something was answered lately.
	heard bool
}

// unusable returns, in words, that so much is lost that sessions cannot live; empty where
// it is not so, or where the probes alone may be lost: since the uplink's own traffic fills the
// line or its queue, or as no trial has shown that they are not policed.
func unusable(p *path, now Instant) string {
	limit := p.up.cfg.Health.Unusable
	l := &p.policing
	if limit == 0 || float64(p.window.total.lost) <= limit*leastSamples || l.paced() || l.stage != noTrial || p.delay >= leastQueueing ||
		l.unpoliced == never || now >= l.unpoliced+retryAfter+answerWithin {
		return ""
	}
	lost, n := p.window.tail(now)
	if n < leastSamples || float64(lost) <= limit*float64(n) || p.window.queued(now) || p.up.meter.busyAt > 0 && now < p.up.meter.busyAt+brownSpan {
		return ""
	}
	return fmt.Sprintf("loss %s over %s, unusable over %s", percent(float64(lost)/float64(n)), span(brownSpan), percent(limit))
}

// usableAgain returns, in words, that a brown-out has ended; empty where it has not.
func usableAgain(p *path, now Instant) string {
	clear := p.up.cfg.Health.Loss.Clear
	if p.up.cfg.Health.Loss.Never {
		clear = p.up.cfg.Health.Unusable / 10
	}
	lost, n := p.window.tail(now)
	if n < leastSamples || float64(lost) > clear*float64(n) || !p.brown.heard {
		return ""
	}
	return fmt.Sprintf("loss %s over %s, up again under %s", percent(float64(lost)/float64(n)), span(brownSpan), percent(clear))
}

// gasp keeps whether a path in a brown-out answers at all, and reports whether that has
// changed.
func (b *brownOut) gasp(now, answered Instant) bool {
	heard := b.open && now < answered+gaspFor
	changed := heard != b.heard
	b.heard = heard
	return changed
}

// queued reports whether answers of the last brownSpan took so much longer than the quickest
// one that a queue delays them: then it is the uplink's own traffic that crowds probes out.
func (w *window) queued(now Instant) bool {
	least, sum, n := time.Duration(0), time.Duration(0), 0
	for s := range w.latest() {
		if s.rtt == 0 {
			continue
		}
		if least == 0 || s.rtt < least {
			least = s.rtt
		}
		if now-s.at <= brownSpan {
			sum += s.rtt
			n++
		}
	}
	return n > 0 && sum/time.Duration(n) > least+least/2+granularity
}

// tail counts the samples of the last brownSpan, or the latest leastSamples.
func (w *window) tail(now Instant) (lost, n int) {
	for s := range w.latest() {
		if now-s.at > brownSpan && n >= leastSamples {
			break
		}
		n++
		if s.rtt == 0 {
			lost++
		}
	}
	return lost, n
}
