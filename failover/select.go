package failover

import "slices"

// selector owns the choice of uplinks: the policies with their ladders, the
// operator's overrides, and the intent. It reads paths; all that it asks of them
// is a burst where a choice waits for proof.
type selector struct {
	failback Failback
	sessions Sessions
	uplinks  uplinks
	policies []*policy
	// drains are the drained uplinks.
	drains  []override
	awaited awaited
	// overrideEnd is when the next override ends by itself.
	overrideEnd Instant
	// awaitsProof: a choice waits for a probe of some path to be answered or late.
	awaitsProof bool
	// due is when a choice that had to wait is to be made again.
	due    Instant
	intent *Intent
}

// choose selects the uplinks of each policy and family, and makes the intent. It
// reports whether it did, which is only where something has changed that matters.
func (s *selector) choose(t *turn) bool {
	if t.now >= s.overrideEnd {
		s.endOverrides(t)
	}
	if t.measured {
		s.measure(t)
	}
	if !t.reselect && !(t.probed && s.awaitsProof) && t.now < s.due {
		return false
	}
	s.awaitsProof, s.due = false, forever
	returnAwaited(s, t)
	for _, pol := range s.policies {
		for _, f := range Families {
			s.chooseFirst(t, &pol.family[f])
		}
	}
	s.updateIntent(t)
	return true
}

// chooseFirst selects the first rung of one ladder, and builds the ladder.
func (s *selector) chooseFirst(t *turn, c *choice) {
	c.candidates = s.rankCandidates(c)
	if c.firstAnswer == never && slices.ContainsFunc(c.candidates, func(k *candidate) bool { return k.rank.answers() }) {
		c.firstAnswer = t.now
	}
	// The way back to uplinks that were left as shunned is a failback once one of
	// them is down: it was more than a stall.
	if slices.ContainsFunc(c.leftShunned, func(name string) bool {
		p := s.uplinks.path(name, c.family)
		return p == nil || p.class() == Down
	}) {
		c.leftShunned = nil
	}
	s.carryOut(t, c, s.decide(t, c))
	for _, k := range c.candidates {
		if contains(c.first, k.up.cfg.Name) {
			k.standing = carrying
		}
	}
	s.overflow(t, c)
	followDepartures(s, t, c)
	s.updateLost(t, c)
	c.ladder = buildLadder(c)
}

// carryOut makes a decision the first rung, and records the switch where it is one.
func (s *selector) carryOut(t *turn, c *choice, d decision) {
	from := c.first
	if d.kind != stayed {
		c.first = d.to
		c.adopted = false
		c.begun = true
		c.depart(t.now, from, d)
	}
	var kind SwitchKind
	switch d.kind {
	case stayed, reweighed, placed:
		return
	case emptied, forced, fledShunned:
		kind = Failover
	case leftUnproven, reconfigured:
		kind = Switchover
	case failedBack:
		kind = Return
		c.voluntary = t.now
		if sameNames(c.leftShunned, d.to) {
			c.returned = t.now
		}
	case switchedOver:
		kind = Switchover
		c.voluntary = t.now
	default:
		panic("failover: unknown decision")
	}
	c.switched, c.ordered = true, never
	c.leftShunned = nil
	if d.kind == fledShunned {
		c.leftShunned, c.fledAt = names(from), t.now
		c.restless = c.returned != never && t.now < c.returned+s.failback.MinInterval
	}
	for _, share := range from {
		p := s.uplinks.path(share.Uplink, c.family)
		if s.sessions.MoveOnDegraded && !d.asked && p != nil && p.class() == Degraded {
			c.lose(share.Uplink)
		}
	}
	t.record(Record{Switch: &SwitchChange{
		Policy: c.policy.cfg.Name, Family: c.family, Kind: kind, From: names(from), To: names(d.to),
		Reason: d.reason, Evidence: d.evidence, ByConfig: d.kind == reconfigured, Generation: s.nextGeneration(),
	}})
}

// updateLost keeps the list of uplinks whose sessions have to move: they are down,
// and the first rung answers. Once moved they stay on the list until their uplink
// answers, or is no longer degraded; where a drain after a failback was over, until the
// uplink carries again.
func (s *selector) updateLost(t *turn, c *choice) {
	elsewhere := carriesOn(s, c)
	var lost []string
	for _, m := range c.policy.members[c.family] {
		p, name := &m.up.paths[c.family], m.up.cfg.Name
		if contains(c.first, name) {
			continue
		}
		lose := slices.Contains(c.lost, name)
		switch {
		case c.drained(name):
			lose = true
		case p.state == Down && s.sessions.MoveOnDown:
			lose = lose || elsewhere && !slices.ContainsFunc(c.first, func(share Share) bool {
				return !s.lastCallFailed(t, p, s.uplinks.path(share.Uplink, c.family))
			})
		case p.class() == Degraded && s.sessions.MoveOnDegraded:
		default:
			lose = false
		}
		if lose {
			lost = append(lost, name)
		}
	}
	c.lost = lost
}

// lastCallFailed reports whether a silent path has had its last call since another
// one came, and did not answer (see uplinks.lastCall). If not, the choice has to
// be made again when it has.
func (s *selector) lastCallFailed(t *turn, silent, other *path) bool {
	if silent.cut() || silent.gap.open || len(silent.targets) == 0 || silent.lateSent >= other.cameAt || t.now >= other.cameAt+lastCallTime {
		return true
	}
	s.awaitsProof = true
	s.due = min(s.due, other.cameAt+lastCallTime)
	return false
}

// updateIntent outputs a new intent when any ladder has changed.
func (s *selector) updateIntent(t *turn) {
	if !s.intentChanged() {
		return
	}
	s.intent = &Intent{Generation: s.nextGeneration()}
	for _, pol := range s.policies {
		s.intent.Policies = append(s.intent.Policies, PolicyIntent{
			Policy: pol.cfg.Name,
			Family: [2]Ladder{pol.family[IPv4].ladder, pol.family[IPv6].ladder},
		})
	}
	t.out.Intent = s.intent.clone()
}

func (s *selector) nextGeneration() uint64 {
	if s.intent == nil {
		return 1
	}
	return s.intent.Generation + 1
}

func (s *selector) intentChanged() bool {
	if s.intent == nil || len(s.intent.Policies) != len(s.policies) {
		return true
	}
	for i, pol := range s.policies {
		old := &s.intent.Policies[i]
		if old.Policy != pol.cfg.Name || !old.Family[IPv4].equal(pol.family[IPv4].ladder) ||
			!old.Family[IPv6].equal(pol.family[IPv6].ladder) {
			return true
		}
	}
	return false
}

// carries reports whether an uplink is in the first rung of any ladder, or takes what
// overflows there.
func (s *selector) carries(name string) bool {
	for _, pol := range s.policies {
		for _, f := range Families {
			if contains(pol.family[f].first, name) || contains(pol.family[f].spill.to, name) {
				return true
			}
		}
	}
	return false
}

// successors is how many of the best candidates are probed for each suspicion.
const successors = 2

// probeSuccessors starts bursts on the best uplinks that would follow a suspected
// one, in each ladder that it carries.
func (s *selector) probeSuccessors(t *turn, suspect *path) {
	for _, pol := range s.policies {
		c := &pol.family[suspect.family]
		rungs, name := c.ladder.Rungs, suspect.up.cfg.Name
		if !contains(c.first, name) && !contains(c.spill.to, name) {
			continue
		}
		left := successors
		for _, r := range rungs {
			for _, share := range r.Shares {
				p := s.uplinks.path(share.Uplink, suspect.family)
				if left == 0 || p == nil || p == suspect || !p.class().Answering() && p.class() != Unknown {
					continue
				}
				p.startBurst(t)
				left--
			}
		}
	}
}
