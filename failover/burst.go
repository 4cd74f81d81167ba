package failover

import "time"

// leastBurst is the least number of probes in a burst, however few the targets:
// at 5 % loss nine are all lost by chance once in 10^11 bursts.
const leastBurst = 9

// anotherRound is the pause before a burst that could not be sent in full is
// continued.
const anotherRound = 100 * time.Millisecond

// burst is a volley to all targets of a path. It ends when a quorum answers, or
// when all of it is late. Any probe that is sent meanwhile counts for it, so
// that regular probes complete it when the bucket cannot pay.
type burst struct {
	open   bool
	number uint32
	// rounds still to send, each to every target; next is when.
	rounds int
	next   Instant
	// out counts its probes in the air.
	out int
	// want is the number of probes that must be late, or answered without that
	// a quorum was reached, for the verdict.
	want, settled int
	// mark is the step after which answers count.
	mark uint64
	// ended is when the last one was closed.
	ended Instant
}

// look starts a burst on a path, unless there is one or nothing to be learnt.
func (e *Engine) look(p *path) {
	if p.burst.open || !p.probing || p.state.silent() || p.active() == 0 {
		return
	}
	active := p.active()
	rounds := max(p.up.cfg.Probe.Burst.Probes, (leastBurst+active-1)/active)
	p.burst = burst{
		open: true, number: p.burst.number + 1, rounds: rounds, next: e.now,
		want: rounds * active, mark: e.seq, ended: p.burst.ended,
	}
	p.touched = true
}

// closeBurst ends a burst, and cancels what is left of it.
func (e *Engine) closeBurst(p *path) {
	if p.burst.open {
		p.burst.open = false
		p.burst.ended = e.now
	}
}

// failed reports whether all of the burst is settled; what ends it well would
// have done so before.
func (b *burst) failed() bool { return b.open && b.settled >= b.want }

// settle counts a probe of the burst as late or answered.
func (b *burst) settle(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.settled++
		b.out--
	}
}

// vanish takes a probe off the burst that tells nothing.
func (b *burst) vanish(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.out--
	}
}

// spent reports whether nothing more is to come of the burst.
func (b *burst) spent() bool { return b.open && b.rounds == 0 && b.out <= 0 }

// goOn gives a suspicion another round where its burst could not be sent in
// full, and ends a mere look.
func (e *Engine) goOn(p *path) {
	switch {
	case !p.burst.spent() || p.burst.failed():
	case p.state == Suspect:
		p.burst.rounds = 1
		p.burst.next = e.now + anotherRound
	default:
		e.closeBurst(p)
	}
}

// spacing is the time between two extra probes to a target.
func (u *uplink) spacing() time.Duration { return max(u.cfg.Probe.Burst.Spacing, time.Millisecond) }

// sendBurst sends the rounds that are due.
func (e *Engine) sendBurst(p *path) {
	b := &p.burst
	if !b.open || b.rounds == 0 || e.now < b.next {
		return
	}
	b.rounds--
	b.next = e.now + p.up.spacing()
	for i := range p.targets {
		if !p.targets[i].aside && p.up.bucket.take(e.now) {
			e.ask(p, i, extra)
		}
	}
}

// lookAround follows a suspicion: the other family shares the path, and a
// candidate must be proven by the time the verdict falls.
func (e *Engine) lookAround(p *path) {
	e.reread(p.up)
	e.look(&p.up.paths[p.family.Other()])
	for _, pol := range e.policies {
		e.lookCandidates(pol.family[p.family].ladder, p)
	}
}

// candidates is how many of the best are looked at for each suspicion.
const candidates = 2

// lookCandidates looks at the best uplinks that would follow a suspected one.
func (e *Engine) lookCandidates(l Ladder, suspect *path) {
	if len(l.Rungs) == 0 || !l.Rungs[0].has(suspect.up.cfg.Name) {
		return
	}
	looked := 0
	for _, r := range l.Rungs {
		for _, s := range r.Shares {
			c := e.path(s.Uplink, suspect.family)
			if c == nil || c == suspect || !c.live() {
				continue
			}
			e.look(c)
			if looked++; looked == candidates {
				return
			}
		}
	}
}

// holds reports whether the rung holds a share's uplink.
func (r Rung) holds(s Share) bool { return r.has(s.Uplink) }

// has reports whether the rung holds an uplink.
func (r Rung) has(name string) bool {
	for _, s := range r.Shares {
		if s.Uplink == name {
			return true
		}
	}
	return false
}

// reread asks for the link's facts, at most once each 100 ms.
func (e *Engine) reread(u *uplink) {
	if e.now-u.reread >= 100*time.Millisecond {
		u.reread = e.now
		e.out.Reread = append(e.out.Reread, u.cfg.Name)
	}
}
