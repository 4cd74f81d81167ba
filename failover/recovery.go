package failover

import (
	"math"
	"time"
)

// recovery is the proof that a path owes after a down.
type recovery struct {
	// owes: it was down and has not been up since.
	owes bool
	// good is since when it has been good, hold for how long it must be.
	good Instant
	hold time.Duration
	// began is the start of the outage; never where it is not known.
	began Instant
	// stallUntil is until when an answer shows that the path had only stalled, and
	// teaches patience; never where the down did not come by silence.
	stallUntil Instant
}

// noRecovery is that of a path that owes nothing.
var noRecovery = recovery{good: never, began: never, stallUntil: never}

// outageFactor makes a short outage owe a short proof.
const outageFactor = 10

func (e *Engine) enterDown(p *path, from State) {
	base := from
	if from == Suspect || from == Shunned {
		base = p.base
	}
	silence := p.up.known && !p.isBarred()
	p.recovery.began = e.now
	p.evidence = e.now
	if silence && p.silent != never {
		p.recovery.began = p.silent
		p.evidence = p.silent
	}
	p.recovery.owes = true
	p.recovery.stallUntil = never
	if base.Answering() {
		p.damping.add(e.now, p.up.cfg.Health.Damping)
	}
	p.mark = e.seq
	e.closeBurst(p)
	if silence {
		p.recovery.stallUntil = e.now + quickReturn
		p.fastUntil = e.now + quickReturn
		p.fastNext = e.now
	}
}

func (e *Engine) enterRecovering(p *path, from State) {
	r := &p.recovery
	if from != Down {
		if from != Suspect {
			r.good = e.now
		}
		return
	}
	after := e.cfg.Failback.After
	hold := after
	if r.began != never {
		hold = min(after, outageFactor*(e.now-r.began))
	}
	if unfinished := r.hold; r.good != never {
		hold = max(hold, min(unfinished, after))
	}
	r.good, r.hold = e.now, hold
	if e.now <= r.stallUntil {
		p.patience.double(e.now)
	}
	p.proven = true
	p.window.reset(len(p.targets))
}

// upAt is when a recovering path is up again, if nothing comes between.
func (p *path) upAt() Instant {
	return max(p.recovery.good+p.recovery.hold, p.damping.heldUntil)
}

// damping is the penalty for downs (RFC 2439): a point for each, halved each
// half-life, at most max. Over suppress the path is held until under reuse.
type damping struct {
	points    float64
	at        Instant
	heldUntil Instant
}

func (d *damping) add(now Instant, c Damping) {
	if c.HalfLife <= 0 || c.Suppress <= 0 {
		return
	}
	d.points = min(d.decayed(now, c)+1, max(c.Max, 1))
	d.at = now
	if d.points <= c.Suppress && now >= d.heldUntil {
		return
	}
	reuse := max(c.Reuse, 0.01)
	if d.points > reuse {
		d.heldUntil = now + time.Duration(float64(c.HalfLife)*math.Log2(d.points/reuse))
	}
}

func (d *damping) decayed(now Instant, c Damping) float64 {
	return d.points * math.Exp2(-float64(now-d.at)/float64(c.HalfLife))
}

const (
	// mostPatience bounds what patience can learn.
	mostPatience = 2 * time.Second
	// forgetting is the time without a stall after which patience halves.
	forgetting = 30 * 24 * time.Hour
)

// patience is the silence after which a shunned path is down. It is learnt
// upwards from the configured one by stalls, and forgotten by their absence.
type patience struct {
	least, now time.Duration
	changed    Instant
}

// configure sets the least patience, and keeps what was learnt above it.
func (p *patience) configure(least time.Duration) {
	if p.now == p.least {
		p.now = least
	}
	p.least = least
	p.now = max(p.now, least)
}

// restore takes over what was learnt before a restart.
func (p *patience) restore(now Instant, learnt time.Duration) {
	if learnt > p.now {
		p.now = max(p.least, min(learnt, mostPatience))
		p.changed = now
	}
}

func (p *patience) double(now Instant) {
	p.forget(now)
	p.now = max(p.least, min(2*p.now, mostPatience))
	p.changed = now
}

// forget halves what was learnt for each month that passed since.
func (p *patience) forget(now Instant) {
	for p.now > p.least && now-p.changed >= forgetting {
		p.now = max(p.least, p.now/2)
		p.changed += forgetting
	}
}
