package failover

import "time"

// leastBurst is the least number of probes in a burst, however few the targets:
// at 5 % loss nine in a row are lost by chance once in 10^11 bursts.
const leastBurst = 9

// anotherRound is the delay before a burst that could not be sent in full is
// continued.
const anotherRound = 100 * time.Millisecond

// burst is a volley to all targets of a path. It ends when a quorum answers, or
// when all of it is late. Any probe that is sent meanwhile counts for it, so
// that regular probes complete it when the bucket is empty.
type burst struct {
	open   bool
	number uint32
	// rounds still to send, each to every target; next is when.
	rounds int
	next   Instant
	// out counts its probes in flight.
	out int
	// The burst has failed when want probes are late, or were answered without
	// reaching a quorum; concluded is how many are.
	want, concluded int
	// mark is the step after which answers count.
	mark uint64
	// ended is when the last one was closed.
	ended Instant
}

// startBurst starts a burst, unless one is open or there is nothing to learn.
func (p *path) startBurst(t *turn) {
	if p.burst.open || !p.schedule.probing || p.state.silent() {
		return
	}
	active := p.targets.active()
	if active == 0 {
		return
	}
	rounds := max(p.up.cfg.Probe.Burst.Probes, (leastBurst+active-1)/active)
	p.burst = burst{
		open: true, number: p.burst.number + 1, rounds: rounds, next: t.now,
		want: rounds * active, mark: t.step, ended: p.burst.ended,
	}
	if p.policing.paced() {
		p.burst.want = max(pacedBurst, p.quorum()+1)
		p.burst.rounds = p.burst.want
	}
	p.touched = true
}

// include makes a probe one of the burst's.
func (b *burst) include(f *flight) {
	f.burst = b.number
	b.out++
}

// conclude counts a probe of the burst that is late or answered.
func (b *burst) conclude(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.concluded++
		b.out--
	}
}

// withdraw takes back a probe of the burst that is evidence of nothing.
func (b *burst) withdraw(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.out--
	}
}

// failed reports whether all of the burst is concluded; an answering quorum would
// have closed it before.
func (b *burst) failed() bool { return b.open && b.concluded >= b.want }

// spent reports whether no probe of the burst is in flight or still to be sent.
func (b *burst) spent() bool { return b.open && b.rounds == 0 && b.out <= 0 }

// close ends the burst; rounds that were not sent are cancelled.
func (b *burst) close(now Instant) {
	if b.open {
		b.open = false
		b.ended = now
	}
}

const (
	// fastRound is the time in which all targets of a shunned path are probed,
	// slowRound the same for the first seconds of a down.
	fastRound = 50 * time.Millisecond
	slowRound = 100 * time.Millisecond
	// leastFast bounds the rate of fast probing where there are many targets.
	leastFast = 5 * time.Millisecond
)

// fastInterval is the time within which each target is probed; 0 where the schedule
// is enough.
func fastInterval(p *path, now Instant) time.Duration {
	switch {
	case p.state == Shunned || p.state == Suspect && p.burst.failed():
		return fastRound
	case p.state == Down && now < p.schedule.fastUntil:
		return slowRound
	}
	return 0
}

// send requests the probes that are due: the round of a burst, the next fast one,
// the regular ones, and inquiries. All but the regular ones are limited by the
// uplink's bucket.
func (p *path) send(t *turn, fs *flights) {
	s := &p.schedule
	if !s.probing {
		return
	}
	p.policing.send(t, p, fs)
	if p.policing.paced() {
		p.policing.sendPaced(t, p, fs)
		return
	}
	if b := &p.burst; b.open && b.rounds > 0 && t.now >= b.next {
		b.rounds--
		b.next = t.now + p.up.spacing()
		for i := range p.targets {
			if !p.targets[i].aside && p.up.bucket.spend(t.now) {
				fs.request(t, p, i, extra)
			}
		}
	}
	if round := fastInterval(p, t.now); round > 0 && t.now >= s.fastNext {
		if active := p.targets.active(); active > 0 {
			s.fastNext = t.now + max(leastFast, round/time.Duration(active))
			for range p.targets {
				s.fastTurn = (s.fastTurn + 1) % len(p.targets)
				if !p.targets[s.fastTurn].aside {
					break
				}
			}
			if p.up.bucket.spend(t.now) {
				fs.request(t, p, s.fastTurn, fast)
			}
		}
	}
	for i := range p.targets {
		if tg := &p.targets[i]; t.now >= tg.next {
			tg.next = s.slot(i, len(p.targets), t.now)
			fs.request(t, p, i, regular)
		}
	}
	for i := range p.targets {
		tg := &p.targets[i]
		if tg.ask == 0 || t.now < tg.askNext {
			continue
		}
		tg.ask--
		tg.askNext = t.now + p.up.spacing()
		if p.up.bucket.spend(t.now) {
			fs.request(t, p, i, extra)
		}
	}
}

// plan ends the path's part of a step: it sets when the next probe or verdict is
// due. deadline is the next one of its probes in flight.
func (p *path) plan(now, deadline Instant) {
	p.touched = false
	due := deadline
	switch p.state {
	case Shunned:
		due = min(due, max(p.downAt(), now+1))
	case Recovering:
		due = min(due, max(p.upAt(), now+1))
	case Down:
		if p.brown.heard {
			due = min(due, max(p.answered+gaspFor, now+1))
		}
		if p.schedule.probing && now < p.schedule.fastUntil {
			due = min(due, p.schedule.fastUntil)
		}
	case Suspect:
		if p.burst.failed() {
			due = min(due, max(p.silentSince()+p.heldOff, now+1))
		}
	case Unknown, Absent, Up, Degraded:
	}
	if p.silences.lesson.due != never {
		due = min(due, max(p.silences.lesson.due, now+1))
	}
	due = min(due, max(p.unsent.due(p), now+1))
	if p.schedule.probing {
		if p.withdrawn != never && !p.looked {
			due = min(due, max(p.withdrawn+lookAfter, now+1))
		}
		due = min(due, p.policing.plan(now, p))
	}
	if p.schedule.probing && !p.policing.paced() {
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
		if fastInterval(p, now) != 0 && p.targets.active() > 0 {
			due = min(due, max(p.schedule.fastNext, now+1))
		}
	}
	p.due = due
}
