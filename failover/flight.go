package failover

import "time"

// probeKind tells why a probe was sent.
type probeKind uint8

const (
	// regular probes follow the schedule; they alone feed the window.
	regular probeKind = iota
	// extra probes are those of bursts and inquiries.
	extra
	// fast probes look for the end of a silence; many of them may be answered
	// at once when it ends, so that their times say little.
	fast
)

// unreported is how long the report of a probe's sending is awaited.
const unreported = time.Second

// flight is a probe from its request until it is answered or forgotten. There are
// thousands, and each is met a few times only: it fills one line of the cache.
type flight struct {
	id     ProbeID
	path   *path
	asked  Instant
	sent   Instant // never until reported
	lateAt Instant
	lostAt Instant
	epoch  uint32
	// burst is the burst that the probe counts for; 0 for none.
	burst  uint32
	target uint8
	kind   probeKind
	late   bool
	lost   bool
	// spared: it had its extra time after a pause.
	spared bool
}

// flights holds the latest probes in a ring, by their ID. A probe that is
// pushed out by newer ones is forgotten, and is evidence of nothing.
type flights struct {
	ring []flight // its length is a power of two
	last ProbeID
}

const (
	leastFlights = 1 << 10
	mostFlights  = 1 << 16
	// flightsPerTarget covers ten seconds of fast probing.
	flightsPerTarget = 256
)

// fit sizes the ring for so many targets. What was in a ring of another size is
// kept where it has room.
func (fs *flights) fit(targets int) {
	n := leastFlights
	for n < targets*flightsPerTarget && n < mostFlights {
		n *= 2
	}
	if n == len(fs.ring) {
		return
	}
	old := fs.ring
	fs.ring = make([]flight, n)
	for _, f := range old {
		if slot := fs.slot(f.id); f.id > slot.id {
			*slot = f
		}
	}
}

func (fs *flights) slot(id ProbeID) *flight { return &fs.ring[uint64(id)&uint64(len(fs.ring)-1)] }

// get returns the flight of an ID, or nil when it is unknown, void or answered.
func (fs *flights) get(id ProbeID) *flight {
	f := fs.slot(id)
	if id == 0 || f.id != id || f.path == nil || f.epoch != f.path.epoch {
		return nil
	}
	return f
}

// ask requests a probe of the caller.
func (e *Engine) ask(p *path, target int, kind probeKind) {
	e.flights.last++
	id := e.flights.last
	f := e.flights.slot(id)
	*f = flight{id: id, path: p, epoch: p.epoch, target: uint8(target), kind: kind, asked: e.now, sent: never}
	if p.burst.open && !p.targets[target].aside {
		f.burst = p.burst.number
		p.burst.out++
	}
	p.open = append(p.open, id)
	if e.out.Probes == nil {
		e.out.Probes = e.roomy()
	}
	e.out.Probes = append(e.out.Probes, Probe{ID: id, Uplink: p.up.cfg.Name, Family: p.family, Target: p.targets[target].name})
}

// roomFor is how many probes memory is taken for at once.
const roomFor = 64

// roomy returns the room for an output's probes, new where it is used up.
func (e *Engine) roomy() []Probe {
	if cap(e.room) == 0 {
		e.room = make([]Probe, 0, roomFor)
	}
	return e.room
}

func (e *Engine) probeSent(id ProbeID) {
	f := e.flights.get(id)
	if f == nil || f.sent != never {
		return
	}
	e.depart(f, e.now)
	f.path.touched = true
}

// depart starts a flight's deadlines.
func (e *Engine) depart(f *flight, at Instant) {
	p := f.path
	f.sent = at
	f.lateAt = at + p.deadline(&p.targets[f.target], f.burst != 0)
	f.lostAt = at + p.up.cfg.Probe.LostAfter
}

func (e *Engine) probeNotSent(ev ProbeNotSent) {
	f := e.flights.get(ev.ID)
	if f == nil || f.sent != never {
		return
	}
	p, kind := f.path, f.kind
	p.burst.vanish(f)
	e.close(f)
	*f = flight{}
	p.touched = true
	e.reread(p.up)
	if kind == regular && !p.state.silent() && e.now-p.burst.ended >= time.Second {
		e.look(p)
	}
}

func (e *Engine) probeAnswered(ev ProbeAnswered) {
	f := e.flights.get(ev.ID)
	if f == nil || ev.RTT <= 0 {
		return
	}
	p := f.path
	if f.sent == never {
		e.depart(f, max(f.asked, e.now-ev.RTT))
	}
	p.burst.settle(f)
	t := &p.targets[f.target]
	t.tried = true
	t.misses = 0
	t.hits++
	t.fresh = max(t.fresh, f.sent)
	t.answeredAt = e.seq
	p.answered = e.now
	if !t.rtt.known() {
		e.getToKnow(p, t)
	}
	if f.kind != fast {
		t.rtt.add(min(ev.RTT, p.up.cfg.Probe.LostAfter))
	}
	if f.kind == regular && !f.lost {
		e.sample(p, int(f.target), ev.RTT)
	}
	e.close(f)
	*f = flight{}
	p.touched = true
	e.dirty = e.dirty || e.awaitProof
	e.heard(p, t)
}

// close takes a flight off the list of those that have deadlines.
func (e *Engine) close(f *flight) {
	open := f.path.open
	for i, id := range open {
		if id == f.id {
			f.path.open = append(open[:i], open[i+1:]...)
			return
		}
	}
}

// expire lets the deadlines pass that are due on a path.
func (e *Engine) expire(p *path) {
	kept := p.open[:0]
	for _, id := range p.open {
		f := e.flights.get(id)
		if f == nil {
			continue
		}
		if f.sent == never && e.now >= f.asked+p.up.cfg.Probe.LostAfter+unreported {
			p.burst.vanish(f)
			continue
		}
		if f.sent != never && !f.late && e.now >= f.lateAt {
			p.burst.settle(f)
			f.late = true
			e.late(p, f)
		}
		if f.sent != never && e.now >= f.lostAt {
			f.lost = true
			if f.kind == regular {
				e.sample(p, int(f.target), 0)
			}
			continue
		}
		kept = append(kept, id)
	}
	p.open = kept
}

// late counts a probe as late, and raises a suspicion where nothing else of the
// path has answered since.
func (e *Engine) late(p *path, f *flight) {
	t := &p.targets[f.target]
	known := t.misses < failing || !p.anyAnswering()
	if t.fresh < f.sent {
		t.tried = true
		t.misses++
		t.hits = 0
	}
	p.lateSent = max(p.lateSent, f.sent)
	e.dirty = e.dirty || e.awaitProof
	if t.misses >= failing {
		e.missed(p, t)
	}
	if t.aside || p.provenSince(f.sent) {
		return
	}
	if known || p.state == Suspect || p.state == Shunned {
		p.suspect(f.sent, "no answer from "+t.name+" within "+span(f.lateAt-f.sent))
	}
}

// suspect notes that what was sent at an instant has no answer: a reason to look
// where nothing spoke against the path so far.
func (p *path) suspect(sent Instant, cause string) {
	switch p.state {
	case Suspect, Shunned:
		p.fellSilent(sent)
	case Unknown, Up, Degraded, Recovering:
		if p.cause == "" {
			p.fellSilent(sent)
			p.cause = cause
		}
	case Absent, Down:
	}
}

// fellSilent notes the first unanswered sending of a silence.
func (p *path) fellSilent(sent Instant) {
	if p.silent == never {
		p.silent = sent
	}
}

func (p *path) anyAnswering() bool { return p.count((*target).answering) > 0 }

// flush makes void what is in the air on a path: it was sent under conditions
// that are gone.
func (p *path) flush() {
	p.epoch++
	p.open = p.open[:0]
	p.cause = ""
	p.silent = never
}

// nextDeadline is when the first open flight of a path is due.
func (e *Engine) nextDeadline(p *path) Instant {
	due := forever
	for _, id := range p.open {
		f := e.flights.get(id)
		switch {
		case f == nil:
		case f.sent == never:
			due = min(due, f.asked+p.up.cfg.Probe.LostAfter+unreported)
		case !f.late:
			due = min(due, f.lateAt)
		default:
			due = min(due, f.lostAt)
		}
	}
	return due
}
