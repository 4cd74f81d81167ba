package failover

import "time"

const (
	// pauseSlack is how late a step may come before it counts as a pause of
	// this machine: timers are a millisecond or two late as a rule.
	pauseSlack = 5 * time.Millisecond
	// drainTime is left once to each probe after a pause, for the answers that
	// wait in the queues to be read.
	drainTime = 20 * time.Millisecond
	// longPause is the pause after which what was in the air tells nothing.
	longPause = 3 * time.Second
)

// notePause moves open deadlines when a step comes later than the last one
// asked for: nobody was looking meanwhile, so that the silence is our own.
func (e *Engine) notePause(at Instant) {
	late := at - e.wake
	if late <= pauseSlack {
		return
	}
	for _, p := range e.paths {
		e.shift(p, at, late)
		if late >= longPause {
			e.wakeAfresh(p, at)
		}
		p.touched = true
	}
}

// shift moves a path's open deadlines and silences by a pause.
func (e *Engine) shift(p *path, at Instant, by time.Duration) {
	for _, id := range p.open {
		f := e.flights.get(id)
		if f == nil {
			continue
		}
		if f.sent == never {
			f.asked += by
			continue
		}
		f.lateAt += by
		f.lostAt += by
		if !f.spared {
			f.spared = true
			f.lateAt = max(f.lateAt, at+drainTime)
			f.lostAt = max(f.lostAt, at+drainTime)
		}
	}
	for _, t := range []*Instant{&p.silent, &p.evidence, &p.suspectAt, &p.recovery.good, &p.fastUntil} {
		if *t != never {
			*t += by
		}
	}
	if p.state == Shunned {
		p.silent = max(p.silent, at+drainTime-p.patience.now)
	}
}

// wakeAfresh forgets what was in the air before a long pause. A silence that
// was judged begins anew; what stands by asks its targets at once.
func (e *Engine) wakeAfresh(p *path, at Instant) {
	p.flush()
	p.burst.open = false
	switch p.state {
	case Suspect:
		p.evidence = never
		p.mark = e.seq
	case Shunned:
		p.silent = at
	case Unknown, Absent, Up, Degraded, Down, Recovering:
	}
	for i := range p.targets {
		p.targets[i].next = min(p.targets[i].next, at)
	}
}
