package failover

import (
	"fmt"
	"slices"
	"time"
)

// Place is what an uplink is to a policy in a family, for a person who asks why a
// packet went by it or did not.
type Place struct {
	Uplink string
	// Carries: it is in the first rung, so that new flows go by it.
	Carries bool
	// Member: the policy may use it; Own: it is in the policy's own tiers, not only in
	// those of the default policy. Tier counts on from the one to the other, from 1; 0
	// where it is no member.
	Member, Own bool
	Tier        int
	// Weight is its share of a rung, beside others.
	Weight int
	// State is how it is in the family, as a clause whose subject is the uplink.
	State string
	// Overflow is why the policy overflows, where that is why new flows go by this uplink;
	// else empty.
	Overflow string
	// Why it does not carry, as a clause whose subject is the uplink, with the figure that
	// decided; empty where it carries.
	Why string
}

// Explain returns what each uplink is to a policy in a family, in configuration order;
// nil for a policy that does not exist.
func (e *Engine) Explain(policy string, f Family) []Place {
	for _, pol := range e.selector.policies {
		if pol.cfg.Name != policy {
			continue
		}
		c := &pol.family[f]
		var all []Place
		for _, u := range e.uplinks {
			all = append(all, e.selector.standing(e.now, c, u))
		}
		return all
	}
	return nil
}

// weightIn is the weight of an uplink among shares.
func weightIn(shares []Share, uplink string) int {
	for _, s := range shares {
		if s.Uplink == uplink {
			return s.Weight
		}
	}
	return 0
}

func (s *selector) standing(now Instant, c *choice, u *uplink) Place {
	st := Place{Uplink: u.cfg.Name}
	for _, m := range c.policy.members[c.family] {
		if m.up == u {
			st.Member, st.Own, st.Tier, st.Weight = true, m.own, m.tier+1, m.share.Weight
		}
	}
	st.State = stateOf(&u.paths[c.family], now)
	switch {
	case !st.Member:
		st.Why = fmt.Sprintf("is not among the uplinks of policy %s", c.policy.cfg.Name)
		return st
	case !u.cfg.Enabled:
		st.Why = "is disabled"
		return st
	case contains(c.spill.to, u.cfg.Name):
		st.Carries, st.Weight, st.Overflow = true, weightIn(c.spill.to, u.cfg.Name), c.spill.reason
		return st
	case len(c.spill.to) > 0 && contains(c.first, u.cfg.Name):
		st.Why = "is full, so that new flows go on to " + and(c.spill.to) + ": " + c.spill.reason
		return st
	case contains(c.first, u.cfg.Name):
		st.Carries = true
		return st
	}
	for _, k := range c.candidates {
		if k.up == u {
			st.Why = s.whyNot(now, c, k, st.State)
			return st
		}
	}
	st.Why = st.State // it can have no place now
	return st
}

// stateOf is how a path is, as a clause whose subject is the uplink.
func stateOf(p *path, now Instant) string {
	v := viewPath(p, now)
	if v.Reason == "" {
		return "is " + v.State.String()
	}
	return fmt.Sprintf("is %s: %s", v.State, v.Reason)
}

// whyNot is why a candidate is not in the first rung; state says how it is.
func (s *selector) whyNot(now Instant, c *choice, k *candidate, state string) string {
	switch {
	case k.group == drainedLive:
		return "is drained by the operator"
	case k.rank.silent(), k.group == useless:
		return state
	}
	switch k.standing {
	case behind, carrying, overflowing:
	case unproven:
		return "is better, but has not answered a probe sent since the others fell silent, or lately"
	case awaitsLastCall:
		return "has just come, and the silent uplinks get a last probe first"
	case doubtful, notUp:
		return state
	case tooSoon:
		return s.whyWait(now, c)
	case onlyByOperator:
		return "is preferred, but failback.mode is manual: `swerve resume " + k.up.cfg.Name + "` brings it back"
	default:
		panic("failover: unknown standing")
	}
	return s.whyBehind(c, k, state)
}

// whyWait is why a better candidate has to wait.
func (s *selector) whyWait(now Instant, c *choice) string {
	if at := c.voluntary + s.failback.MinInterval; c.voluntary != never && now < at {
		return fmt.Sprintf("is preferred, but the last switch by choice was %s ago, and failback.min_interval is %s: in %s",
			span(now-c.voluntary), span(s.failback.MinInterval), span(at-now))
	}
	return fmt.Sprintf("is preferred, but what carried before the start is kept for %s", span(max(c.notBefore-now, time.Second)))
}

// firstIsFull reports whether an own tier that carries is full.
func (c *choice) firstIsFull() bool {
	return slices.ContainsFunc(c.presentOf(c.first), func(k *candidate) bool { return k.own && c.spill.isFull(k.tier) })
}

// whyBehind is why a candidate comes after what carries, or takes what overflows.
func (s *selector) whyBehind(c *choice, k *candidate, state string) string {
	carrying := c.first
	if len(c.spill.to) > 0 {
		carrying = c.spill.to
	}
	i := slices.IndexFunc(c.candidates, func(o *candidate) bool { return contains(carrying, o.up.cfg.Name) })
	if i < 0 {
		return state
	}
	first := c.candidates[i]
	name := first.up.cfg.Name
	switch {
	case k.own && k.up.cfg.Metered && !c.policy.cfg.OverflowMetered && c.firstIsFull():
		return fmt.Sprintf("is metered, and takes nothing of what overflows, since overflow_metered of policy %s is false", c.policy.cfg.Name)
	case k.own && len(c.spill.to) > 0 && c.spill.isFull(k.tier):
		return "is full as well"
	case first.group == pinned:
		return fmt.Sprintf("comes after %s, to which the operator has switched policy %s", name, c.policy.cfg.Name)
	case k.rank > first.rank:
		return fmt.Sprintf("%s; %s is %s", state, name, first.path.class())
	case k.own != first.own && !k.own:
		return fmt.Sprintf("belongs to the default policy, which is used after policy %s's own %s", c.policy.cfg.Name, name)
	case k.tier > first.tier:
		return fmt.Sprintf("is in tier %d of policy %s, after %s in tier %d", k.tier+1, c.policy.cfg.Name, name, first.tier+1)
	case k.tier == first.tier:
		return fmt.Sprintf("shares tier %d with %s, and joins it once it is proven", k.tier+1, name)
	}
	return fmt.Sprintf("%s; %s is kept until it is left for a reason", state, name)
}
