package failover

import "time"

// configure takes a configuration. Uplinks and policies are known by their
// names: those that stay keep what is known of them.
func (e *Engine) configure(cfg Config) {
	old := e.uplinks
	e.cfg = cfg
	e.uplinks = make([]*uplink, 0, len(cfg.Uplinks))
	e.paths = make([]*path, 0, 2*len(cfg.Uplinks))
	targets := 0
	for i, c := range cfg.Uplinks {
		u := takeUplink(old, c)
		u.index = i
		e.uplinks = append(e.uplinks, u)
		for _, f := range Families {
			e.paths = append(e.paths, &u.paths[f])
			targets += len(u.paths[f].targets)
		}
	}
	for _, u := range old {
		if e.find(u.cfg.Name) != u {
			u.paths[IPv4].flush()
			u.paths[IPv6].flush()
		}
	}
	e.flights.fit(targets)
	e.configurePolicies()
	e.noteOverrides()
	for _, p := range e.paths {
		e.attend(p, false)
	}
	e.rhythms()
	e.dirty = true
}

// takeUplink returns the old uplink of the same name with its new
// configuration, or a new one.
func takeUplink(old []*uplink, c Uplink) *uplink {
	var u *uplink
	for _, o := range old {
		if o.cfg.Name == c.Name {
			u = o
		}
	}
	if u == nil {
		u = &uplink{reread: never}
		for _, f := range Families {
			u.paths[f] = newPath(u, f)
		}
	}
	c.Probe.LostAfter = max(c.Probe.LostAfter, leastDeadline)
	u.cfg = c
	for _, f := range Families {
		u.paths[f].configure(c.Family[f])
	}
	return u
}

func newPath(u *uplink, f Family) path {
	p := path{
		up: u, family: f, state: Unknown, since: 0, evidence: never, silent: never, suspectAt: never,
		answered: never, fastUntil: never, lateSent: never, cameAt: never, recovery: noRecovery, received: never,
		touched: true, due: forever,
	}
	p.burst.ended = never
	p.damping.heldUntil = never
	return p
}

// configure gives a path its targets. Those that stay keep what is known of
// them; when any changes, the window begins anew and what is in the air is void.
func (p *path) configure(c FamilyConfig) {
	p.seen = p.seen || c.Seen
	p.patience.configure(max(p.up.cfg.Health.Patience, time.Millisecond))
	p.window.version++
	same := len(p.targets) == len(c.Targets)
	targets := make([]target, len(c.Targets))
	for i, name := range c.Targets {
		targets[i] = target{name: name, fresh: never}
		if t := p.target(name); t != nil {
			targets[i] = *t
		}
		same = same && p.targets[i].name == name
	}
	p.cfg = c
	if same && p.window.target != nil {
		return
	}
	p.targets = targets
	p.flush()
	p.burst.open = false
	p.fastTurn = 0
	p.interval = 0
	p.window.reset(len(targets))
	p.touched = true
}

// rhythms sets every path's interval, and every uplink's bucket. A metered
// uplink stands by while it carries nothing and another one answers in its place.
func (e *Engine) rhythms() {
	for _, u := range e.uplinks {
		perSecond, n := 0.0, 0
		for _, f := range Families {
			p := &u.paths[f]
			standby := u.cfg.Metered && !u.carries && e.another(u, f)
			e.rhythm(p, standby)
			perSecond += float64(len(p.targets)) / p.interval.Seconds()
			n += len(p.targets)
		}
		u.bucket.tune(e.now, n, perSecond)
	}
}

// another reports whether an uplink other than one answers in a family.
func (e *Engine) another(u *uplink, f Family) bool {
	for _, o := range e.uplinks {
		if o != u && o.cfg.Enabled && o.paths[f].class().Answering() {
			return true
		}
	}
	return false
}
