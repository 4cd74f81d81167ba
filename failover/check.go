package failover

import (
	"fmt"
	"slices"
)

// Check returns an error for the first invariant that does not hold; nil when all
// do. It is for tests and simulations: a router goes on with what it has.
func (e *Engine) Check() error {
	if e.wake <= e.now {
		return fmt.Errorf("failover: wake %v is not after %v", e.wake, e.now)
	}
	for _, u := range e.uplinks {
		if b := &u.bucket; b.milli < 0 || b.milli > b.full {
			return fmt.Errorf("failover: %s: bucket holds %d of %d", u.cfg.Name, b.milli, b.full)
		}
		for f := range u.paths {
			if err := checkPath(&u.paths[f], e.now); err != nil {
				return fmt.Errorf("failover: %s %s: %w", u.cfg.Name, Family(f), err)
			}
		}
	}
	if !e.ready {
		return nil
	}
	for _, pol := range e.selector.policies {
		for _, f := range Families {
			if err := e.selector.check(&pol.family[f]); err != nil {
				return fmt.Errorf("failover: policy %s %s: %w", pol.cfg.Name, f, err)
			}
		}
	}
	return nil
}

func checkPath(p *path, now Instant) error {
	v, barred := p.barred()
	switch {
	case barred && p.state != v.to:
		return fmt.Errorf("is %s, but the link says %s", p.state, v.to)
	case p.schedule.probing != p.usable():
		return fmt.Errorf("probing is %v in state %s", p.schedule.probing, p.state)
	case p.state == Suspect && !slices.Contains([]State{Unknown, Up, Degraded, Recovering}, p.base):
		return fmt.Errorf("is suspect from %s", p.base)
	case p.state == Suspect && !p.burst.open:
		return fmt.Errorf("is suspect without a burst")
	case p.state == Shunned && now >= p.downAt():
		return fmt.Errorf("is shunned beyond its patience")
	case p.due <= now:
		return fmt.Errorf("was due at %v", p.due)
	case p.touched:
		return fmt.Errorf("was touched after its turn")
	case p.patience.raised > mostPatience || p.heldOff > p.patience.now():
		return fmt.Errorf("patience is raised to %v, and the first verdict held off for %v", p.patience.raised, p.heldOff)
	case len(p.silences.hours) > rememberedHours:
		return fmt.Errorf("remembers %d hours", len(p.silences.hours))
	case len(p.targets) > 0 && p.targets.active() == 0:
		return fmt.Errorf("all targets are set aside")
	case len(p.air.open) > mostFlights:
		return fmt.Errorf("%d probes in the air", len(p.air.open))
	case p.limits.calm == p.window.version && exceeds(p):
		return fmt.Errorf("is taken to be within its limits")
	}
	return p.window.check()
}

// exceeds reports whether any figure is over its limit.
func exceeds(p *path) bool {
	return slices.ContainsFunc(figures[:], func(f figure) bool {
		v, known := f.of(&p.window)
		limit := f.limit(&p.up.cfg.Health)
		return known && !limit.Never && v > limit.Degraded
	})
}

// check compares the running sums with the samples, unless neither have changed
// since the last check: a simulation checks after every step.
func (w *window) check() error {
	if w.checked == w.version {
		return nil
	}
	w.checked = w.version
	var total tally
	target := make([]tally, len(w.target))
	for i := range w.n {
		s := w.ring[(w.head+i)%len(w.ring)]
		total.add(s, 1)
		target[s.target].add(s, 1)
	}
	if total != w.total || !slices.Equal(target, w.target) || w.n != total.n || w.n > mostSamples {
		return fmt.Errorf("window of %d samples sums to %+v, not %+v", w.n, total, w.total)
	}
	return nil
}

func (s *selector) check(c *choice) error {
	cs := s.rankCandidates(c)
	if len(cs) > 0 && len(c.first) == 0 {
		return fmt.Errorf("%d uplinks are routable and none carries", len(cs))
	}
	for _, share := range c.first {
		if !slices.ContainsFunc(cs, func(k *candidate) bool { return k.up.cfg.Name == share.Uplink }) {
			return fmt.Errorf("%s carries and is not routable", share.Uplink)
		}
	}
	seen := map[string]bool{}
	for _, r := range c.ladder.Rungs {
		for _, share := range r.Shares {
			if seen[share.Uplink] {
				return fmt.Errorf("%s is on the ladder twice", share.Uplink)
			}
			seen[share.Uplink] = true
		}
	}
	for _, name := range c.ladder.Avoided {
		if !seen[name] || contains(c.first, name) {
			return fmt.Errorf("%s is avoided and has no place behind the first rung", name)
		}
	}
	if len(seen) != len(cs) {
		return fmt.Errorf("the ladder has %d of %d uplinks", len(seen), len(cs))
	}
	if top := c.spill.to; len(top) > 0 || len(c.first) > 0 {
		if len(top) == 0 {
			top = c.first
		}
		if !slices.Equal(c.ladder.Rungs[0].Shares, top) {
			return fmt.Errorf("the ladder begins with %v, not with %v", c.ladder.Rungs[0], top)
		}
	}
	if err := checkSpill(s, c); err != nil {
		return err
	}
	for _, name := range c.lost {
		if p := s.uplinks.path(name, c.family); p == nil || p.state != Down && p.class() != Degraded && !c.drained(name) {
			return fmt.Errorf("%s is lost and not down", name)
		}
	}
	return checkDepartures(s, c)
}

// checkDepartures checks what is drained after failbacks: nothing that new flows go to,
// once each, and each that is over is lost.
func checkDepartures(s *selector, c *choice) error {
	seen := map[string]bool{}
	for _, d := range c.departures {
		switch {
		case seen[d.uplink]:
			return fmt.Errorf("%s is drained twice", d.uplink)
		case (d.over || len(c.leftShunned) == 0) && (contains(c.first, d.uplink) || contains(c.spill.to, d.uplink)):
			return fmt.Errorf("%s is drained and gets new flows", d.uplink)
		case d.over && c.policy.has(d.uplink) && !slices.Contains(c.lost, d.uplink):
			return fmt.Errorf("the drain of %s is over and its sessions stay", d.uplink)
		}
		seen[d.uplink] = true
	}
	return nil
}

// checkSpill checks what overflows against the policy and the uplinks' states.
func checkSpill(s *selector, c *choice) error {
	together := c.spill.together(c.first)
	for _, share := range c.spill.to {
		i := slices.IndexFunc(c.policy.members[c.family], func(m member) bool { return m.up.cfg.Name == share.Uplink })
		if i < 0 {
			return fmt.Errorf("it overflows to %s, which is no member", share.Uplink)
		}
		switch m := c.policy.members[c.family][i]; {
		case c.policy.cfg.Overflow == 0 || !m.own:
			return fmt.Errorf("it overflows to %s and must not", share.Uplink)
		case together && contains(c.first, share.Uplink):
		case m.up.cfg.Metered && !c.policy.cfg.OverflowMetered:
			return fmt.Errorf("it overflows to %s, which is metered", share.Uplink)
		case m.up.paths[c.family].class() == Shunned && m.up.cfg.Rate != (Rate{}): // by its queue
		case rankOf(&m.up.paths[c.family]).silent():
			return fmt.Errorf("it overflows to %s, which is %s", share.Uplink, m.up.paths[c.family].state)
		case s.drain(share.Uplink).set:
			return fmt.Errorf("it overflows to %s, which is drained", share.Uplink)
		}
	}
	return nil
}
