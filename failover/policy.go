package failover

import "slices"

// policy is what the selector holds of one policy.
type policy struct {
	cfg Policy
	// members are, by family, the uplinks that it may use, in order of preference. They
	// follow from the configuration alone. Both families have the same ones.
	members [2][]member
	family  [2]choice
	// pin is the operator's switch.
	pin override
	// commanded is when the operator last gave a command that concerns the policy, or
	// one ended by itself. resumed is when that was last a resume, of the uplink that
	// backTo names, or, where it is empty, of whatever is preferred; resumedBy says what
	// resumed it.
	commanded, resumed Instant
	backTo, resumedBy  string
}

// has reports whether an uplink is a member.
func (pol *policy) has(uplink string) bool {
	return slices.ContainsFunc(pol.members[IPv4], func(m member) bool { return m.up.cfg.Name == uplink })
}

// owns reports whether an uplink is in a policy's own tiers.
func (pol *policy) owns(uplink string) bool {
	return slices.ContainsFunc(pol.members[IPv4], func(m member) bool { return m.own && m.up.cfg.Name == uplink })
}

// member is an uplink's place in a policy's order of preference.
type member struct {
	up    *uplink
	share Share
	// own: it belongs to the policy, not only to the default policy. tier counts on
	// from the policy's own tiers to those of the default policy.
	own  bool
	tier int
}

// sameMember reports whether the same uplink is in the same place.
func sameMember(a, b member) bool { return a.up == b.up && a.own == b.own && a.tier == b.tier }

// choice is a policy's ladder in one family, and how it came about.
type choice struct {
	policy *policy
	family Family
	// first is the first rung; empty while nothing can carry.
	first  []Share
	ladder Ladder
	// candidates are those of the last selection, best first.
	candidates []*candidate
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
	// ordered is when a new configuration last changed the order of preference; never
	// once a switch has followed.
	ordered Instant
	// voluntary is the last switch that nothing forced.
	voluntary Instant
	// leftShunned is the first rung that was left only because it was shunned, so
	// that the way back is no failback; empty for none.
	leftShunned []string
	// returned is the last return from such a flight. restless: the next one came
	// within MinInterval of it, so this is loss rather than a stall, and the way back
	// waits until there was no suspicion for as long.
	returned Instant
	restless bool
	// lost are the uplinks whose sessions were moved.
	lost []string
	// departures are the uplinks that failbacks have left.
	departures []departure
	// spill is where new flows go while the first rung is full.
	spill spill
}

// lose marks an uplink's sessions as moved.
func (c *choice) lose(name string) {
	if !slices.Contains(c.lost, name) {
		c.lost = append(c.lost, name)
	}
}

// starting reports whether a ladder is still finding its place: the first answer
// came a moment ago, and no switch has been made.
func (c *choice) starting(now Instant) bool {
	return !c.switched && c.firstAnswer != never && now <= c.firstAnswer+quickStart
}

// reordered reports whether a rung is preferred because of a new configuration: it was
// up before that came.
func (c *choice) reordered(rung []*candidate) bool {
	return c.ordered != never && !slices.ContainsFunc(rung, func(k *candidate) bool { return k.path.since > c.ordered })
}

// configure replaces the policies, and keeps what is known of those that stay.
func (s *selector) configure(now Instant, cfg Config, us uplinks) {
	s.failback, s.sessions, s.uplinks = cfg.Failback, cfg.Sessions, us
	s.drains = slices.DeleteFunc(s.drains, func(o override) bool { return us.find(o.uplink) == nil })
	s.awaited = slices.DeleteFunc(s.awaited, func(a awaitedUplink) bool {
		u := us.find(a.name)
		return u == nil || !u.cfg.Enabled || !cfg.Failback.Manual
	})
	old := s.policies
	s.policies = make([]*policy, 0, len(cfg.Policies))
	for _, c := range cfg.Policies {
		pol := &policy{commanded: never, resumed: never}
		if i := slices.IndexFunc(old, func(o *policy) bool { return o.cfg.Name == c.Name }); i >= 0 {
			pol = old[i]
		} else {
			for _, f := range Families {
				pol.family[f] = choice{policy: pol, family: f, firstAnswer: never, ordered: never, voluntary: never, notBefore: never, returned: never}
			}
		}
		pol.cfg = c
		if us.find(pol.pin.uplink) == nil {
			pol.pin = override{}
		}
		s.policies = append(s.policies, pol)
	}
	for _, pol := range s.policies {
		for _, f := range Families {
			before := pol.members[f]
			pol.members[f] = us.members(nil, pol.cfg.TiersOf(f), true)
			if !pol.cfg.Block && pol != s.policies[0] {
				pol.members[f] = us.members(pol.members[f], s.policies[0].cfg.TiersOf(f), false)
			}
			if len(before) > 0 && !slices.EqualFunc(before, pol.members[f], sameMember) {
				pol.family[f].ordered = now
				pol.resumed = never // what follows is by the configuration
			}
			pol.family[f].spill.reconfigure(before, pol.members[f], len(pol.cfg.TiersOf(f)), pol.cfg.Overflow > 0)
		}
	}
	for _, pol := range s.policies {
		if all := s.pinOfAll(pol); !pol.pin.set {
			pol.pin = all // this one is new
		}
	}
	s.scheduleOverrideEnd()
}

// pinOfAll returns a switch of all policies that have the uplink as one of their own, as
// has the given one; not set for none.
func (s *selector) pinOfAll(pol *policy) override {
	for _, o := range s.policies {
		if o.pin.all && pol.owns(o.pin.uplink) {
			return o.pin
		}
	}
	return override{}
}

// members appends the uplinks of some tiers that are configured and not yet among
// the members.
func (us uplinks) members(ms []member, tiers [][]Share, own bool) []member {
	base := 0
	if len(ms) > 0 {
		base = ms[len(ms)-1].tier + 1
	}
	for i, tier := range tiers {
		for _, share := range tier {
			u := us.find(share.Uplink)
			if u == nil || slices.ContainsFunc(ms, func(m member) bool { return m.up == u }) {
				continue
			}
			share.Weight = max(1, share.Weight)
			ms = append(ms, member{up: u, share: share, own: own, tier: base + i})
		}
	}
	return ms
}

// adopt continues with the first rungs and lost uplinks of an earlier run. The
// sessions of an uplink that it lost had been moved, so the uplink is down, unless a
// drain after a failback was over.
func (s *selector) adopt(t *turn, ev Adopt) {
	for _, pol := range s.policies {
		for _, f := range Families {
			c := &pol.family[f]
			if names := ev.Carrying[pol.cfg.Name][f]; len(names) > 0 {
				// In the policy's order: in another one the first selection would take the
				// rung for a new one, which is not protected as an adopted one is.
				c.first = nil
				for _, m := range pol.members[f] {
					if slices.Contains(names, m.up.cfg.Name) {
						c.first = append(c.first, m.share)
					}
				}
				c.adopted = len(c.first) > 0
				c.begun = c.adopted
				c.notBefore = t.now + s.failback.After
				c.firstAnswer = t.now - quickStart - 1
				c.adoptOverflow(t.now, ev.Overflow[pol.cfg.Name][f])
			}
			adoptDepartures(s, t, c, ev.Departed[pol.cfg.Name][f], ev.Lost[pol.cfg.Name][f])
			for _, name := range ev.Lost[pol.cfg.Name][f] {
				if p := s.uplinks.path(name, f); c.drained(name) {
					c.lose(name)
				} else if p != nil {
					c.lose(name)
					p.adoptDown(t)
				}
			}
		}
	}
}

// wasDown is the reason for a path that an earlier run left, until its link is known.
const wasDown = "was down before the restart"

// adoptDown makes a path down that was so in an earlier run. How long ago is not
// known, so it owes a whole proof.
func (p *path) adoptDown(t *turn) {
	if p.state != Unknown {
		return
	}
	p.state, p.since, p.reason = Down, t.now, wasDown
	p.recovery = recovery{owes: true, inherited: true, good: never, began: never, stallUntil: never}
	p.mark = t.step
	p.touched = true
}
