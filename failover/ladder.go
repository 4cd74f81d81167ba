package failover

import (
	"cmp"
	"slices"
)

// rank orders the states for selection; lower is better.
type rank uint8

const (
	rankUp rank = iota
	rankDegraded
	rankRecovering
	// rankUnusable is a down by loss: it answers.
	rankUnusable
	rankUnknown
	rankShunned
	rankDown
	// rankCut is a down reported by the kernel: nothing can pass.
	rankCut
)

// answers reports whether a path of this rank answers.
func (r rank) answers() bool { return r <= rankUnusable }

// silent reports whether traffic should leave a path of this rank.
func (r rank) silent() bool { return r >= rankShunned }

func rankOf(p *path) rank {
	switch p.class() {
	case Up:
		return rankUp
	case Degraded:
		if p.state == Down {
			return rankUnusable
		}
		return rankDegraded
	case Recovering:
		return rankRecovering
	case Unknown:
		return rankUnknown
	case Shunned:
		return rankShunned
	case Down, Absent, Suspect:
		if p.cut() {
			return rankCut
		}
		return rankDown
	}
	panic("failover: unknown state " + p.state.String())
}

// group is the coarse order of a ladder. Within a group the rank decides, and
// then the preference.
type group uint8

const (
	// pinned is the uplink that the operator switched to, while it answers.
	pinned group = iota
	ownLive
	defaultLive
	// drainedLive uplinks are better than none.
	drainedLive
	// useless uplinks answer, with a loss that no session outlives.
	useless
	ownSilent
	defaultSilent
)

// candidate is a member of a policy that can have a place in a ladder now.
type candidate struct {
	member
	path  *path
	group group
	rank  rank
	// reason, in words, is that of the state from which the rank follows.
	reason string
	// standing is why it is in the first rung, or why not.
	standing standing
}

// standing is why a candidate is in the first rung, or why not. The set is closed.
type standing uint8

const (
	// behind: others come before it by group, rank or preference, or the present
	// first rung is kept and it is no reason to leave it.
	behind standing = iota
	// carrying: it is in the first rung.
	carrying
	// unproven: no probe that was sent since the silence began is answered yet,
	// or none that was sent lately.
	unproven
	// awaitsLastCall: it has just come, and the silent ones get a last call first.
	awaitsLastCall
	// doubtful: it is suspect, and nothing forces traffic to it.
	doubtful
	// notUp: it answers, but a live first rung is left only for one that is up.
	notUp
	// tooSoon: the least interval between switches, or the time for which an
	// adopted first rung is kept, has not passed.
	tooSoon
	// onlyByOperator: failback is manual.
	onlyByOperator
	// overflowing: it is in the first rung, and full, so that new flows go elsewhere.
	overflowing
)

// rankCandidates lists the routable members of a policy in a family, best first.
func (s *selector) rankCandidates(c *choice) []*candidate {
	members := c.policy.members[c.family]
	all := make([]candidate, 0, len(members))
	cs := make([]*candidate, 0, len(members))
	for _, m := range members {
		p := &m.up.paths[c.family]
		if !p.routable() {
			continue
		}
		r := rankOf(p)
		all = append(all, candidate{member: m, path: p, group: s.groupOf(c.policy, m, r), rank: r, reason: p.reason})
		cs = append(cs, &all[len(all)-1])
	}
	slices.SortStableFunc(cs, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.rank, b.rank), cmp.Compare(a.tier, b.tier))
	})
	return cs
}

func (s *selector) groupOf(pol *policy, m member, r rank) group {
	switch {
	case r.answers() && r != rankUnusable && pol.pin.set && pol.pin.uplink == m.up.cfg.Name:
		return pinned
	case r.silent() && m.own:
		return ownSilent
	case r.silent():
		return defaultSilent
	case r == rankUnusable:
		return useless
	case s.drain(m.up.cfg.Name).set:
		return drainedLive
	case m.own:
		return ownLive
	}
	return defaultLive
}

// rungs joins adjacent candidates into rungs: those of one tier that are equally
// good, and live, share one.
func rungs(cs []*candidate) [][]*candidate {
	rs := make([][]*candidate, 0, len(cs))
	for len(cs) > 0 {
		first, n := cs[0], 1
		if first.group != pinned && !first.rank.silent() {
			for n < len(cs) && cs[n].group == first.group && cs[n].rank == first.rank && cs[n].tier == first.tier {
				n++
			}
		}
		rs = append(rs, cs[:n:n])
		cs = cs[n:]
	}
	return rs
}

// shares lists what the members of a rung carry.
func shares(cs []*candidate) []Share {
	var ss []Share
	for _, c := range cs {
		ss = append(ss, c.share)
	}
	return ss
}

// names lists the uplinks of some shares.
func names(shares []Share) []string {
	ns := make([]string, 0, len(shares))
	for _, s := range shares {
		if s.Uplink != "" { // else another uplink has taken its name
			ns = append(ns, s.Uplink)
		}
	}
	return ns
}

// contains reports whether an uplink is among those of some shares.
func contains(shares []Share, name string) bool { return Rung{Shares: shares}.has(name) }

// avoided lists the candidates to which no new flow goes, if there are others.
func avoided(c *choice) []string {
	var all []string
	for _, k := range c.candidates {
		if k.group >= drainedLive && !contains(c.first, k.up.cfg.Name) {
			all = append(all, k.up.cfg.Name)
		}
	}
	if len(all) == len(c.candidates) || !slices.ContainsFunc(c.candidates, func(k *candidate) bool { return k.group < drainedLive }) {
		return nil
	}
	slices.Sort(all)
	return all
}

// buildLadder puts the first rung, which is sticky, above the others, and above that
// what takes its overflow.
func buildLadder(c *choice) Ladder {
	l := Ladder{Lost: slices.Clone(c.lost), Block: c.policy.cfg.Block}
	l.Blocked = l.Block && !slices.ContainsFunc(c.candidates, func(k *candidate) bool { return k.rank < rankDown })
	top := slices.Clone(c.spill.to)
	if len(top) > 0 {
		l.Rungs = append(l.Rungs, Rung{Shares: slices.Clone(top)})
	}
	if first := slices.DeleteFunc(slices.Clone(c.first), func(share Share) bool { return contains(top, share.Uplink) }); len(first) > 0 {
		l.Rungs = append(l.Rungs, Rung{Shares: first})
		top = append(top, first...)
	}
	l.Avoided = avoided(c)
	l.Drained = c.drainedAlive()
	rest := slices.DeleteFunc(slices.Clone(c.candidates), func(k *candidate) bool { return contains(top, k.up.cfg.Name) })
	for _, r := range rungs(rest) {
		l.Rungs = append(l.Rungs, Rung{Shares: shares(r)})
	}
	l.Spare = spare(c, l.Rungs)
	return l
}

// spare returns the uplink of the next rung that may carry what the first one does not
// reach, see Ladder.Spare.
func spare(c *choice, rungs []Rung) string {
	is := func(name string, fit func(*candidate) bool) bool {
		return slices.ContainsFunc(c.candidates, func(k *candidate) bool { return k.up.cfg.Name == name && fit(k) })
	}
	speaks := func(k *candidate) bool { return !k.rank.silent() }
	up := func(k *candidate) bool { return (k.rank == rankUp || k.rank == rankUnknown) && k.group < drainedLive }
	if len(rungs) < 2 || len(rungs[0].Shares) != 1 || !is(rungs[0].Shares[0].Uplink, speaks) {
		return ""
	}
	best := Share{}
	for _, share := range rungs[1].Shares {
		if share.Weight > best.Weight && is(share.Uplink, up) {
			best = share
		}
	}
	return best.Uplink
}
