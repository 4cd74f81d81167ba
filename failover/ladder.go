package failover

import (
	"cmp"
	"slices"
)

// group is the coarse order of a ladder; within a group the state ranks, and
// then the preference.
type group uint8

const (
	pinned group = iota
	ownLive
	defaultLive
	// drainedLive uplinks are better than none.
	drainedLive
	ownLost
	defaultLost
)

// candidate is a member that can have a place in a ladder now.
type candidate struct {
	member
	path  *path
	group group
	rank  int
}

// rank orders the states for selection; lower is better.
func (p *path) rank() int {
	switch p.class() {
	case Up:
		return 0
	case Degraded:
		return 1
	case Recovering:
		return 2
	case Unknown:
		return 3
	case Shunned:
		return 4
	case Down, Absent, Suspect:
		if p.cut() {
			return rankCut
		}
		return rankDown
	}
	panic("failover: unknown state " + p.state.String())
}

// Ranks with a name. Up to rankAnswering a path answers.
const (
	rankUp        = 0
	rankDegraded  = 1
	rankAnswering = 2
	rankUnknown   = 3
	rankShunned   = 4
	rankDown      = 5
	// rankCut is a down by the kernel's word: nothing can pass.
	rankCut = 6
)

// candidates lists the routable members of a policy in a family, best first.
func (e *Engine) candidates(pol *policy, f Family) []candidate {
	var cs []candidate
	for _, m := range pol.members {
		p := &m.up.paths[f]
		if !p.routable() {
			continue
		}
		c := candidate{member: m, path: p, rank: p.rank()}
		c.group = e.groupOf(pol, c)
		cs = append(cs, c)
	}
	slices.SortStableFunc(cs, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.rank, b.rank), cmp.Compare(a.tier, b.tier))
	})
	return cs
}

func (e *Engine) groupOf(pol *policy, c candidate) group {
	answering := c.rank <= rankAnswering
	switch {
	case answering && pol.pin.set && pol.pin.uplink == c.up.cfg.Name:
		return pinned
	case c.rank >= rankShunned && c.own:
		return ownLost
	case c.rank >= rankShunned:
		return defaultLost
	case c.up.drained.set:
		return drainedLive
	case c.own:
		return ownLive
	}
	return defaultLive
}

// rungs joins the candidates of one tier that are equally good, and live, into
// one rung each.
func rungs(cs []candidate) [][]candidate {
	var rs [][]candidate
	for _, c := range cs {
		if n := len(rs); n > 0 {
			l := rs[n-1][0]
			if c.group == l.group && c.rank == l.rank && c.tier == l.tier && c.group != pinned && c.rank < rankShunned {
				rs[n-1] = append(rs[n-1], c)
				continue
			}
		}
		rs = append(rs, []candidate{c})
	}
	return rs
}

// shares lists what a rung's members carry.
func shares(cs []candidate) []Share {
	var ss []Share
	for _, c := range cs {
		ss = append(ss, c.share)
	}
	return ss
}

// buildLadder puts the first rung, which is sticky, above the others.
func buildLadder(first []Share, cs []candidate, lost []string, block bool) Ladder {
	l := Ladder{Lost: lost, Block: block}
	if len(first) > 0 {
		l.Rungs = append(l.Rungs, Rung{Shares: slices.Clone(first)})
	}
	rest := slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool {
		return Rung{Shares: first}.has(c.up.cfg.Name)
	})
	for _, r := range rungs(rest) {
		l.Rungs = append(l.Rungs, Rung{Shares: shares(r)})
	}
	return l
}

func (l Ladder) equal(o Ladder) bool {
	return l.Block == o.Block && slices.Equal(l.Lost, o.Lost) &&
		slices.EqualFunc(l.Rungs, o.Rungs, func(a, b Rung) bool { return slices.Equal(a.Shares, b.Shares) })
}
