package failover

import "time"

const (
	// unsentAfter is how long no probe of a path can be sent before its state
	// becomes unknown.
	unsentAfter = 5 * time.Second
	// unansweredAfter bounds how long traffic has to leave without any answer by a
	// path that cannot be probed before the path counts as silent.
	unansweredAfter = 800 * time.Millisecond
	// witnessFor is how long a suspicion of a path that cannot be probed waits for
	// other evidence.
	witnessFor = 2 * time.Second
	// blindFor is how long a path that cannot be probed stays down on other
	// evidence, since none of it shows when the path works again.
	blindFor = 30 * time.Second
)

// unsent is what is known of the probes of a path that this machine could not send.
type unsent struct {
	// since is when the first of the failures happened since the last probe that
	// was sent; never if the last probe was sent.
	since Instant
	// errno is the name of the last error, such as EPERM, or empty if it had none;
	// cause describes it in words.
	errno, cause string
	// blind: for unsentAfter no probe could be sent, so only other evidence is
	// known of the path. base is the state that it had then, by which it is still
	// ranked: failing to send a probe is no evidence.
	blind bool
	base  State
	// unresolved is when the gateway last failed to resolve, unanswered when a hint
	// last reported traffic without an answer for long enough.
	unresolved, unanswered Instant
}

var noneUnsent = unsent{since: never, unresolved: never, unanswered: never}

// refused counts a probe of a target that could not be sent.
func (u *unsent) refused(now Instant, tg *target, ev ProbeNotSent) {
	tg.unsent++
	tg.errno, tg.cause = ev.Errno, ev.Cause
	if u.since == never {
		u.since = now
	}
	u.errno, u.cause = ev.Errno, ev.Cause
}

// sent records that a probe of a target was sent.
func (u *unsent) sent(tg *target) {
	tg.unsent, tg.errno, tg.cause = 0, "", ""
	u.since, u.errno, u.cause = never, "", ""
}

// reason returns why probes could not be sent: the path's last error, or that of a
// target.
func (u *unsent) reason(ts targets) (errno, cause string) {
	if u.since != never {
		return u.errno, u.cause
	}
	for i := range ts {
		if tg := &ts[i]; tg.unsent > 0 {
			return tg.errno, tg.cause
		}
	}
	return "", ""
}

// unsent returns how many probes could not be sent since the last one that was sent
// to their target.
func (ts targets) unsent() int {
	n := 0
	for i := range ts {
		n += ts[i].unsent
	}
	return n
}

// forgetUnsent resets what is known of probes that could not be sent.
func (ts targets) forgetUnsent() {
	for i := range ts {
		ts[i].unsent, ts[i].errno, ts[i].cause = 0, "", ""
	}
}

// nextBlind judges a path by whether its probes can be sent. A path becomes unknown
// if none could be sent for unsentAfter, and returns to its previous state once one
// is sent.
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

// due returns when nextBlind or nextWitnessed has to judge the path again if nothing
// happens.
func (u *unsent) due(p *path) Instant {
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

// nextWitnessed judges a suspicion of a path that cannot be probed by other
// evidence that it is dead: its gateway does not resolve, or traffic leaves and
// nothing is received.
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
