package failover

import "time"

const (
	// pauseSlack is how late a step may be before it counts as a pause of this
	// machine: timers usually are a millisecond or two late.
	pauseSlack = 5 * time.Millisecond
	// drainTime is left once to each probe after a pause, so that answers waiting
	// in the queues are read.
	drainTime = 20 * time.Millisecond
	// longPause is the pause after which probes in flight mean nothing.
	longPause = 3 * time.Second
)

// compensatePause moves open deadlines when a step comes later than the last one
// asked for: nothing was read in that time, so the silence is this machine's.
func (e *Engine) compensatePause(t *turn, late time.Duration) {
	for _, p := range e.paths {
		e.flights.postpone(p, t.now, late)
		p.postpone(t, late)
	}
	postponeLoads(e.selector.policies, late)
}

// postpone moves a path's silences and holds by the length of a pause. After a
// long pause it also forgets what was in flight: a silence that was being judged
// starts afresh, and targets on standby are probed at once.
func (p *path) postpone(t *turn, by time.Duration) {
	p.touched = true
	for _, at := range []*Instant{&p.silent, &p.evidence, &p.suspectAt, &p.received, &p.heard, &p.recovery.good, &p.schedule.fastUntil, &p.withdrawn} {
		if *at != never {
			*at += by
		}
	}
	p.gap.since += by
	if p.silent != never {
		p.paused += by
	}
	p.policing.postpone(t, p, by)
	if p.state == Shunned {
		p.drained = t.now + drainTime
	}
	if by < longPause {
		return
	}
	p.flush()
	p.burst.open = false
	switch p.state {
	case Suspect:
		p.evidence = never
		p.mark = t.step
	case Shunned:
		p.silent = t.now
	case Unknown, Absent, Up, Degraded, Down, Recovering:
	}
	for i := range p.targets {
		p.targets[i].next = min(p.targets[i].next, t.now)
	}
}
