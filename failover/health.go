package failover

import (
	"cmp"
	"strconv"
	"time"
)

// quickReturn is the time in which an answer after a down shows that the path
// had only stalled.
const quickReturn = 5 * time.Second

// goodFor begins the reason of a recovery.
const goodFor = "good for "

// verdict is what the facts about a path amount to: the state to be in, and why.
type verdict struct {
	to     State
	reason string
}

// consequences are what a path's verdicts ask of other paths.
type consequences struct {
	// suspected: the path's other family and possible successors are to be probed.
	suspected bool
	// answers: the path began to answer, so the silent ones of its family get a
	// last call.
	answers bool
}

// judge moves the path through its states as the facts ask for it.
func (p *path) judge(t *turn) consequences {
	p.touched = true
	learn(p, t.now)
	if p.brown.gasp(t.now, p.answered) {
		t.reselect = true
	}
	// A gateway that is withdrawn for long makes the path suspect, once: probes then
	// decide whether it still works.
	if p.withdrawn != never && !p.looked && t.now >= p.withdrawn+lookAfter && p.schedule.probing {
		p.looked = true
		if p.cause == "" && p.class().Answering() && p.state != Suspect {
			p.cause = "the route to the gateway is gone for " + span(t.now-p.withdrawn)
		}
	}
	all := settle(p, t)
	p.cause = ""
	p.policing.review(t, p)
	if p.state == Shunned && t.now >= p.downAt() { // it is paced no longer, so nothing more is waited for
		all = all.and(settle(p, t))
	}
	if p.state != Suspect && p.burst.open && p.answeredSince(p.burst.mark) {
		p.burst.close(t.now)
	}
	if p.burst.spent() && !p.burst.failed() {
		// Not all of it could be sent. A suspicion needs the rest; otherwise
		// nothing more is to be learnt.
		if p.state == Suspect {
			p.burst.rounds = 1
			p.burst.next = t.now + anotherRound
		} else {
			p.burst.close(t.now)
		}
	}
	return all
}

// settle moves the path from state to state until the facts ask for no change. A chain is
// short: suspect, shunned and down can follow at once, no more.
func settle(p *path, t *turn) (all consequences) {
	for range 5 {
		v, changed := p.next(t)
		if !changed {
			break
		}
		all = all.and(p.transition(t, v))
	}
	return all
}

// and joins the consequences of two verdicts.
func (c consequences) and(o consequences) consequences {
	return consequences{suspected: c.suspected || o.suspected, answers: c.answers || o.answers}
}

// next is the transition function: it returns the state that follows, and
// whether that is another one.
func (p *path) next(t *turn) (verdict, bool) {
	if p.gap.open && t.now >= p.downAt() {
		p.gap = gap{outlasted: p.gap.sources}
	}
	if v, barred := p.barred(); barred {
		if p.state == v.to && p.reason != v.reason {
			// The same state for another reason, such as a silence that became a cut.
			p.reason = v.reason
			if l := &p.up.link; p.recovery.lacked == nil || !l.Present || !l.AdminUp || !l.Carrier {
				p.recovery.stallUntil = never
			}
			p.evidence = t.now
		}
		return v, p.state != v.to
	}
	if p.gap.healed && p.state == Shunned {
		return verdict{p.base, "the address is back"}, true
	}
	if v, changed := p.nextBlind(t); changed {
		return v, true
	}
	switch p.state {
	case Absent:
		return verdict{Unknown, "offered now"}, true
	case Unknown, Up, Degraded, Recovering:
		return p.nextCarrying(t.now)
	case Suspect, Shunned:
		return p.nextDoubted(t)
	case Down:
		if p.brown.open {
			why := usableAgain(p, t.now)
			return verdict{Recovering, why}, why != ""
		}
		if p.answersSinceMark() {
			return verdict{Recovering, p.answersNow()}, true
		}
		return verdict{}, false
	}
	panic("failover: unknown state " + strconv.Itoa(int(p.state)))
}

// barred returns the state that the configuration or the link alone impose on a
// path, whatever answers; false where they impose none. While the link is not
// known the path stays what it is.
func (p *path) barred() (verdict, bool) {
	l, f := &p.up.link, p.family
	offered := l.Family[f].Offered()
	other := &p.up.paths[f.Other()]
	switch {
	case !p.cfg.Enabled:
		return verdict{Absent, f.title() + " is turned off"}, true
	case !p.up.cfg.Enabled:
		return verdict{Unknown, "disabled"}, true
	case !p.up.known:
		return verdict{p.state, p.reason}, true
	case !offered && !p.seen && other.seen:
		return verdict{Absent, "no " + f.title() + " is offered"}, true
	case !l.Present:
		return verdict{Down, p.up.interfaceIs("missing")}, true
	case !l.AdminUp:
		return verdict{Down, p.up.interfaceIs("switched off")}, true
	case !l.Carrier:
		return verdict{Down, "no carrier"}, true
	case l.VRF != "":
		return verdict{Down, p.up.interfaceIs("in the VRF " + l.VRF)}, true
	case offered:
		return verdict{}, false
	}
	v := verdict{Down, "no gateway"}
	if len(l.Family[f].Sources()) == 0 {
		v.reason = "no address"
	}
	if p.gap.open {
		v.to = Shunned
	}
	return v, true
}

// usable reports whether neither the configuration nor the link bar the path, so
// that it is worth probing.
func (p *path) usable() bool {
	_, barred := p.barred()
	return p.up.known && !barred
}

// nextCarrying judges a path on which traffic may be.
func (p *path) nextCarrying(now Instant) (verdict, bool) {
	if len(p.targets) == 0 {
		p.cause = ""
	}
	if p.cause != "" {
		return verdict{Suspect, p.cause}, true
	}
	health := &p.up.cfg.Health
	if p.state != Unknown {
		if why := unusable(p, now); why != "" {
			p.brown = brownOut{open: true, heard: true}
			return verdict{Down, why}, true
		}
	}
	switch p.state {
	case Unknown:
		if p.answersSinceMark() {
			return verdict{p.recovery.afterUnknown(), p.answersNow()}, true
		}
	case Up:
		if why := p.limits.exceeded(&p.window, health, now); why != "" {
			return verdict{Degraded, why}, true
		}
	case Degraded:
		if why := p.limits.cleared(&p.window, health, p.since, now); why != "" {
			if p.recovery.owes {
				return verdict{Recovering, why}, true
			}
			return verdict{Up, why}, true
		}
	case Recovering:
		if why := p.limits.exceeded(&p.window, health, now); why != "" {
			return verdict{Degraded, why}, true
		}
		if now >= p.upAt() {
			if p.recovery.hold == 0 {
				return verdict{Up, p.reason}, true
			}
			return verdict{Up, goodFor + span(now-p.recovery.good)}, true
		}
	case Absent, Suspect, Shunned, Down:
	}
	return verdict{}, false
}

// nextDoubted judges a suspicion, and a silence that may still be a stall: the
// first answer ends both, a failed burst or the patience makes them worse.
func (p *path) nextDoubted(t *turn) (verdict, bool) {
	if p.answersSinceMark() {
		back := p.base
		if back == Unknown {
			back = p.recovery.afterUnknown()
		}
		return verdict{back, p.answersNow()}, true
	}
	if p.state == Shunned {
		if t.now >= p.up.rereadAt+listenAgain {
			p.up.reread(t) // what flows receive postpones the down
		}
		if t.now >= p.downAt() {
			if p.unsent.blind {
				return verdict{Down, p.reason}, true
			}
			return verdict{Down, p.answersFor(t.now)}, true
		}
		return verdict{}, false
	}
	p.startBurst(t)
	if p.unsent.blind {
		return p.nextWitnessed(t)
	}
	if p.policing.paced() && p.burst.concluded > 0 && p.unsent.unanswered >= p.suspectAt && p.heard < p.suspectAt {
		return verdict{Shunned, "traffic leaves and nothing returns for " + span(t.now-p.silentSince())}, true
	}
	if !p.burst.failed() {
		return verdict{}, false
	}
	if p.received >= p.suspectAt && t.now < p.silentSince()+mostReceiving {
		// Established flows still receive: it may be the targets. Probe again.
		p.suspectAt = t.now
		p.up.reread(t)
		p.burst.close(t.now)
		p.startBurst(t)
		return verdict{}, false
	}
	if t.now < p.silentSince()+p.heldOff {
		return verdict{}, false // this line is often silent for so long
	}
	return verdict{Shunned, p.answersFor(t.now)}, true
}

// answersSinceMark reports whether the path has answered since its mark. Where
// nothing is probed, that the link is there is the answer.
func (p *path) answersSinceMark() bool { return len(p.targets) == 0 || p.answeredSince(p.mark) }

// silentSince is the start of the present silence as far as it is known.
func (p *path) silentSince() Instant {
	if p.silent == never {
		return p.since
	}
	return p.silent
}

// downAt is when a shunned path's silence outlasts its patience.
func (p *path) downAt() Instant {
	if p.gap.open {
		return p.gap.end(max(p.patience.now(), p.lapses.now()), p.up.link.Family[p.family].Pending)
	}
	wait := p.patience.now()
	if p.delay >= leastQueueing {
		wait += p.delay // the first unanswered probe may be answered as late as the last one
	}
	since := p.silentSince()
	at := max(since, min(p.heard, since+mostReceiving)) + wait
	at = max(at, p.drained)
	if p.delay >= leastQueueing {
		// What a filling queue keeps or drops is no down at the moment of the shunning,
		// which comes first and can be taken back.
		at = max(at, p.since+wait)
	}
	if p.policing.paced() {
		// The shunning came late, since probes are rare. Some more have to be lost.
		at = max(at, p.since+max(p.patience.now(), 2*p.policing.gap))
	}
	return at
}

// upAt is when a recovering path is up again, unless something else happens.
func (p *path) upAt() Instant {
	return max(p.recovery.good+p.recovery.hold, p.damping.heldUntil)
}

// transition is the one place where a path's state changes: it ends what belongs
// to the old state, and begins what belongs to the new one.
func (p *path) transition(t *turn, v verdict) consequences {
	from, class := p.state, p.class()
	p.cause = ""
	if (from == Shunned || from == Down) && v.to.Answering() && p.silent != never && !p.gap.healed {
		p.policing.silenceEnded(t.now, t.now-p.silent)
	}
	if v.to.Answering() && v.to != Suspect {
		silenceEnded(p, t.now)
	}
	if v.to != Suspect && v.to != Shunned && v.to != Down {
		p.silent, p.paused = never, 0
		p.evidence = never
		if from == Suspect || from == Shunned {
			p.burst.close(t.now)
		}
	}
	doubt := v.to == Suspect || v.to == Shunned && from != Suspect
	if doubt {
		p.baseReason, p.baseSince = p.reason, p.since
	}
	follow := consequences{
		suspected: doubt,
		answers:   !class.Answering() && v.to.Answering() && v.to != Suspect,
	}
	if follow.answers {
		p.cameAt = t.now
	}
	if from == Down {
		p.brown = brownOut{}
	}
	p.state, p.since, p.reason = v.to, t.now, v.reason
	if (from == Suspect || p.gap.healed) && v.to == p.base {
		p.since, p.reason = p.baseSince, p.baseReason
	}
	if from == Shunned && v.to == Degraded && p.base == Degraded {
		p.reason = p.baseReason // why it is degraded, not that it answers
	}
	p.enter(t, from)
	p.gap.healed = false
	// A mere suspicion is ranked as the state before it.
	t.reselect = t.reselect || p.class() != class
	evidence := time.Duration(-1)
	if p.evidence != never {
		evidence = t.now - p.evidence
	}
	t.record(Record{Health: &HealthChange{
		Uplink: p.up.cfg.Name, Family: p.family, From: from, To: v.to, Reason: v.reason, Evidence: evidence, Paused: p.paused,
		Doubt: v.to == Suspect || from == Suspect && v.to == p.base,
	}})
	p.touched = true
	return follow
}

// degradedBy is why a path is degraded now; then is why it became so.
func degradedBy(p *path, then string, now Instant) string {
	return cmp.Or(p.limits.holding(&p.window, &p.up.cfg.Health, now), then)
}

// enter begins what belongs to the new state.
func (p *path) enter(t *turn, from State) {
	switch p.state {
	case Unknown, Absent:
		p.mark = t.step
		// A path whose probes cannot be sent is what it was, for all that is known.
		if !p.unsent.blind {
			p.vouched = false
		}
		if !p.unsent.blind || from == Down {
			p.recovery = p.recovery.forStart()
		}
	case Up:
		p.proven = true
		p.recovery = noRecovery
	case Degraded:
		p.proven = true
	case Suspect:
		p.enterSuspect(t, from)
	case Shunned:
		p.enterShunned(t, from)
	case Down:
		p.enterDown(t, from)
	case Recovering:
		if from != Down && p.recovery.inherited && p.recovery.good == never {
			p.recovery.begin(t.now, p.up.failbackAfter)
			p.proven = true
		}
		switch from {
		case Down:
			if stalled := p.recovery.begin(t.now, p.up.failbackAfter); stalled && p.recovery.lapsed(p.up.link.Family[p.family].Sources()) {
				p.lapses.forget(t.now)
				p.lapses.raise(t.now, 2*p.lapses.now())
			}
			p.proven = true
			p.window.reset(len(p.targets))
		case Suspect:
		case Unknown, Absent, Up, Degraded, Shunned, Recovering:
			if !p.gap.healed {
				p.recovery.good = t.now
			}
		}
	}
}

func (p *path) enterSuspect(t *turn, from State) {
	p.base = from
	p.suspicions++
	p.suspectAt = t.now
	p.evidence = p.silent
	p.mark = t.step
	p.patience.forget(t.now)
	p.startBurst(t)
	if p.burst.open {
		p.mark = p.burst.mark
	}
	p.doubted = p.mark
	p.up.reread(t)
}

func (p *path) enterShunned(t *turn, from State) {
	if from != Suspect {
		p.base = from
		p.suspectAt, p.doubted = t.now, t.step
		p.silent = p.gap.since
	}
	p.evidence = p.silent
	p.mark = t.step
	p.schedule.fastNext = t.now
	p.burst.close(t.now)
}

func (p *path) enterDown(t *turn, from State) {
	base := from
	if from == Suspect || from == Shunned {
		base = p.base
	}
	silence := p.usable() && !p.brown.open
	p.recovery.owes = true
	p.recovery.warmingUp = silence && warmingUp(p)
	p.recovery.began = t.now
	p.recovery.stallUntil = never
	p.evidence = t.now
	switch {
	case p.brown.open:
		p.evidence = never
	case p.silent != never:
		p.recovery.began = p.silent
		p.evidence = p.silent
	}
	if p.recovery.inherited {
		p.recovery.began = never // it is the outage of before the restart that goes on
	}
	p.recovery.lacked, p.gap.outlasted = p.gap.outlasted, nil
	if p.recovery.lacked != nil {
		p.recovery.stallUntil = t.now + quickReturn
	}
	if silence {
		p.recovery.stallUntil = t.now + quickReturn
		p.schedule.fastUntil = t.now + quickReturn
		p.schedule.fastNext = t.now
	}
	if base.Answering() && !p.recovery.warmingUp {
		p.damping.add(t.now, p.up.cfg.Health.Damping)
	}
	p.mark = t.step
	p.burst.close(t.now)
}

// answersNow formats how many targets have answered since the mark.
func (p *path) answersNow() string {
	if len(p.targets) == 0 {
		return "carrier and address are there"
	}
	return answers(p.targets.answered(p.mark), p.targets.active())
}

// answersFor formats how many targets answer, and for how long it has been so.
func (p *path) answersFor(now Instant) string {
	n := p.targets.answered(p.doubted)
	s := answers(n, p.targets.active())
	if n > 0 {
		s += ", quorum " + strconv.Itoa(p.quorum()) + ","
	}
	if p.silent != never {
		s += " for " + span(now-p.silent)
	}
	if fault, ok := p.targets.portal(); ok && n == 0 {
		s += ": " + fault.Cause
	}
	return s
}

// answers formats how many targets answer: "0 of 3 targets answer".
func answers(n, of int) string {
	s := strconv.Itoa(n) + " of " + strconv.Itoa(of) + " target"
	if of != 1 {
		s += "s"
	}
	if n == 1 {
		return s + " answers"
	}
	return s + " answer"
}
