package failover

import "slices"

// policy is what the engine holds of one policy.
type policy struct {
	cfg Policy
	// members are the uplinks that it may use, in order of preference. They follow
	// from the configuration alone.
	members []member
	family  [2]choice
	// pin is the operator's switch.
	pin override
	due Instant
}

// choice is a policy's ladder in one family, and how it came about.
type choice struct {
	// first is the first rung; empty while nothing can carry.
	first  []Share
	ladder Ladder
	// begun: it had a first rung at some time.
	begun bool
	// adopted: the first rung was found in the kernel and is not proven yet;
	// notBefore is when it may be left for a better one.
	adopted   bool
	notBefore Instant
	// firstAnswer is when an uplink first answered for this ladder.
	firstAnswer Instant
	// switched: it was switched at some time, so its start is over.
	switched bool
	// voluntary is the last switch that nothing forced.
	voluntary Instant
	// shunned is the first rung that was left by a shunning alone, so that the
	// way back is no failback; empty for none.
	shunned []string
	// lost are the uplinks whose sessions were moved.
	lost []string
	due  Instant
}

// lose marks an uplink's sessions as moved.
func (c *choice) lose(name string) {
	if !slices.Contains(c.lost, name) {
		c.lost = append(c.lost, name)
	}
}

// names lists the uplinks of some shares.
func names(shares []Share) []string {
	ns := make([]string, len(shares))
	for i, s := range shares {
		ns[i] = s.Uplink
	}
	return ns
}

// configurePolicies takes the policies of the configuration, and keeps what is
// known of those that stay.
func (e *Engine) configurePolicies() {
	old := e.policies
	e.policies = make([]*policy, 0, len(e.cfg.Policies))
	for _, c := range e.cfg.Policies {
		pol := &policy{due: forever}
		for _, f := range Families {
			pol.family[f] = choice{firstAnswer: never, voluntary: never, notBefore: never, due: forever}
		}
		for _, o := range old {
			if o.cfg.Name == c.Name {
				pol = o
			}
		}
		pol.cfg = c
		if e.find(pol.pin.uplink) == nil {
			pol.pin = override{}
		}
		e.policies = append(e.policies, pol)
	}
	for _, pol := range e.policies {
		pol.members = e.membersOf(pol)
	}
}

// member is an uplink's place in a policy's order of preference.
type member struct {
	up    *uplink
	share Share
	// own: it is the policy's, not only the default policy's. tier counts on
	// from the policy's own to the default policy's.
	own  bool
	tier int
}

// membersOf lists the uplinks that a policy may use, in order of preference.
func (e *Engine) membersOf(pol *policy) []member {
	ms := e.tiers(nil, pol.cfg.Tiers, true)
	if !pol.cfg.Block && pol != e.policies[0] {
		ms = e.tiers(ms, e.policies[0].cfg.Tiers, false)
	}
	return ms
}

func (e *Engine) tiers(ms []member, tiers [][]Share, own bool) []member {
	base := 0
	if len(ms) > 0 {
		base = ms[len(ms)-1].tier + 1
	}
	for i, tier := range tiers {
		for _, s := range tier {
			u := e.find(s.Uplink)
			known := slices.ContainsFunc(ms, func(m member) bool { return m.up == u })
			if u == nil || known {
				continue
			}
			s.Weight = max(1, s.Weight)
			ms = append(ms, member{up: u, share: s, own: own, tier: base + i})
		}
	}
	return ms
}
