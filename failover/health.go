package failover

import (
	"strconv"
	"time"
)

// quickReturn is the time in which an answer after a down shows that the path
// had only stalled.
const quickReturn = 5 * time.Second

// goodFor begins the reason of a recovery.
const goodFor = "good for "

// verdict is what a path's facts amount to: the state to be in, and why.
type verdict struct {
	to     State
	reason string
}

// silent reports whether a state is one in which nothing is expected to answer.
func (s State) silent() bool { return s == Absent || s == Shunned || s == Down }

// judge moves a path through its states until its facts ask for no change. A
// chain is short: suspect, shunned and down can follow at once, no more.
func (e *Engine) judge(p *path) {
	for range 5 {
		v, changed := e.next(p)
		if !changed {
			break
		}
		e.transition(p, v)
	}
	p.cause = ""
	if p.burst.open && p.state != Suspect && p.answeredSince(p.burst.mark) {
		e.closeBurst(p)
	}
	e.goOn(p)
}

// next is the transition function: it tells the state that follows, if another.
func (e *Engine) next(p *path) (verdict, bool) {
	if v, barred := p.barred(); barred {
		if p.state == v.to && p.reason != v.reason {
			// The same state for another reason, such as a silence that became a cut.
			p.reason = v.reason
			p.recovery.stallUntil = never
			p.evidence = e.now
		}
		return v, p.state != v.to
	}
	switch p.state {
	case Absent:
		return verdict{Unknown, "offered now"}, true
	case Unknown, Up, Degraded, Recovering:
		return e.nextCarrying(p)
	case Suspect:
		return e.nextSuspect(p)
	case Shunned:
		return e.nextShunned(p)
	case Down:
		return p.nextDown()
	}
	panic("failover: unknown state " + strconv.Itoa(int(p.state)))
}

// nextCarrying judges a path that nothing speaks against so far.
func (e *Engine) nextCarrying(p *path) (verdict, bool) {
	if len(p.targets) == 0 {
		p.cause = ""
	}
	if p.cause != "" {
		return verdict{Suspect, p.cause}, true
	}
	switch p.state {
	case Unknown:
		if p.heardFrom() {
			return verdict{Up, p.answersNow()}, true
		}
	case Up:
		if why := p.over(e.now); why != "" {
			return verdict{Degraded, why}, true
		}
	case Degraded:
		if why := p.clear(e.now); why != "" {
			return verdict{p.good(), why}, true
		}
	case Recovering:
		if why := p.over(e.now); why != "" {
			return verdict{Degraded, why}, true
		}
		if e.now >= p.upAt() {
			return verdict{Up, goodFor + span(e.now-p.recovery.good)}, true
		}
	case Absent, Suspect, Shunned, Down:
	}
	return verdict{}, false
}

// heardFrom reports whether the path has answered since its mark; where nothing
// is probed, the link's being there is the answer.
func (p *path) heardFrom() bool { return len(p.targets) == 0 || p.answeredSince(p.mark) }

// good is the state of a path without fault: up, or recovering while it owes
// the proof of that since a down.
func (p *path) good() State {
	if p.recovery.owes {
		return Recovering
	}
	return Up
}

// back is the state to which a suspicion or a shunning ends by an answer.
func (p *path) back() State {
	if p.base == Unknown {
		return Up
	}
	return p.base
}

func (e *Engine) nextSuspect(p *path) (verdict, bool) {
	if p.heardFrom() {
		return verdict{p.back(), p.answersNow()}, true
	}
	if !p.burst.open {
		e.look(p)
	}
	if !p.burst.failed() {
		return verdict{}, false
	}
	if p.received >= p.suspectAt {
		// Established flows still receive: it may be the targets. Look again.
		p.suspectAt = e.now
		e.closeBurst(p)
		e.look(p)
		return verdict{}, false
	}
	return verdict{Shunned, p.answersFor(e.now)}, true
}

func (e *Engine) nextShunned(p *path) (verdict, bool) {
	switch {
	case p.heardFrom():
		return verdict{p.back(), p.answersNow()}, true
	case e.now >= p.downAt():
		return verdict{Down, p.answersFor(e.now)}, true
	}
	return verdict{}, false
}

// silentSince is the start of the present silence as far as it is known.
func (p *path) silentSince() Instant {
	if p.silent == never {
		return p.since
	}
	return p.silent
}

// downAt is when a shunned path's silence outlasts its patience.
func (p *path) downAt() Instant {
	return max(p.silentSince(), p.received) + p.patience.now
}

func (p *path) nextDown() (verdict, bool) {
	if !p.heardFrom() {
		return verdict{}, false
	}
	return verdict{Recovering, p.answersNow()}, true
}

// transition is the one place where a path's state changes.
func (e *Engine) transition(p *path, v verdict) {
	from, class := p.state, p.class()
	e.leave(p, from, v.to)
	if v.to == Suspect {
		p.baseReason, p.baseSince = p.reason, p.since
	}
	if !p.class().Answering() && v.to.Answering() && v.to != Suspect {
		e.came(p)
	}
	p.state, p.since, p.reason = v.to, e.now, v.reason
	if from == Suspect && v.to == p.base {
		p.since, p.reason = p.baseSince, p.baseReason
	}
	e.enter(p, from)
	// A mere suspicion ranks as what was before it.
	e.dirty = e.dirty || p.class() != class
	evidence := time.Duration(-1)
	if p.evidence != never {
		evidence = e.now - p.evidence
	}
	e.record(Record{Health: &HealthChange{
		Uplink: p.up.cfg.Name, Family: p.family, From: from, To: v.to, Reason: v.reason, Evidence: evidence,
	}})
	p.touched = true
}

// leave ends what belongs to the old state.
func (e *Engine) leave(p *path, from, to State) {
	p.cause = ""
	if to == Suspect || to == Shunned || to == Down {
		return
	}
	p.silent = never
	p.evidence = never
	if from == Suspect || from == Shunned {
		e.closeBurst(p)
	}
}

// enter begins what belongs to the new state.
func (e *Engine) enter(p *path, from State) {
	switch p.state {
	case Unknown, Absent:
		p.mark = e.seq
		p.recovery = noRecovery
	case Up:
		p.proven = true
		p.recovery = noRecovery
	case Degraded:
		p.proven = true
	case Suspect:
		e.enterSuspect(p, from)
	case Shunned:
		p.evidence = p.silent
		p.mark = e.seq
		p.fastNext = e.now
		e.closeBurst(p)
	case Down:
		e.enterDown(p, from)
	case Recovering:
		e.enterRecovering(p, from)
	}
}

func (e *Engine) enterSuspect(p *path, from State) {
	p.base = from
	p.suspectAt = e.now
	p.evidence = p.silent
	p.mark = e.seq
	p.patience.forget(e.now)
	e.look(p)
	if p.burst.open {
		p.mark = p.burst.mark
	}
	p.doubted = p.mark
	e.lookAround(p)
	e.settling = true
}

// answersNow tells how many targets have answered since the mark.
func (p *path) answersNow() string {
	if len(p.targets) == 0 {
		return "carrier and address are there"
	}
	n := p.count(func(t *target) bool { return t.answeredAt > p.mark && t.misses == 0 })
	return answers(n, p.active())
}

// answersFor tells how many targets answer, and for how long it is so.
func (p *path) answersFor(now Instant) string {
	n := p.count(func(t *target) bool { return t.answeredAt > p.doubted && t.misses == 0 })
	s := answers(n, p.active())
	if n > 0 {
		s += ", quorum " + strconv.Itoa(p.quorum()) + ","
	}
	if p.silent != never {
		s += " for " + span(now-p.silent)
	}
	return s
}

// nextVerdict is when a path's state may change by the passing of time alone.
func (e *Engine) nextVerdict(p *path) Instant {
	switch p.state {
	case Shunned:
		return max(p.downAt(), e.now+1)
	case Recovering:
		return max(p.upAt(), e.now+1)
	case Down:
		if p.probing && e.now < p.fastUntil {
			return p.fastUntil
		}
	case Unknown, Absent, Up, Degraded, Suspect:
	}
	return forever
}
