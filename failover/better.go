package failover

import (
	"slices"
	"strings"
	"time"
)

// better looks whether a live first rung is left for a better one: at the
// start, by the operator's hand, off a degraded uplink, or back to a preferred.
func (e *Engine) better(c *choice, present []candidate, rs [][]candidate) pick {
	stay := pick{to: c.first, silent: true}
	ideal := rs[0]
	to := shares(ideal)
	if sameUplinks(to, c.first) {
		stay.to = to
		return stay
	}
	worst := present[0]
	for _, k := range present {
		if k.rank > worst.rank {
			worst = k
		}
	}
	if m, ok := e.byHand(c, ideal, worst); ok {
		return m
	}
	if worst.rank == rankUnknown {
		if c.adopted && e.now < c.notBefore {
			c.due = c.notBefore
			return stay
		}
		reason := ideal[0].up.cfg.Name + " is preferred and nothing answers yet"
		if ideal[0].rank <= rankAnswering {
			reason = ideal[0].up.cfg.Name + " answers first"
		}
		return pick{to: to, kind: Switchover, reason: reason, evidence: -1, silent: !worst.path.proven}
	}
	if ideal[0].rank != rankUp {
		return stay
	}
	if e.starting(c) && preferred(ideal, present) {
		return pick{to: to, silent: true}
	}
	return e.voluntarily(c, ideal, present, worst)
}

// starting reports whether a ladder is still finding its place: the first answer
// was a moment ago, and no switch has been made.
func (e *Engine) starting(c *choice) bool {
	return !c.switched && c.firstAnswer != never && e.now <= c.firstAnswer+quickStart
}

// byHand follows the operator: off a drained uplink, onto a pinned one, and
// back. At the operator's word the least interval is not waited for; what the
// word means later, when uplinks come and go, is subject to it.
func (e *Engine) byHand(c *choice, ideal []candidate, worst candidate) (pick, bool) {
	m := pick{to: shares(ideal), kind: Switchover, evidence: -1, voluntary: true}
	switch {
	case ideal[0].rank > rankAnswering:
		return m, false
	case ideal[0].group == pinned:
		m.reason = "switched to " + ideal[0].up.cfg.Name + " by the operator"
	case worst.group == drainedLive && ideal[0].group < drainedLive:
		m.reason = worst.up.cfg.Name + " is drained"
	case e.handed() && ideal[0].rank == rankUp:
		m.kind, m.reason = Return, "resumed by the operator"
	default:
		return m, false
	}
	return e.when(c, ideal, m, c.voluntary+e.cfg.Failback.MinInterval), true
}

// handTime is how long after the operator's word a switch counts as made by it:
// the target may have to be proven first.
const handTime = 2 * time.Second

// handed reports whether the operator has just spoken.
func (e *Engine) handed() bool { return e.now-e.handAt < handTime }

// voluntarily leaves a live rung for one that is up, under the rules that keep
// traffic from being moved about.
func (e *Engine) voluntarily(c *choice, ideal, present []candidate, worst candidate) pick {
	m := pick{to: shares(ideal), kind: Return, evidence: -1, voluntary: true}
	again := sameNames(c.shunned, m.to)
	switch {
	case worst.rank == rankDegraded:
		m.kind, m.reason = Switchover, worst.path.reason
	case !preferred(ideal, present), e.cfg.Failback.Manual && !again:
		return pick{to: c.first, silent: true}
	default:
		m.reason = returnReason(ideal, again)
	}
	return e.when(c, ideal, m, max(c.notBefore, c.voluntary+e.cfg.Failback.MinInterval))
}

// when makes a switch by choice if it is due, and if its target is under no
// suspicion and has answered lately; otherwise it stays for now, and asks.
func (e *Engine) when(c *choice, ideal []candidate, m pick, due Instant) pick {
	stay := pick{to: c.first, silent: true}
	if e.now < due && !e.handed() {
		c.due = due
		return stay
	}
	for _, k := range ideal {
		if k.path.state == Suspect {
			e.awaitProof = true
			return stay
		}
		if !k.path.provenSince(e.now - freshProof - k.path.slowest()) {
			e.look(k.path)
			e.awaitProof = true
			return stay
		}
	}
	return m
}

// returnReason tells why an uplink is taken back.
func returnReason(ideal []candidate, shunned bool) string {
	k := ideal[0]
	for _, o := range ideal {
		if o.path.since > k.path.since {
			k = o
		}
	}
	switch {
	case shunned:
		return k.up.cfg.Name + " answers again"
	case strings.HasPrefix(k.path.reason, goodFor):
		return k.up.cfg.Name + " " + k.path.reason
	}
	return k.up.cfg.Name + " is up"
}

// preferred reports whether a rung is preferred to another: an earlier tier, or
// more of the same.
func preferred(a, b []candidate) bool {
	ta, tb := a[0].tier, b[0].tier
	for _, k := range b {
		tb = min(tb, k.tier)
	}
	return ta < tb || ta == tb && len(a) > len(b)
}

func sameUplinks(a, b []Share) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s Share) bool { return !Rung{Shares: b}.has(s.Uplink) })
}

func sameNames(names []string, to []Share) bool {
	return len(names) > 0 && len(names) == len(to) &&
		!slices.ContainsFunc(to, func(s Share) bool { return !slices.Contains(names, s.Uplink) })
}
