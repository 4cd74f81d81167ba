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
	// reaching a quorum; counted is how many are.
	want, counted int
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
	p.touched = true
}

// roundDue reports whether a round is to be sent now, and plans the next one.
func (b *burst) roundDue(now Instant, spacing time.Duration) bool {
	if !b.open || b.rounds == 0 || now < b.next {
		return false
	}
	b.rounds--
	b.next = now + spacing
	return true
}

// include makes a probe one of the burst's.
func (b *burst) include(f *flight) {
	f.burst = b.number
	b.out++
}

// count counts a probe of the burst that is late or answered.
func (b *burst) count(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.counted++
		b.out--
	}
}

// withdraw takes back a probe of the burst that is evidence of nothing.
func (b *burst) withdraw(f *flight) {
	if b.open && f.burst == b.number && !f.late {
		b.out--
	}
}

// failed reports whether all of the burst is counted; an answering quorum would
// have closed it before.
func (b *burst) failed() bool { return b.open && b.counted >= b.want }

// spent reports whether no probe of the burst is in flight or still to be sent.
func (b *burst) spent() bool { return b.open && b.rounds == 0 && b.out <= 0 }

// close ends the burst; rounds that were not sent are cancelled.
func (b *burst) close(now Instant) {
	if b.open {
		b.open = false
		b.ended = now
	}
}
