package failover

import (
	"fmt"
	"slices"
)

// Check reports the first invariant that does not hold; nil when all do. It is
// for tests and simulations: a router goes on with what it has.
func (e *Engine) Check() error {
	if e.wake <= e.now {
		return fmt.Errorf("failover: wake %v is not after %v", e.wake, e.now)
	}
	for _, u := range e.uplinks {
		if b := u.bucket; b.milli < 0 || b.milli > b.full {
			return fmt.Errorf("failover: %s: bucket holds %d of %d", u.cfg.Name, b.milli, b.full)
		}
		for f := range u.paths {
			if err := e.checkPath(&u.paths[f]); err != nil {
				return fmt.Errorf("failover: %s %s: %w", u.cfg.Name, Family(f), err)
			}
		}
	}
	if !e.ready {
		return nil
	}
	for _, pol := range e.policies {
		for _, f := range Families {
			if err := e.checkChoice(pol, f); err != nil {
				return fmt.Errorf("failover: policy %s %s: %w", pol.cfg.Name, f, err)
			}
		}
	}
	return nil
}

func (e *Engine) checkPath(p *path) error {
	v, barred := p.barred()
	switch {
	case barred && p.state != v.to:
		return fmt.Errorf("is %s, but the link says %s", p.state, v.to)
	case p.probing == (barred || !p.up.known):
		return fmt.Errorf("probing is %v in state %s", p.probing, p.state)
	case p.state == Suspect && !slices.Contains([]State{Unknown, Up, Degraded, Recovering}, p.base):
		return fmt.Errorf("is suspect from %s", p.base)
	case p.state == Suspect && !p.burst.open:
		return fmt.Errorf("is suspect without a burst")
	case p.state == Shunned && e.now >= p.downAt():
		return fmt.Errorf("is shunned beyond its patience")
	case p.due <= e.now:
		return fmt.Errorf("was due at %v", p.due)
	case p.touched:
		return fmt.Errorf("was touched after its turn")
	case p.patience.now < p.patience.least:
		return fmt.Errorf("patience %v is under %v", p.patience.now, p.patience.least)
	case len(p.targets) > 0 && p.active() == 0:
		return fmt.Errorf("all targets are set aside")
	case len(p.open) > len(e.flights.ring):
		return fmt.Errorf("%d probes in the air", len(p.open))
	case p.calm == p.window.version && p.exceeds():
		return fmt.Errorf("is taken to be within its limits")
	}
	return p.window.check()
}

// exceeds reports whether any figure is over its limit.
func (p *path) exceeds() bool {
	return slices.ContainsFunc(figures[:], func(f figure) bool {
		v, known := f.of(&p.window)
		limit := f.limit(&p.up.cfg.Health)
		return known && !limit.Never && v > limit.Degraded
	})
}

// check compares the running sums with the samples, where these are others than at
// the last check: a simulation checks after every step.
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

func (e *Engine) checkChoice(pol *policy, f Family) error {
	c := &pol.family[f]
	cs := e.candidates(pol, f)
	if len(cs) > 0 && len(c.first) == 0 {
		return fmt.Errorf("%d uplinks are routable and none carries", len(cs))
	}
	for _, s := range c.first {
		if !slices.ContainsFunc(cs, func(k candidate) bool { return k.up.cfg.Name == s.Uplink }) {
			return fmt.Errorf("%s carries and is not routable", s.Uplink)
		}
	}
	seen := map[string]bool{}
	for _, r := range c.ladder.Rungs {
		for _, s := range r.Shares {
			if seen[s.Uplink] {
				return fmt.Errorf("%s is on the ladder twice", s.Uplink)
			}
			seen[s.Uplink] = true
		}
	}
	if len(seen) != len(cs) {
		return fmt.Errorf("the ladder has %d of %d uplinks", len(seen), len(cs))
	}
	if len(c.first) > 0 && !slices.Equal(c.ladder.Rungs[0].Shares, c.first) {
		return fmt.Errorf("the ladder begins with %v, not with %v", c.ladder.Rungs[0], c.first)
	}
	for _, name := range c.lost {
		if p := e.path(name, f); p == nil || p.state != Down && p.class() != Degraded {
			return fmt.Errorf("%s is lost and not down", name)
		}
	}
	return nil
}
