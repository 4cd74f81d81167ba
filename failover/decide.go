package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// decisionKind is what a selection does with a first rung. The set is closed.
type decisionKind uint8

const (
	// stayed: the first rung stays as it is.
	stayed decisionKind = iota
	// reweighed: the same uplinks, by other weights or in another order. No switch.
	reweighed
	// placed: the first rung found its place at the start. No switch.
	placed
	// leftUnproven: nothing carried for sure, and another one is preferred. It does
	// not count as a switch by choice.
	leftUnproven
	// emptied: no uplink has a place any more.
	emptied
	// forced: off uplinks that are silent, cut or gone.
	forced
	// reconfigured: off uplinks that a new configuration does not have, or not there. It is
	// no fault, and does not count as a switch by choice.
	reconfigured
	// fledShunned: the same, off uplinks that are shunned and no more, so that the
	// way back is no failback.
	fledShunned
	// failedBack: back to a preferred uplink, by choice.
	failedBack
	// switchedOver: to a better uplink or one that the operator wants, by choice.
	switchedOver
)

// decision is the first rung that a selection came to, and why.
type decision struct {
	kind   decisionKind
	to     []Share
	reason string
	// evidence is as in SwitchChange.
	evidence time.Duration
	// asked: the operator wants it, whatever the state of what is left.
	asked bool
}

// stay keeps the first rung.
var stay = decision{kind: stayed}

const (
	// quickStart is how long after the first answer a more preferred uplink that
	// answers takes over at once.
	quickStart = 10 * time.Second
	// freshProof is how old, beyond a path's own deadline, a probe may be whose
	// answer proves the destination of a switch that nothing forces. At the default
	// interval this needs no extra probe.
	freshProof = 500 * time.Millisecond
	// operatorTime is how long after the operator's command a switch counts as
	// caused by it: the uplink may have to be proven first.
	operatorTime = 2 * time.Second
)

// decide selects the first rung of a ladder. It keeps the present one unless that
// can no longer carry, or a better one may replace it.
func (s *selector) decide(t *turn, c *choice) decision {
	rs := rungs(c.candidates)
	if len(rs) == 0 {
		if len(c.first) == 0 {
			return stay
		}
		return s.leave(t.now, c, c.first, decision{kind: emptied})
	}
	present := c.presentOf(c.first)
	switch {
	case !c.begun:
		return decision{kind: placed, to: shares(rs[0])}
	case len(c.first) == 0:
		return decision{kind: forced, to: shares(rs[0]), reason: "nothing carried before", evidence: -1}
	case len(present) == 0:
		return s.leave(t.now, c, c.first, decision{kind: forced, to: shares(rs[0])})
	}
	if len(present) < len(c.first) || slices.ContainsFunc(present, func(k *candidate) bool { return k.rank.silent() }) {
		return s.flee(t, c, present, rs)
	}
	return s.improve(t, c, present, rs)
}

// leave completes a decision to leave uplinks by its reason, that they no longer carry,
// and its evidence. Where nothing but the configuration is the reason, that is its kind.
func (s *selector) leave(now Instant, c *choice, from []Share, d decision) decision {
	var reasons []string
	d.evidence = -1
	faults := 0
	for _, share := range from {
		p := s.uplinks.path(share.Uplink, c.family)
		switch {
		case p == nil:
			reasons = append(reasons, cmp.Or(share.Uplink, "what carried")+" is not configured any more")
			continue
		case !c.policy.has(share.Uplink):
			reasons = append(reasons, fmt.Sprintf("policy %s does not use %s any more", c.policy.cfg.Name, share.Uplink))
			continue
		case !p.up.cfg.Enabled:
			reasons = append(reasons, share.Uplink+" is disabled")
			continue
		}
		faults++
		reason := p.reason
		if len(from) > 1 {
			reason = share.Uplink + ": " + reason
		}
		reasons = append(reasons, reason)
		if p.evidence != never {
			d.evidence = max(d.evidence, now-p.evidence)
		}
	}
	if faults == 0 && len(from) > 0 {
		d.kind = reconfigured
	}
	d.reason = strings.Join(reasons, "; ")
	return d
}

// flee leaves uplinks that are silent, cut or gone. It needs one that answers now,
// except where the kernel itself says that nothing can pass.
func (s *selector) flee(t *turn, c *choice, present []*candidate, rs [][]*candidate) decision {
	bad := slices.DeleteFunc(slices.Clone(present), func(k *candidate) bool { return !k.rank.silent() })
	if len(present) == len(c.first) && s.isQueue(t, c, bad) {
		return stay
	}
	to := s.refuge(t, c, present, bad, rs)
	if to == nil {
		return stay
	}
	left := slices.DeleteFunc(slices.Clone(c.first), func(share Share) bool { return contains(to, share.Uplink) })
	kind := fledShunned
	if slices.ContainsFunc(bad, func(k *candidate) bool { return k.rank != rankShunned }) {
		kind = forced
	}
	return s.leave(t.now, c, left, decision{kind: kind, to: to})
}

// refuge finds where to go from a rung some of whose members are bad; nil to stay.
// The first choice is what is left of the rung, then the best rung, in each the
// members that have answered since all of the silence began. Where none has, only
// cut members are left. One that lacks its source or next hop is not silent: the kernel
// itself has left it, so nothing has to be proven first.
func (s *selector) refuge(t *turn, c *choice, present, bad []*candidate, rs [][]*candidate) []Share {
	since := never
	for _, k := range bad {
		if k.rank != rankCut && !k.path.gap.open {
			since = max(since, k.path.silentSince())
		}
	}
	proven := func(cs []*candidate) []Share {
		var to []Share
		for _, k := range cs {
			switch {
			case !k.rank.answers():
			case !k.path.provenSince(since):
				k.standing = unproven
			case slices.ContainsFunc(bad, func(b *candidate) bool { return !s.lastCallFailed(t, b.path, k.path) }):
				k.standing = awaitsLastCall
			default:
				to = append(to, k.share)
			}
		}
		return to
	}
	if left := proven(present); len(left) > 0 {
		return left
	}
	awaited := false
	for _, r := range rs {
		if to := proven(r); len(to) > 0 {
			return to
		}
		if awaited = mayYetAnswer(s, t, r, bad); awaited {
			break
		}
	}
	if to := blindRefuge(bad, rs); len(to) > 0 && !awaited {
		return to
	}
	s.awaitsProof = true
	uncut := slices.DeleteFunc(slices.Clone(present), func(k *candidate) bool { return k.rank == rankCut })
	switch {
	case len(uncut) > 0 && len(uncut) < len(c.first):
		return shares(uncut)
	case len(uncut) > 0:
		return nil
	case rs[0][0].rank != rankCut:
		return shares(rs[0])
	case len(present) < len(c.first):
		return shares(present) // the others are gone
	}
	return nil
}

// betterWait is for how long a better uplink is waited for that has yet to answer, while a
// worse one has: it saves the traffic two switches, and maybe a metered way.
const betterWait = 100 * time.Millisecond

// mayYetAnswer reports whether a member of a rung was asked and is not late yet, a short
// time after the last of the bad ones became so.
func mayYetAnswer(s *selector, t *turn, r, bad []*candidate) bool {
	until := never
	for _, k := range bad {
		until = max(until, k.path.since+betterWait)
	}
	asked := func(k *candidate) bool {
		return k.rank.answers() && k.path.state != Suspect && len(k.path.air.open) > 0
	}
	if t.now >= until || !slices.ContainsFunc(r, asked) {
		return false
	}
	s.due = min(s.due, until)
	return true
}

// blindRefuge finds where to go from a rung that is down when no candidate can prove
// itself: to uplinks of which nothing is known because no probe can be sent, and of
// which no other witness says that they are dead. An uplink that is merely shunned is
// not left for those.
func blindRefuge(bad []*candidate, rs [][]*candidate) []Share {
	if slices.ContainsFunc(bad, func(k *candidate) bool { return k.rank == rankShunned }) {
		return nil
	}
	for _, r := range rs {
		var to []Share
		for _, k := range r {
			if k.path.unsent.blind && !k.rank.silent() && k.path.state != Suspect {
				to = append(to, k.share)
			}
		}
		if len(to) > 0 {
			return to
		}
	}
	return nil
}

// improve leaves a live first rung where a better one may replace it: as the
// operator wants it, at the start, off a degraded uplink, or back to a preferred one.
func (s *selector) improve(t *turn, c *choice, present []*candidate, rs [][]*candidate) decision {
	ideal := rs[0]
	d := decision{to: shares(ideal), evidence: -1}
	if sameUplinks(d.to, c.first) {
		if slices.Equal(d.to, c.first) {
			return stay
		}
		d.kind = reweighed
		return d
	}
	worst := present[0]
	for _, k := range present {
		if k.rank > worst.rank {
			worst = k
		}
	}
	if kind, reason := byOperator(t.now, c.policy, ideal, present); kind != stayed {
		d.kind, d.reason, d.asked = kind, reason, true
		return s.whenDue(t, c, ideal, d, c.voluntary+s.failback.MinInterval)
	}
	if worst.rank == ideal[0].rank && !slices.ContainsFunc(slices.Concat(ideal, present), func(k *candidate) bool { return k.group != drainedLive }) {
		return keep(ideal, behind) // all are drained: none of them gets what another one carries
	}
	name := ideal[0].up.cfg.Name
	again := sameNames(c.leftShunned, d.to)
	switch {
	case worst.rank == rankUnknown && c.adopted && t.now < c.notBefore:
		s.due = min(s.due, c.notBefore)
		return keep(ideal, tooSoon)
	case worst.path.unsent.blind && !ideal[0].rank.answers():
		return keep(ideal, unproven) // neither can be asked
	case worst.rank == rankUnknown:
		d.kind, d.reason = placed, name+" is preferred and nothing answers yet"
		if ideal[0].rank.answers() {
			d.reason = name + " answers first"
		}
		if worst.path.proven {
			d.kind = leftUnproven
		}
		return d
	case worst.rank == rankUnusable:
		d.kind, d.reason = forced, worst.path.reason
		return s.whenDue(t, c, ideal, d, t.now)
	case ideal[0].rank != rankUp:
		return keep(ideal, notUp)
	case c.starting(t.now) && preferred(ideal, present):
		d.kind = placed
		return d
	case worst.rank == rankDegraded && c.spill.queues(t.now, worst) && !preferred(ideal, present):
		return stay // it is full, which is a reason to overflow
	case worst.rank == rankDegraded:
		d.kind, d.reason = switchedOver, degradedBy(worst.path, worst.path.reason, t.now)
	case !preferred(ideal, present):
		return stay
	case s.failback.Manual && !again:
		return keep(ideal, onlyByOperator)
	case c.reordered(ideal):
		d.kind, d.reason = switchedOver, "the order of preference has changed"
	default:
		d.kind, d.reason = failedBack, returnReason(ideal, again)
	}
	quiet := c.voluntary
	if again && c.restless {
		for _, k := range ideal {
			quiet = max(quiet, k.path.suspectAt)
		}
	}
	return s.whenDue(t, c, ideal, d, max(c.notBefore, quiet+s.failback.MinInterval))
}

// keep stays, and notes why the candidates of a better rung have to wait.
func keep(better []*candidate, why standing) decision {
	for _, k := range better {
		k.standing = why
	}
	return stay
}

// byOperator is what the operator's overrides want of a first rung: to leave drained
// uplinks, to go to the one that was switched to, and back; stayed for nothing.
func byOperator(now Instant, pol *policy, rung, present []*candidate) (decisionKind, string) {
	var drained []string
	for _, k := range present {
		if k.group == drainedLive {
			drained = append(drained, k.up.cfg.Name)
		}
	}
	switch ideal := rung[0]; {
	case !ideal.rank.answers():
	case ideal.group == pinned:
		return switchedOver, "switched to " + ideal.up.cfg.Name + " by the operator"
	case len(drained) == 1 && ideal.group < drainedLive:
		return switchedOver, drained[0] + " is drained"
	case len(drained) > 1 && ideal.group < drainedLive:
		return switchedOver, strings.Join(drained, " and ") + " are drained"
	case pol.isResumed(now, rung) && ideal.rank == rankUp:
		return failedBack, pol.resumedBy
	}
	return stayed, ""
}

// whenDue makes a switch by choice if it is due, and if its destination is under
// no suspicion and has answered lately; otherwise it stays for now, and probes. A
// switch just commanded by the operator does not wait until it is due; what the
// command causes later, when uplinks come and go, does.
func (s *selector) whenDue(t *turn, c *choice, ideal []*candidate, d decision, due Instant) decision {
	if t.now < due && !c.policy.operatorActed(t.now) {
		s.due = min(s.due, due)
		return keep(ideal, tooSoon)
	}
	for _, k := range ideal {
		if k.path.state == Suspect {
			s.awaitsProof = true
			return keep([]*candidate{k}, doubtful)
		}
		if !k.path.provenSince(t.now - freshProof - k.path.targets.slowest(k.up.cfg.Probe.LostAfter)) {
			k.path.startBurst(t)
			s.awaitsProof = true
			return keep([]*candidate{k}, unproven)
		}
	}
	return d
}

// returnReason is why an uplink is used again.
func returnReason(ideal []*candidate, leftShunned bool) string {
	k := ideal[0]
	for _, o := range ideal {
		if o.path.since > k.path.since {
			k = o
		}
	}
	switch {
	case leftShunned:
		return k.up.cfg.Name + " answers again"
	case strings.HasPrefix(k.path.reason, goodFor):
		return k.up.cfg.Name + " " + k.path.reason
	}
	return k.up.cfg.Name + " is up"
}

// preferred reports whether a rung is preferred to the present one: an earlier tier,
// more of the same, or the same without those of later tiers, which it shared with
// before a new configuration.
func preferred(a, present []*candidate) bool {
	first, last := present[0].tier, present[0].tier
	for _, k := range present {
		first, last = min(first, k.tier), max(last, k.tier)
	}
	tier := a[0].tier
	return tier < first || tier == first && (last > first || len(a) > len(present))
}

func sameUplinks(a, b []Share) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s Share) bool { return !contains(b, s.Uplink) })
}

func sameNames(names []string, to []Share) bool {
	return len(names) > 0 && len(names) == len(to) &&
		!slices.ContainsFunc(to, func(s Share) bool { return !slices.Contains(names, s.Uplink) })
}
