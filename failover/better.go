package failover

import (
	"slices"
	"strings"
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
	if c.firstAnswer != never && e.now <= c.firstAnswer+quickStart && preferred(ideal, present) {
		return pick{to: to, silent: true}
	}
	return e.voluntarily(c, ideal, present, worst)
}

// byHand follows the operator: off a drained uplink, onto a pinned one, and
// back. At the operator's word it is done at once; what the word means later,
// when uplinks come and go, is subject to the least interval.
func (e *Engine) byHand(c *choice, ideal []candidate, worst candidate) (pick, bool) {
	m := pick{to: shares(ideal), kind: Switchover, evidence: -1, voluntary: true}
	switch {
	case ideal[0].rank > rankAnswering:
		return m, false
	case ideal[0].group == pinned:
		m.reason = "switched to " + ideal[0].up.cfg.Name + " by the operator"
	case worst.group == drainedLive && ideal[0].group < drainedLive:
		m.reason = worst.up.cfg.Name + " is drained"
	case e.handAt == e.now && ideal[0].rank == rankUp:
		m.kind, m.reason = Return, "resumed by the operator"
	default:
		return m, false
	}
	if due := c.voluntary + e.cfg.Failback.MinInterval; e.handAt != e.now && e.now < due {
		c.due = due
		return pick{to: c.first, silent: true}, true
	}
	return m, true
}

// voluntarily leaves a live rung for one that is up, under the rules that keep
// traffic from being moved about: not before it may, not too often, and not
// onto what has not answered lately.
func (e *Engine) voluntarily(c *choice, ideal, present []candidate, worst candidate) pick {
	stay := pick{to: c.first, silent: true}
	m := pick{to: shares(ideal), kind: Return, evidence: -1, voluntary: true}
	switch {
	case worst.rank == rankDegraded:
		m.kind, m.reason = Switchover, worst.path.reason
	case !preferred(ideal, present):
		return stay
	case e.cfg.Failback.Manual && !sameNames(c.shunned, m.to):
		return stay
	default:
		m.reason = returnReason(ideal, sameNames(c.shunned, m.to))
	}
	if due := max(c.notBefore, c.voluntary+e.cfg.Failback.MinInterval); e.now < due {
		c.due = due
		return stay
	}
	for _, k := range ideal {
		if k.path.state != Up {
			return stay
		}
		if !k.path.provenSince(e.now - freshProof) {
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
