package failover

import "time"

// probeKind is why a probe was sent.
type probeKind uint8

const (
	// regular probes follow the schedule; only they are samples of the window.
	regular probeKind = iota
	// extra probes are those of bursts and inquiries.
	extra
	// fast probes detect the end of a silence. Many of them may be answered at
	// once when it ends, so their round trip times mean little.
	fast
	// trial probes are those of a trial for policing that count, warming the ones
	// before them.
	trial
	warming
)

// unreported is how long the report that a probe was sent is waited for.
const unreported = time.Second

// flight is a probe from its request until it is answered or forgotten. There are
// thousands, each accessed only a few times: it fits into one cache line.
type flight struct {
	id     ProbeID
	path   *path
	asked  Instant
	sent   Instant // never until reported
	lateAt Instant
	lostAt Instant // once it is lost: when that was counted
	epoch  uint32
	// burst is the number of the burst that the probe counts for; 0 for none.
	burst  uint32
	target uint8
	kind   probeKind
	late   bool
	lost   bool
	// spared: it was given extra time after a pause. failed: it has a fault.
	spared, failed bool
}

// air lists the probes of one path that are in flight and have a deadline to
// come. flights adds and removes them; the path makes them void.
type air struct {
	open []ProbeID
	// epoch counts how often what was in flight became void.
	epoch uint32
}

func (a *air) remove(id ProbeID) {
	for i, o := range a.open {
		if o == id {
			a.open = append(a.open[:i], a.open[i+1:]...)
			return
		}
	}
}

// flights holds the latest probes in a ring, by their ID. A probe that is
// overwritten by a newer one is forgotten, and is no evidence of anything.
type flights struct {
	ring []flight // its length is a power of two
	last ProbeID
	// probeBuffer has room for the probes of the next outputs, allocated for many
	// at a time. What was handed out is behind it and belongs to the caller.
	probeBuffer []Probe
}

const (
	leastFlights = 1 << 10
	mostFlights  = 1 << 16
	// flightsPerTarget covers ten seconds of fast probing.
	flightsPerTarget = 256
	// probesAtOnce is how many probes the buffer is allocated for.
	probesAtOnce = 64
)

// resize makes the ring large enough for a number of targets. Flights in a ring
// of another size are kept where there is room.
func (fs *flights) resize(targets int) {
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
	if id == 0 || f.id != id || f.path == nil || f.epoch != f.path.air.epoch {
		return nil
	}
	return f
}

// request asks the caller for a probe.
func (fs *flights) request(t *turn, p *path, target int, kind probeKind) {
	fs.last++
	f := fs.slot(fs.last)
	*f = flight{id: fs.last, path: p, epoch: p.air.epoch, target: uint8(target), kind: kind, asked: t.now, sent: never}
	if p.burst.open && !p.targets[target].aside && kind < trial {
		p.burst.include(f)
	}
	p.air.open = append(p.air.open, f.id)
	if t.out.Probes == nil {
		if cap(fs.probeBuffer) == 0 {
			fs.probeBuffer = make([]Probe, 0, probesAtOnce)
		}
		t.out.Probes = fs.probeBuffer
	}
	t.out.Probes = append(t.out.Probes, Probe{
		ID: f.id, Uplink: p.up.cfg.Name, Family: p.family, Target: p.targets[target].name,
		Brief: kind == fast && p.state == Down,
	})
}

// depart sets the deadlines of a probe by the instant at which it was sent.
func (f *flight) depart(at Instant) {
	p := f.path
	f.sent = at
	f.lateAt = at + p.deadline(f)
	f.lostAt = at + p.up.cfg.Probe.LostAfter
	p.touched = true
}

// remove forgets a probe that is answered or was not sent.
func (fs *flights) remove(f *flight) {
	f.path.air.remove(f.id)
	*f = flight{}
}

// probeNotSent handles a probe that this machine could not send. It is no evidence
// about the path, but a reason to read the link and to probe once more.
func (e *Engine) probeNotSent(t *turn, ev ProbeNotSent) {
	f := e.flights.get(ev.ID)
	if f == nil || f.sent != never {
		return
	}
	p, kind := f.path, f.kind
	p.burst.withdraw(f)
	p.policing.conclude(f, false)
	p.unsent.refused(t.now, &p.targets[f.target], ev)
	e.flights.remove(f)
	p.touched = true
	p.up.reread(t)
	if kind == regular && !p.state.silent() && t.now-p.burst.ended >= time.Second {
		p.startBurst(t)
	}
}

// probeAnswered counts an answer for its burst, its path and its target. A target
// that was set aside is back when it answers steadily.
func (e *Engine) probeAnswered(t *turn, ev ProbeAnswered) {
	f := e.flights.get(ev.ID)
	if f == nil || ev.RTT <= 0 {
		return
	}
	if f.sent == never {
		f.depart(max(f.asked, t.now-ev.RTT))
		f.path.unsent.sent(&f.path.targets[f.target])
	}
	p := f.path
	p.burst.conclude(f)
	p.policing.conclude(f, true)
	tg := p.answer(t, f, ev.RTT)
	e.flights.remove(f)
	t.probed = true
	if tg.aside && tg.hits >= asideHits {
		e.uplinks.setAside(t, p.family, tg.name, false)
	}
}

// expire handles the deadlines of a path's probes that have passed. A late probe is
// a miss of its target, and a reason for suspicion where nothing else on the path
// has answered since; where the target does not answer by any uplink, it is the
// target that is at fault. A lost probe is a sample of the window.
func (e *Engine) expire(t *turn, p *path) {
	kept := p.air.open[:0]
	for _, id := range p.air.open {
		f := e.flights.get(id)
		if f == nil {
			continue
		}
		if f.sent == never {
			if t.now >= f.asked+p.up.cfg.Probe.LostAfter+unreported {
				p.burst.withdraw(f)
				continue
			}
			kept = append(kept, id)
			continue
		}
		if !f.late && t.now >= f.lateAt && f.kind >= trial {
			// That it is lost is to be expected.
			p.policing.conclude(f, false)
			f.late = true
		}
		if !f.late && t.now >= f.lateAt {
			p.burst.conclude(f)
			f.late = true
			t.probed = true
			tg, expected := p.miss(f)
			if tg.misses >= failing {
				e.uplinks.compareTarget(t, p, tg)
			}
			if !tg.aside && !p.provenSince(f.sent) && expected {
				p.suspect(f.sent, "no answer from "+tg.name+" within "+span(f.lateAt-f.sent))
			}
		}
		if !f.lost && t.now >= f.lostAt {
			f.lost, f.lostAt = true, t.now
			if !f.failed {
				p.targets[f.target].fault = Fault{}
			}
			if f.kind == regular {
				p.sample(t.now, int(f.target), 0)
			}
		}
		if !f.late || !f.lost {
			kept = append(kept, id)
		}
	}
	p.air.open = kept
}

// nextDeadline is when the first probe of a path becomes late, lost, or is not
// waited for any longer.
func (fs *flights) nextDeadline(p *path) Instant {
	due := forever
	for _, id := range p.air.open {
		f := fs.get(id)
		switch {
		case f == nil:
		case f.sent == never:
			due = min(due, f.asked+p.up.cfg.Probe.LostAfter+unreported)
		case f.late:
			due = min(due, f.lostAt)
		case f.lost:
			due = min(due, f.lateAt)
		default:
			due = min(due, f.lateAt, f.lostAt)
		}
	}
	return due
}

// postpone moves the deadlines of a path's probes by the length of a pause. The
// first time each also gets what it takes to read the answers that are queued.
func (fs *flights) postpone(p *path, now Instant, by time.Duration) {
	for _, id := range p.air.open {
		f := fs.get(id)
		switch {
		case f == nil:
			continue
		case f.sent == never:
			f.asked += by
			continue
		}
		f.lateAt += by
		if !f.lost {
			f.lostAt += by
		}
		if !f.spared {
			f.spared = true
			f.lateAt = max(f.lateAt, now+drainTime)
			if !f.lost {
				f.lostAt = max(f.lostAt, now+drainTime)
			}
		}
	}
}
