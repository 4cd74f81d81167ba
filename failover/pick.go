package failover

import (
	"slices"
	"strings"
	"time"
)

// pick is the first rung that a selection came to.
type pick struct {
	to       []Share
	kind     SwitchKind
	reason   string
	evidence time.Duration
	// voluntary: nothing forced it. silent: it is the finding of a place at the
	// start, or no change of uplinks, and no switch. shunned: the rung before
	// was left because it is shunned, no more.
	voluntary, silent, shunned bool
}

// pick selects the first rung of a ladder. It keeps the present one unless that
// can no longer carry, or a better one may have it.
func (e *Engine) pick(pol *policy, f Family, cs []candidate) pick {
	c := &pol.family[f]
	rs := rungs(cs)
	if len(rs) == 0 {
		return e.toNothing(c, f)
	}
	present := presentOf(c, cs)
	if len(present) == 0 {
		return e.toAny(c, f, rs[0])
	}
	if slices.ContainsFunc(present, func(k candidate) bool { return k.rank >= rankShunned }) || len(present) < len(c.first) {
		return e.forced(c, f, present, rs)
	}
	return e.better(c, present, rs)
}

// presentOf lists the candidates that are in the present first rung.
func presentOf(c *choice, cs []candidate) []candidate {
	var present []candidate
	for _, s := range c.first {
		for _, k := range cs {
			if k.up.cfg.Name == s.Uplink {
				present = append(present, k)
			}
		}
	}
	return present
}

// toNothing empties the first rung: no uplink has a place.
func (e *Engine) toNothing(c *choice, f Family) pick {
	reason, evidence := e.causeOf(c.first, f)
	return pick{kind: Failover, reason: reason, evidence: evidence, silent: len(c.first) == 0}
}

// toAny fills an empty rung, or one of which nothing is left, with the best.
// The first filling after the start is no switch.
func (e *Engine) toAny(c *choice, f Family, best []candidate) pick {
	reason, evidence := e.causeOf(c.first, f)
	if len(c.first) == 0 {
		reason, evidence = "nothing carried before", -1
	}
	return pick{to: shares(best), kind: Failover, reason: reason, evidence: evidence, silent: !c.begun}
}

// causeOf is the reason why uplinks no longer carry, and its evidence.
func (e *Engine) causeOf(from []Share, f Family) (string, time.Duration) {
	var reasons []string
	evidence := time.Duration(-1)
	for _, s := range from {
		p := e.path(s.Uplink, f)
		if p == nil {
			reasons = append(reasons, s.Uplink+" is not configured any more")
			continue
		}
		reason := p.reason
		if !p.up.cfg.Enabled {
			reason = "disabled"
		}
		if len(from) > 1 {
			reason = s.Uplink + ": " + reason
		}
		reasons = append(reasons, reason)
		if p.evidence != never {
			evidence = max(evidence, e.now-p.evidence)
		}
	}
	return strings.Join(reasons, "; "), evidence
}

// forced leaves members that are silent, cut or gone. It needs an uplink that
// answers now, except where the kernel itself says that nothing can pass.
func (e *Engine) forced(c *choice, f Family, present []candidate, rs [][]candidate) pick {
	stay := pick{to: c.first, silent: true}
	bad := slices.DeleteFunc(slices.Clone(present), func(k candidate) bool { return k.rank < rankShunned })
	since := never
	for _, k := range bad {
		if k.rank != rankCut {
			since = max(since, k.path.silentSince())
		}
	}
	to := e.refuge(c, present, bad, rs, since)
	if to == nil {
		return stay
	}
	left := slices.DeleteFunc(slices.Clone(c.first), Rung{Shares: to}.holds)
	reason, evidence := e.causeOf(left, f)
	return pick{to: to, kind: Failover, reason: reason, evidence: evidence, shunned: allShunned(bad)}
}

// refuge finds where to go from a rung some of whose members are bad; nil to
// stay.
func (e *Engine) refuge(c *choice, present, bad []candidate, rs [][]candidate, since Instant) []Share {
	proven := func(cs []candidate) []candidate {
		return slices.DeleteFunc(cs, func(k candidate) bool {
			return k.rank > rankAnswering || !k.path.provenSince(since) || !e.calledSince(c, bad, k.path)
		})
	}
	if left := proven(slices.Clone(present)); len(left) > 0 {
		return shares(left)
	}
	for _, r := range rs {
		if to := proven(slices.Clone(r)); len(to) > 0 {
			return shares(to)
		}
	}
	e.awaitProof = true
	uncut := slices.DeleteFunc(slices.Clone(present), func(k candidate) bool { return k.rank == rankCut })
	switch {
	case len(uncut) > 0 && len(uncut) < len(c.first):
		return shares(uncut)
	case len(uncut) > 0 || rs[0][0].rank == rankCut:
		return nil
	}
	return shares(rs[0])
}

func allShunned(cs []candidate) bool {
	return !slices.ContainsFunc(cs, func(k candidate) bool { return k.rank != rankShunned })
}

// calledSince reports whether all that are silent had their last call.
func (e *Engine) calledSince(c *choice, silent []candidate, other *path) bool {
	for _, k := range silent {
		if !e.stillSilent(c, k.path, other) {
			return false
		}
	}
	return true
}
