package failover

import (
	"slices"
	"time"
)

// View is a copy of what the engine knows and has decided, for people to look at.
type View struct {
	Uplinks  []UplinkView
	Policies []PolicyView
	// Commands are the operator's commands that stand: the switch of each policy in
	// their order, then the drains, then what is to be resumed once it is up.
	Commands []Command
}

// UplinkView is one uplink, in configuration order.
type UplinkView struct {
	Name    string
	Enabled bool
	Metered bool
	Link    Link
	// Admin is "auto", "drained" or "switched"; Until ends it, 0 for never.
	Admin string
	Until Instant
	// Awaited: the operator has resumed it before it was up, under manual failback, so it
	// is returned to once it is.
	Awaited bool
	// HeldUntil is when a recovering uplink is expected to count as up again, and when
	// damping is expected to end; 0 when the uplink is not held.
	HeldUntil Instant
	// Damped: it answers, and damping holds it beyond the time for which it has to be
	// good.
	Damped bool
	// DrainingUntil is when the last policy's sessions move that a failback has left on it;
	// 0 where none has to, or they have.
	DrainingUntil Instant
	// Proven is the last answer in any family; negative when there was none.
	Proven Instant
	Family [2]FamilyView
}

// FamilyView is an uplink's health in one family. A nil figure is unknown.
type FamilyView struct {
	State  State
	Reason string
	// Since is when the state was entered.
	Since Instant
	// Suspicions counts how often the path became suspect.
	Suspicions uint64
	// Seen says that the family is, or once was, offered here.
	Seen bool
	// Withdrawn is since when the route is gone from which the gateway was learnt;
	// negative while it stands.
	Withdrawn Instant
	// Loss is a ratio over the window; RTT the window's mean; Jitter the mean
	// deviation of successive RTTs (RFC 3550).
	Loss        *float64
	RTT, Jitter *time.Duration
	Patience    time.Duration
	// Raised is what stalls that were taken for downs have raised the patience to; 0 for
	// nothing.
	Raised time.Duration
	// Lapses is for how long the path may lack its source or gateway before it is down,
	// unless Patience is longer.
	Lapses time.Duration
	// Hold is what it owes, for a restart to continue with.
	Hold Hold
	// Silences are the longest of each hour with evidence, the present one last, for a
	// restart to continue with.
	Silences []Hour
	// HeldOff is for how long a silence must last before new flows leave, as the line
	// has shorter ones time and again.
	HeldOff time.Duration
	// Learnt: the patience is not the configured one, but what the path's stalls, or
	// that it has none, have taught.
	Learnt bool
	// Unsent counts the probes that this machine could not send since the last one
	// that it sent to their target. UnsentErrno names the last error, as EPERM, and
	// UnsentCause has it in words; empty where there was none.
	Unsent                   int
	UnsentErrno, UnsentCause string
	// Blind: no probe could be sent for so long that nothing is known of the path.
	Blind bool
	// Policed is how many echo requests a second the way seems to let pass where it
	// limits them, 0 where it is not known to; the probes are then Gap apart.
	Policed float64
	Gap     time.Duration
	Targets []TargetView
}

// TargetView is one target of an uplink's family.
type TargetView struct {
	Target string
	// Answering is nil until the first probe was answered or lost.
	Answering *bool
	Loss      *float64
	RTT       *time.Duration
	// SetAside: it fails on every uplink while others answer, and counts for
	// nothing meanwhile.
	SetAside bool
	// Unsent counts the probes that could not be sent since the last one that was,
	// for the reason in UnsentErrno and UnsentCause.
	Unsent                   int
	UnsentErrno, UnsentCause string
	// Fault is what came of its latest probe in place of an answer.
	Fault Fault
}

// PolicyView names the uplinks that carry a policy's new flows by family,
// the first rung of its ladder.
type PolicyView struct {
	Name   string
	Family [2][]Share
	// Overflow are, by family, the uplinks to which new flows go instead while those are
	// full; none while they are not. Overflow may be among Family where all are full.
	Overflow [2][]Share
	// Blocked says by family that new flows are refused, since it blocks and all of its
	// uplinks are down.
	Blocked [2]bool
	// Waiting are, by family, the uplinks that are preferred to those of Family, and to which
	// the operator alone returns, since failback is manual.
	Waiting [2][]string
	// Draining are, by family, the uplinks that failbacks have left whose sessions are
	// drained.
	Draining [2][]Draining
	// Switched is the uplink of its own that the operator has switched it to, and Until
	// when that ends, 0 for never; empty for none.
	Switched string
	Until    Instant
}

// Draining is an uplink that a failback left at Since, and whose sessions move at Until.
type Draining struct {
	Uplink       string
	Since, Until Instant
	// Over: the sessions have moved, as will any that comes back.
	Over bool
}

// View returns a copy of what the engine knows and has decided after the last step.
func (e *Engine) View() View {
	var v View
	for _, u := range e.uplinks {
		v.Uplinks = append(v.Uplinks, e.viewUplink(u))
	}
	for _, pol := range e.selector.policies {
		pv := PolicyView{Name: pol.cfg.Name}
		if pol.pin.set && pol.has(pol.pin.uplink) {
			pv.Switched, pv.Until = pol.pin.uplink, pol.pin.until
		}
		for _, f := range Families {
			pv.Family[f] = slices.Clone(pol.family[f].first)
			pv.Overflow[f] = slices.Clone(pol.family[f].spill.to)
			pv.Blocked[f] = pol.family[f].ladder.Blocked
			pv.Waiting[f] = pol.family[f].waiting()
			pv.Draining[f] = draining(&e.selector, &pol.family[f])
		}
		v.Policies = append(v.Policies, pv)
	}
	v.Commands = e.selector.commands()
	return v
}

// waiting names the candidates to which the operator alone returns.
func (c *choice) waiting() (names []string) {
	for _, k := range c.candidates {
		if k.standing == onlyByOperator {
			names = append(names, k.up.cfg.Name)
		}
	}
	return names
}

func (e *Engine) viewUplink(u *uplink) UplinkView {
	v := UplinkView{Name: u.cfg.Name, Enabled: u.cfg.Enabled, Metered: u.cfg.Metered, Link: u.link, Proven: -1}
	v.Admin, v.Until = e.selector.admin(u.cfg.Name)
	v.Awaited = e.selector.awaited.has(u.cfg.Name)
	v.DrainingUntil = drainingUntil(&e.selector, u)
	for _, f := range Families {
		p := &u.paths[f]
		v.Link.Family[f].Addresses = slices.Clone(u.link.Family[f].Addresses)
		v.Link.Family[f].Elsewhere = slices.Clone(u.link.Family[f].Elsewhere)
		v.Family[f] = viewPath(p, e.now)
		v.Proven = max(v.Proven, p.answered)
		if p.recovery.owes && p.damping.heldUntil > e.now {
			v.HeldUntil = max(v.HeldUntil, p.damping.heldUntil)
		}
		if p.state == Recovering && p.recovery.good != never && p.upAt() > e.now {
			v.HeldUntil = max(v.HeldUntil, p.upAt())
			v.Damped = v.Damped || isDamped(p)
		}
	}
	return v
}

// isDamped reports whether damping holds a recovering path beyond the time for which
// it has to be good.
func isDamped(p *path) bool { return p.damping.heldUntil > p.recovery.good+p.recovery.hold }

// leastOfTarget is how many samples the figures of a single target need.
const leastOfTarget = 10

func viewPath(p *path, now Instant) FamilyView {
	patience, lapses := p.patience, p.lapses
	patience.forget(now)
	lapses.forget(now)
	v := FamilyView{State: p.state, Reason: p.reason, Since: p.since, Seen: p.seen, Patience: patience.now(), Raised: patience.raised, Lapses: lapses.now(), Silences: p.silences.list(), HeldOff: p.heldOff,
		Withdrawn: max(p.withdrawn, -1), Suspicions: p.suspicions, Learnt: patience.now() != configuredPatience(p)}
	v.Hold = p.damping.hold(now, p.up.cfg.Health.Damping)
	v.Hold.Owes = p.recovery.owes && (p.proven || p.recovery.began == never) // else it never worked, and is starting
	switch {
	case p.state == Suspect && p.base == Degraded: // it lasts for moments, and the trouble goes on
		v.State, v.Reason, v.Since = Degraded, degradedBy(p, p.baseReason, now), p.baseSince
	case p.state == Degraded:
		v.Reason = degradedBy(p, p.reason, now)
	case p.state == Up:
		v.Reason = ""
	case p.state == Recovering && p.recovery.good != never && p.upAt() > now:
		v.Reason = goodFor + span(now-p.recovery.good)
		if isDamped(p) {
			v.Reason += ", held for its repeated downs"
		}
		v.Reason += ", back in " + span(p.upAt()-now)
	}
	if p.schedule.probing {
		if p.policing.confirmed {
			v.Policed, v.Gap = p.policing.rate, p.policing.gap
		}
		v.Unsent, v.Blind = p.targets.unsent(), p.unsent.blind
		v.UnsentErrno, v.UnsentCause = p.unsent.reason(p.targets)
	}
	// What is known of a path that is down is of the time before.
	if p.schedule.probing && p.window.known() && p.state != Down {
		v.Loss = ptr(p.window.total.loss())
		v.RTT = ifKnown(p.window.total.latency())
		v.Jitter = ifKnown(p.window.total.jitter())
	}
	for i := range p.targets {
		t := &p.targets[i]
		tv := TargetView{Target: t.name}
		if p.schedule.probing {
			tv.SetAside = t.aside
			tv.Unsent, tv.UnsentErrno, tv.UnsentCause, tv.Fault = t.unsent, t.errno, t.cause, t.fault
			if t.tried && !p.unsent.blind {
				tv.Answering = ptr(t.answering())
			}
			if sum := &p.window.target[i]; sum.n >= leastOfTarget && p.state != Down {
				tv.Loss = ptr(sum.loss())
				tv.RTT = ifKnown(sum.latency())
			}
		}
		v.Targets = append(v.Targets, tv)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func ifKnown(d time.Duration, ok bool) *time.Duration {
	if !ok {
		return nil
	}
	return &d
}
