package failover

import "time"

// Regular probes are sent at fixed points of the caller's clock, so that a late
// step delays one probe and not all that follow. Within the interval a family's
// targets are spread evenly. The second family is offset by half a step from the
// first, and each uplink a little from the previous one, so that no two probes
// are sent together and a fault is met soon.

// schedule is when a path is probed.
type schedule struct {
	probing  bool
	began    Instant // of the probing
	interval time.Duration
	phase    time.Duration // of the first target within the interval
	// fastNext is when the next fast probe is due, fastTurn the target of the last.
	fastNext Instant
	fastTurn int
	// fastUntil ends the fast probing that follows a down.
	fastUntil Instant
	// movedAt is when probing last began anew because the link had moved.
	movedAt Instant
}

// slot is the first regular instant of one of n targets after another instant.
func (s *schedule) slot(target, n int, after Instant) Instant {
	at := s.phase + s.interval*time.Duration(target)/time.Duration(n)
	at %= s.interval
	return after - (after-at+s.interval)%s.interval + s.interval
}

// setRhythms sets every path's interval, and every uplink's bucket. A metered
// uplink is on standby while it carries nothing and another one answers in its
// place.
func (us uplinks) setRhythms(t *turn) {
	for _, u := range us {
		perSecond, n := 0.0, 0
		for _, f := range Families {
			p := &u.paths[f]
			interval := u.cfg.Probe.Interval
			if u.cfg.Metered && !u.carries && us.anotherAnswers(u, f) {
				interval = max(interval, u.cfg.Probe.StandbyInterval)
			}
			interval = max(interval, time.Millisecond)
			p.touched = p.schedule.set(t.now, p.targets, interval, us.phase(p, interval)) || p.touched
			perSecond += float64(len(p.targets)) / p.schedule.interval.Seconds()
			n += len(p.targets)
		}
		u.bucket.tune(t.now, n, perSecond)
	}
}

// phase is where a path's first target is placed within the interval.
func (us uplinks) phase(p *path, interval time.Duration) time.Duration {
	n := len(p.targets)
	o := len(p.up.paths[p.family.Other()].targets)
	step := interval / time.Duration(max(1, n, o))
	if n > 0 && o > 0 {
		step = interval / time.Duration(2*n/gcd(n, o)*o)
	}
	phase := step * time.Duration(p.up.index) / time.Duration(len(us))
	if p.family == IPv6 && o > 0 {
		phase += step
	}
	return phase
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// set sets the interval and the phase, and moves the next probes to them. It reports
// whether they were others before.
func (s *schedule) set(now Instant, ts targets, interval, phase time.Duration) bool {
	if interval == s.interval && phase == s.phase {
		return false
	}
	s.interval, s.phase = interval, phase
	for i := range ts {
		if tg := &ts[i]; tg.next > now {
			tg.next = s.slot(i, len(ts), now)
		}
	}
	return true
}

// moveInterval is the least time between two moves of a link for each of which probing
// begins anew.
const moveInterval = time.Second

// attend starts or stops the probing as the link and the configuration require.
// When the link has moved, probes that were sent by the previous way say nothing
// about the present one.
func (p *path) attend(t *turn, moved bool) {
	p.touched = true
	usable, probing := p.usable(), p.schedule.probing
	switch {
	case probing && !usable:
		p.schedule.probing = false
		p.flush()
		p.burst.close(t.now)
	case probing && moved && t.now-p.schedule.movedAt < moveInterval:
		// A link that moves all the time is judged as if it stood still: else none of
		// its probes would ever get old enough to be lost.
	case probing && moved:
		p.schedule.movedAt = t.now
		p.flush()
		p.burst.close(t.now)
		for i := range p.targets {
			if p.up.bucket.spend(t.now) {
				p.targets[i].next = t.now
			}
		}
		p.schedule.fastNext = t.now + slowRound
	case usable && !probing:
		p.startProbing(t.now)
		if p.state != Down {
			return
		}
		p.schedule.fastUntil = t.now + quickReturn
		if !p.proven && p.recovery.began != never {
			// It has never worked so far: this is a start and no return.
			p.transition(t, verdict{Unknown, "the link is there"})
			return
		}
		if p.reason == wasDown { // the link has been there all the time
			p.reason += ", no answer yet"
			return
		}
		p.reason = "the link is back, no answer yet"
	}
}

// startProbing probes each target at once, and from then on by the schedule.
func (p *path) startProbing(now Instant) {
	p.schedule.probing, p.schedule.began = true, now
	p.unsent = noneUnsent
	p.targets.forgetUnsent()
	for i := range p.targets {
		p.targets[i].next = now
		p.targets[i].fault = Fault{}
	}
	p.schedule.fastNext = now + slowRound
	p.touched = true
}
