package failover

import (
	"slices"
	"time"
)

// quickStart is how long after the first answer a more preferred uplink that
// answers takes over at once.
const quickStart = 2 * time.Second

// freshProof is how long ago, beyond a path's own deadline, a probe may have
// left whose answer proves the target of a switch that nothing forces. At the
// default interval this needs no extra probe.
const freshProof = 500 * time.Millisecond

// choose selects for each policy and family, and makes the intent.
func (e *Engine) choose() {
	if !e.awaitLinks() {
		return
	}
	e.endOverrides()
	for _, pol := range e.policies {
		e.dirty = e.dirty || pol.due <= e.now
	}
	if !e.dirty {
		return
	}
	e.dirty, e.awaitProof = false, false
	for _, pol := range e.policies {
		pol.due = forever
		for _, f := range Families {
			e.chooseFirst(pol, f)
			pol.due = min(pol.due, pol.family[f].due)
		}
	}
	e.noteCarrying()
	e.updateIntent()
}

// chooseFirst selects one ladder's first rung, and builds the ladder.
func (e *Engine) chooseFirst(pol *policy, f Family) {
	c := &pol.family[f]
	c.due = forever
	cs := e.candidates(pol, f)
	e.noteFirstAnswer(c, cs)
	e.forgetShunned(c, f)
	m := e.pick(pol, f, cs)
	e.move(pol, f, m)
	e.noteLost(pol, f, cs)
	c.ladder = buildLadder(c.first, cs, slices.Clone(c.lost), pol.cfg.Block)
}

func (e *Engine) noteFirstAnswer(c *choice, cs []candidate) {
	if c.firstAnswer != never {
		return
	}
	for _, k := range cs {
		if k.rank <= rankAnswering {
			c.firstAnswer = e.now
		}
	}
}

// forgetShunned makes the way back a failback once what was left is down: it
// was more than a stall.
func (e *Engine) forgetShunned(c *choice, f Family) {
	for _, name := range c.shunned {
		if p := e.path(name, f); p == nil || p.class() == Down {
			c.shunned = nil
			return
		}
	}
}

// move carries a picked first rung out, and records it.
func (e *Engine) move(pol *policy, f Family, m pick) {
	c := &pol.family[f]
	if slices.Equal(m.to, c.first) {
		return
	}
	from := names(c.first)
	c.first = m.to
	c.adopted = false
	c.begun = c.begun || len(m.to) > 0
	if m.silent {
		return
	}
	c.switched = true
	if m.voluntary {
		c.voluntary = e.now
	}
	c.shunned = nil
	if m.shunned {
		c.shunned = from
	}
	e.leaveDegraded(c, f, from)
	e.switches++
	r := Record{At: e.now, Switch: &SwitchChange{
		Policy: pol.cfg.Name, Family: f, Kind: m.kind, From: from, To: names(m.to),
		Reason: m.reason, Evidence: m.evidence, Generation: e.nextGeneration(),
	}}
	e.record(r)
	e.lastSwitch = &r
}

// leaveDegraded marks the sessions of a rung's degraded uplinks for moving, as
// they are left.
func (e *Engine) leaveDegraded(c *choice, f Family, from []string) {
	for _, name := range from {
		if p := e.path(name, f); e.cfg.Sessions.MoveOnDegraded && p != nil && p.class() == Degraded {
			c.lose(name)
		}
	}
}

// noteLost keeps the list of uplinks whose sessions have to move: they are down,
// and the first rung answers. Once moved they stay so until their uplink
// answers, or is degraded no more.
func (e *Engine) noteLost(pol *policy, f Family, cs []candidate) {
	c := &pol.family[f]
	elsewhere := e.firstAnswers(c, f)
	var lost []string
	for _, m := range pol.members {
		p, name := &m.up.paths[f], m.up.cfg.Name
		if (Rung{Shares: c.first}).has(name) {
			continue
		}
		was := slices.Contains(c.lost, name)
		switch {
		case p.state == Down && e.cfg.Sessions.MoveOnDown && (was || elsewhere && e.calledAll(c, f, p)),
			p.class() == Degraded && e.cfg.Sessions.MoveOnDegraded && was:
			lost = append(lost, name)
		}
	}
	c.lost = lost
}

// calledAll reports whether a silent path had its last call since the first
// rung's uplinks came.
func (e *Engine) calledAll(c *choice, f Family, p *path) bool {
	for _, s := range c.first {
		if !e.stillSilent(c, p, e.path(s.Uplink, f)) {
			return false
		}
	}
	return true
}

// firstAnswers reports whether the first rung is there and answers.
func (e *Engine) firstAnswers(c *choice, f Family) bool {
	return len(c.first) > 0 && e.firstRank(c, f) <= rankAnswering
}

// firstRank is the rank of the first rung's worst member.
func (e *Engine) firstRank(c *choice, f Family) int {
	rank := 0
	for _, s := range c.first {
		rank = max(rank, e.path(s.Uplink, f).rank())
	}
	return rank
}

// noteCarrying tells the uplinks whether they carry, which sets the rhythm of
// the metered ones.
func (e *Engine) noteCarrying() {
	for _, u := range e.uplinks {
		u.carries = false
		for _, pol := range e.policies {
			for _, f := range Families {
				u.carries = u.carries || Rung{Shares: pol.family[f].first}.has(u.cfg.Name)
			}
		}
	}
	e.rhythms()
}

func (e *Engine) nextGeneration() uint64 {
	if e.intent == nil {
		return 1
	}
	return e.intent.Generation + 1
}

// updateIntent hands a new intent out when any ladder changed.
func (e *Engine) updateIntent() {
	if !e.intentChanged() {
		return
	}
	in := &Intent{Generation: e.nextGeneration()}
	for _, pol := range e.policies {
		in.Policies = append(in.Policies, PolicyIntent{
			Policy: pol.cfg.Name,
			Family: [2]Ladder{pol.family[IPv4].ladder, pol.family[IPv6].ladder},
		})
	}
	e.intent = in
	e.out.Intent = in.clone()
}

func (e *Engine) intentChanged() bool {
	if e.intent == nil || len(e.intent.Policies) != len(e.policies) {
		return true
	}
	for i, pol := range e.policies {
		old := &e.intent.Policies[i]
		if old.Policy != pol.cfg.Name || !old.Family[IPv4].equal(pol.family[IPv4].ladder) ||
			!old.Family[IPv6].equal(pol.family[IPv6].ladder) {
			return true
		}
	}
	return false
}

// clone copies an intent, so that the caller's use of it is the caller's own.
func (in *Intent) clone() *Intent {
	c := &Intent{Generation: in.Generation}
	for _, p := range in.Policies {
		q := PolicyIntent{Policy: p.Policy}
		for f, l := range p.Family {
			q.Family[f] = Ladder{Lost: slices.Clone(l.Lost), Block: l.Block}
			for _, r := range l.Rungs {
				q.Family[f].Rungs = append(q.Family[f].Rungs, Rung{Shares: slices.Clone(r.Shares)})
			}
		}
		c.Policies = append(c.Policies, q)
	}
	return c
}
