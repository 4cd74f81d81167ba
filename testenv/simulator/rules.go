package simulator

import (
	"errors"
	"fmt"
	"time"

	"swerve/failover"
)

// The rules, each stated once. They only read the account; the watches call them.

// brokenRule is an invariant that does not hold.
type brokenRule struct{ error }

func broken(format string, args ...any) error { return brokenRule{fmt.Errorf(format, args...)} }

const (
	// leaveWithin is how long a dead carrier may be kept while another uplink is
	// fine all the time. It covers a standby interval, and a verdict by regular
	// probes where the bucket is empty.
	leaveWithin = 45 * time.Second
	// startWithin is how long after the first answer a ladder may still be settling.
	startWithin = 2100 * time.Millisecond
	// requestWithin is how long a request of the operator's, or its end, explains a
	// move: its target may have to be proven first.
	requestWithin = 2100 * time.Millisecond
	// followWithin is how long traffic may stay on an uplink judged silent while
	// another is up: that one has to be proven anew, by a regular probe if need be.
	followWithin = 10 * time.Second
	// blindAfter is how long no probe of a path can be sent until nothing is known of it.
	blindAfter = 5 * time.Second
	// mostReceiving bounds for how long what flows receive holds a shunning off, without
	// an answer of any target.
	mostReceiving = 6 * time.Second
	// leastBurst is the least time from the start of a burst until all of it is
	// late: three rounds, 20 ms apart, and the least deadline.
	leastBurst = 80 * time.Millisecond
)

// move is a change of a policy's first rung.
type move struct {
	policy   int
	family   failover.Family
	from, to mask
	at       failover.Instant
	// starting: the ladder is still settling. late: the move is judged late, so a
	// suspicion of the same instant may be more recent than the move.
	starting, late bool
}

// reason is why a first rung was left, as far as the verdicts show.
type reason uint8

const (
	cutOff  reason = iota // nothing can pass, or nothing carried
	silent                // it was shunned or down
	unknown               // nothing was known of it
	chosen                // it answered
)

func (a *account) reasonOf(m move) reason {
	was, cut := a.worst(m.from, m.family)
	switch {
	case m.from == 0 || cut:
		return cutOff
	case was.Answering():
		return chosen
	case was == failover.Unknown:
		return unknown
	}
	return silent
}

// mayMove checks a move from one first rung to another against the states that led to it.
func (a *account) mayMove(m move) error {
	var err error
	is, _ := a.worst(m.to, m.family)
	switch a.reasonOf(m) {
	case cutOff:
		err = a.fled(m, is)
	case silent:
		if !a.gasps(m.to, m.family) && !a.allBlind(m.to, m.family, m.at) {
			err = fmt.Errorf("which is %s", is)
		}
	case unknown:
		// A restart moves nothing: what carried before is kept until a verdict.
		if l := &a.ladders[m.policy][m.family]; m.from == l.adopted && m.at < l.notBefore && !a.requested(m.policy, m.at) {
			err = errors.New("as the restart's doing")
		}
	case chosen:
		err = a.chosen(m, is)
	}
	if err != nil {
		return fmt.Errorf("from %s to %s: %w", a.list(m.from), a.list(m.to), err)
	}
	return nil
}

// fled: traffic that is cut off moves to an uplink that answers, unless each is drained. A
// shared rung may first lose its cut members: whether another uplink still answers has
// to be proven if the rest of the rung is silent. How long that may take is for follows
// and behind to judge.
func (a *account) fled(m move, to failover.State) error {
	if _, cut := a.worst(m.to, m.family); m.to != 0 && m.to&^m.from == 0 && !cut {
		return nil
	}
	for _, i := range a.ladders[m.policy][m.family].members {
		if !to.Answering() && a.answers(i, m.family) && !a.drains[i].set {
			return fmt.Errorf("which is %s, and %s is %s", to, a.names[i], a.class(i, m.family))
		}
	}
	return nil
}

// chosen: an uplink that answers is left only for one that is up and no worse, and not
// often. The operator may request a worse one, but never one that does not answer.
func (a *account) chosen(m move, to failover.State) error {
	was, _ := a.worst(m.from, m.family)
	pin := a.pins[m.policy]
	asked := pin.set && m.to == 1<<pin.line || a.drained(m.from)
	switch {
	case !to.Answering():
		return fmt.Errorf("by choice, to what is %s", to)
	case worse(to, was) && !asked:
		return fmt.Errorf("from %s to %s by choice", was, to)
	case a.drained(m.to&^m.from) && !a.drained(m.from):
		return errors.New("by choice, to what is drained")
	}
	for i := range a.names {
		p := &a.paths[i][m.family]
		state := p.state
		if m.late && p.turned == m.at {
			state = a.class(i, m.family)
		}
		if m.to.has(i) && state != failover.Up && (!asked || state == failover.Suspect) {
			return fmt.Errorf("by choice, to %s, which is %s", a.names[i], state)
		}
	}
	l := &a.ladders[m.policy][m.family]
	if m.starting || a.requested(m.policy, m.at) || a.awaited(m.to&^m.from, m.family, m.at) {
		return nil
	}
	if since := m.at - l.voluntary; since < a.cfg.Failback.MinInterval {
		return fmt.Errorf("by choice, %v after the last", since)
	}
	if m.at < l.notBefore && !asked {
		return errors.New("by choice, soon after a restart")
	}
	return nil
}

// hasRoute: a ladder is empty only where no member can have a route.
func (a *account) hasRoute(policy int, f failover.Family, table string) error {
	for _, i := range a.ladders[policy][f].members {
		if a.usable(i, f) {
			return fmt.Errorf("%s has no default route, and %s has a link", table, a.names[i])
		}
	}
	return nil
}

// mayLose: sessions are moved only off an uplink that is down, or degraded where the
// configuration requests that, or left for as long as it drains what failbacks leave, and
// only where there is a destination, which is in the state to: it answers, or its probes
// cannot be sent. A drain or a switch by the operator moves none.
func (a *account) mayLose(i, policy int, f failover.Family, to failover.State, now failover.Instant) error {
	first, state := a.ladders[policy][f].first, a.class(i, f)
	may := state == failover.Down && a.cfg.Sessions.MoveOnDown ||
		state == failover.Degraded && a.cfg.Sessions.MoveOnDegraded || a.drainOver(i, policy, f, now)
	switch {
	case !may:
		return fmt.Errorf("sessions of %s are moved, which is %s, to %s", a.names[i], state, a.list(first))
	case first == 0 || first.has(i):
		return fmt.Errorf("sessions of %s are moved with nowhere to go", a.names[i])
	case !a.gasps(first, f) && !a.allBlind(first, f, now):
		return fmt.Errorf("sessions of %s are moved to %s, which is %s", a.names[i], a.list(first), to)
	}
	return nil
}

// mayTurn: while flows receive, a path is not shunned, and not down before its
// patience has passed, unless no target has answered for long, or none can be asked. Who
// sees no suspicions, as events have none, cannot tell a shunning that came too early.
func (a *account) mayTurn(i int, f failover.Family, to failover.State, silence time.Duration, now failover.Instant) error {
	p := &a.paths[i][f]
	since := now - p.received
	if u := a.uplink(i); u != nil && !a.cut(i, f) && p.received != never && silence < mostReceiving && !a.blind(i, f, now) {
		if to == failover.Shunned && p.suspected != never && p.received >= p.suspected && since < leastBurst ||
			to == failover.Down && p.state == failover.Shunned && since < leastPatience(u.Health) {
			return fmt.Errorf("%s is %s, and flows received %v ago", a.names[i], to, since)
		}
	}
	return nil
}

// leastPatience is the least that the patience can be.
func leastPatience(h failover.Health) time.Duration {
	if h.LearnPatience {
		return min(h.Patience, leastLearnt)
	}
	return h.Patience
}

// leastLearnt is the least patience that can be learnt.
const leastLearnt = 200 * time.Millisecond

// behind reports whether a first rung is judged silent and another uplink is up.
func (a *account) behind(policy int, f failover.Family) bool {
	l := &a.ladders[policy][f]
	state, _ := a.worst(l.first, f)
	if state != failover.Shunned && state != failover.Down {
		return false
	}
	for _, i := range l.members {
		if a.answers(i, f) && a.paths[i][f].state == failover.Up {
			return true
		}
	}
	return false
}

// follows: traffic is not on an uplink that was dead for leaveWithin while another was
// fine all that time, whatever the operator requested.
func (a *account) follows(policy int, f failover.Family, n *network) error {
	l := &a.ladders[policy][f]
	for _, i := range l.members {
		if !l.first.has(i) || n.deadFor(i, f) < leaveWithin {
			continue
		}
		for _, o := range l.members {
			if o != i && a.usable(o, f) && n.fine(o, f, leaveWithin) {
				return fmt.Errorf("still on %s, dead for %v, while %s is fine", a.names[i], n.deadFor(i, f), a.names[o])
			}
		}
	}
	return nil
}
