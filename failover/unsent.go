package failover

import "time"

const (
	// unsentAfter is how long no probe of a path can be sent until nothing is known
	// of it.
	unsentAfter = 5 * time.Second
	// unansweredAfter is for how long traffic without any answer has to leave by a
	// path that cannot be probed, at most, until it counts as silent.
	unansweredAfter = 800 * time.Millisecond
	// witnessFor is how long a suspicion of a path that cannot be probed waits for
	// another witness.
	witnessFor = 2 * time.Second
	// blindFor is how long a path that cannot be probed stays down by what other
	// witnesses said once: none of them says when it works again.
	blindFor = 30 * time.Second
)

// unsent is what is known of the probes of a path that this machine could not send.
type unsent struct {
	// since is when the first of those failed that no sending has followed; never
	// where the last probe was sent.
	since Instant
	// errno names the last one's error, as EPERM; empty where it had none. cause is
	// in words.
	errno, cause string
	// blind: for unsentAfter no probe could be sent, so nothing is known of the path
	// but what other witnesses say. base is the state in which that found it, by
	// which it is still ranked: what could not be asked is no evidence.
	blind bool
	base  State
	// unresolved is when the gateway last did not resolve, unanswered when a hint last
	// said that traffic was without an answer for long enough.
	unresolved, unanswered Instant
}

var noneUnsent = unsent{since: never, unresolved: never, unanswered: never}

// notSent counts a probe that could not be sent.
func (p *path) notSent(now Instant, target int, ev ProbeNotSent) {
	tg := &p.targets[target]
	tg.unsent++
	tg.errno, tg.cause = ev.Errno, ev.Cause
	if p.unsent.since == never {
		p.unsent.since = now
	}
	p.unsent.errno, p.unsent.cause = ev.Errno, ev.Cause
}

// wasSent notes that a probe of a target was sent.
func (p *path) wasSent(target int) {
	p.targets[target].unsent, p.targets[target].errno, p.targets[target].cause = 0, "", ""
	p.unsent.since, p.unsent.errno, p.unsent.cause = never, "", ""
}

// forgetUnsent begins anew, since the link is another one now.
func (p *path) forgetUnsent() {
	p.unsent = noneUnsent
	for i := range p.targets {
		p.targets[i].unsent, p.targets[i].errno, p.targets[i].cause = 0, "", ""
	}
}

// unsentCount is how many probes could not be sent since the last sending to their
// target.
func (p *path) unsentCount() int {
	n := 0
	for i := range p.targets {
		n += p.targets[i].unsent
	}
	return n
}

// unsentReason is why probes could not be sent: the path's last error, or that of a
// target.
func (p *path) unsentReason() (errno, cause string) {
	if p.unsent.since != never {
		return p.unsent.errno, p.unsent.cause
	}
	for i := range p.targets {
		if t := &p.targets[i]; t.unsent > 0 {
			return t.errno, t.cause
		}
	}
	return "", ""
}

// nextBlind judges a path by whether its probes can be sent. A path becomes unknown
// when none could be for unsentAfter, and what it was before with the next sending.
func (p *path) nextBlind(t *turn) (verdict, bool) {
	u := &p.unsent
	silent := u.since != never && p.schedule.probing && t.now-u.since >= unsentAfter
	switch {
	case silent && !u.blind:
		u.blind = true
		u.base = p.class()
		p.window.reset(len(p.targets))
		if p.state == Down || p.state == Shunned || p.state == Unknown {
			return verdict{}, false
		}
		return verdict{Unknown, "no probe can be sent: " + u.cause}, true
	case u.blind && !silent:
		u.blind = false
		if p.state == Unknown && u.base != Unknown {
			return verdict{u.base, "probes are sent again"}, true
		}
	case u.blind && p.state == Down && t.now-p.since >= blindFor:
		u.base = Unknown
		return verdict{Unknown, "no probe can be sent: " + u.cause}, true
	}
	return verdict{}, false
}

// blindDue is when nextBlind or nextWitnessed is to judge again if nothing happens.
func (p *path) blindDue() Instant {
	u := &p.unsent
	switch {
	case !p.schedule.probing || u.since == never:
	case !u.blind:
		return u.since + unsentAfter
	case p.state == Down:
		return p.since + blindFor
	case p.state == Suspect:
		return p.suspectAt + witnessFor
	}
	return forever
}

// nextWitnessed judges a suspicion of a path that cannot be probed by what else says
// that it is dead: its gateway does not resolve, or traffic leaves and nothing is
// received.
func (p *path) nextWitnessed(t *turn) (verdict, bool) {
	u := &p.unsent
	switch {
	case p.received >= p.suspectAt && u.unresolved < p.suspectAt:
		return verdict{Unknown, "established flows receive"}, true
	case u.unresolved >= p.suspectAt:
		return verdict{Shunned, "the gateway does not resolve, and no probe can be sent"}, true
	case u.unanswered >= p.suspectAt:
		return verdict{Shunned, "traffic leaves and nothing returns for " + span(t.now-p.silentSince()) + ", and no probe can be sent"}, true
	case t.now >= p.suspectAt+witnessFor:
		return verdict{Unknown, "no probe can be sent: " + u.cause}, true
	}
	return verdict{}, false
}
