package failover

import "time"

// Regular probes leave at fixed points of the caller's clock, so that a late
// step delays one probe and not all that follow. Within the interval a family's
// targets are spread evenly; the second family stands half a step beside the
// first, and each uplink a little beside the one before, so that no two probes
// leave together and a fault meets one soon.

const (
	// fastRound is the time in which a shunned path's targets are all probed,
	// slowRound the same for the first seconds of a down.
	fastRound = 50 * time.Millisecond
	slowRound = 100 * time.Millisecond
	// leastFast bounds the rate of fast probing where there are many targets.
	leastFast = 5 * time.Millisecond
)

// rhythm sets a path's interval and phase, and moves its next probes to them.
func (e *Engine) rhythm(p *path, standby bool) {
	interval := p.up.cfg.Probe.Interval
	if standby {
		interval = max(interval, p.up.cfg.Probe.StandbyInterval)
	}
	interval = max(interval, time.Millisecond)
	phase := e.phaseOf(p, interval)
	if interval == p.interval && phase == p.phase {
		return
	}
	p.interval, p.phase = interval, phase
	for i := range p.targets {
		if t := &p.targets[i]; t.next > e.now {
			t.next = p.slot(i, e.now)
		}
	}
	p.touched = true
}

// phaseOf is where a path's first target stands within the interval.
func (e *Engine) phaseOf(p *path, interval time.Duration) time.Duration {
	n := len(p.targets)
	o := len(p.up.paths[p.family.Other()].targets)
	step := interval / time.Duration(max(1, n, o))
	if n > 0 && o > 0 {
		step = interval / time.Duration(2*n/gcd(n, o)*o)
	}
	phase := step * time.Duration(p.up.index) / time.Duration(len(e.uplinks))
	if p.family == IPv6 && o > 0 {
		phase += step
	}
	return phase
}

// slot is the first regular instant of a target after another instant.
func (p *path) slot(target int, after Instant) Instant {
	at := p.phase + p.interval*time.Duration(target)/time.Duration(len(p.targets))
	at %= p.interval
	return after - (after-at+p.interval)%p.interval + p.interval
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// startProbing probes each target at once, and from then on by the schedule.
func (e *Engine) startProbing(p *path) {
	p.probing = true
	for i := range p.targets {
		p.targets[i].next = e.now
	}
	p.fastNext = e.now + slowRound
	p.touched = true
}

// stopProbing voids what is in the air.
func (e *Engine) stopProbing(p *path) {
	p.probing = false
	p.flush()
	e.closeBurst(p)
	p.touched = true
}

// send requests the probes that are due, sets when each path is due next, and
// returns when the first one is.
func (e *Engine) send() Instant {
	first := forever
	for _, p := range e.paths {
		if p.touched || p.due <= e.now {
			e.sendBy(p)
		}
		first = min(first, p.due)
	}
	return first
}

func (e *Engine) sendBy(p *path) {
	p.touched = false
	if p.probing {
		e.sendBurst(p)
		e.sendFast(p)
		e.sendRegular(p)
		e.sendAsked(p)
	}
	p.due = e.nextDue(p)
}

func (e *Engine) sendRegular(p *path) {
	for i := range p.targets {
		if t := &p.targets[i]; e.now >= t.next {
			t.next = p.slot(i, e.now)
			e.ask(p, i, regular)
		}
	}
}

// hurry is the round of fast probing that a path is in; 0 for none.
func (p *path) hurry(now Instant) time.Duration {
	switch {
	case p.state == Shunned:
		return fastRound
	case p.state == Down && now < p.fastUntil:
		return slowRound
	}
	return 0
}

// sendFast probes one target after the other while an answer is longed for.
func (e *Engine) sendFast(p *path) {
	round := p.hurry(e.now)
	if round == 0 || e.now < p.fastNext || p.active() == 0 {
		return
	}
	p.fastNext = e.now + max(leastFast, round/time.Duration(p.active()))
	for range p.targets {
		p.fastTurn = (p.fastTurn + 1) % len(p.targets)
		if !p.targets[p.fastTurn].aside {
			break
		}
	}
	if p.up.bucket.take(e.now) {
		e.ask(p, p.fastTurn, fast)
	}
}

// acquaintance is how many extra probes a target gets when it first answers. RFC 6298
// begins with a deviation of half the RTT, and takes a quarter off with each answer:
// by the schedule alone a path would be left late for its first ten seconds.
const acquaintance = 4

// getToKnow asks a target that has just answered for the first time a few times more.
func (e *Engine) getToKnow(p *path, t *target) {
	t.ask = acquaintance
	t.askNext = e.now + p.up.spacing()
}

func (e *Engine) sendAsked(p *path) {
	for i := range p.targets {
		t := &p.targets[i]
		if t.ask == 0 || e.now < t.askNext {
			continue
		}
		t.ask--
		t.askNext = e.now + p.up.spacing()
		if p.up.bucket.take(e.now) {
			e.ask(p, i, extra)
		}
	}
}

// nextDue is the next instant at which something happens on a path by itself.
func (e *Engine) nextDue(p *path) Instant {
	due := min(e.nextDeadline(p), e.nextVerdict(p))
	if !p.probing {
		return due
	}
	for i := range p.targets {
		t := &p.targets[i]
		due = min(due, t.next)
		if t.ask > 0 {
			due = min(due, t.askNext)
		}
	}
	if p.burst.open && p.burst.rounds > 0 {
		due = min(due, p.burst.next)
	}
	if p.hurry(e.now) != 0 && p.active() > 0 {
		due = min(due, max(p.fastNext, e.now+1))
	}
	return due
}
