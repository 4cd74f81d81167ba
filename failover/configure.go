package failover

import "time"

// configure replaces the configuration. Uplinks and policies are identified by
// name: those that stay keep what is known of them.
func (e *Engine) configure(t *turn, cfg Config) {
	old := e.uplinks
	e.uplinks = make(uplinks, 0, len(cfg.Uplinks))
	e.paths = make([]*path, 0, 2*len(cfg.Uplinks))
	targets := 0
	for i, c := range cfg.Uplinks {
		u := old.find(c.Name)
		if u == nil {
			u = &uplink{rereadAt: never}
			for _, f := range Families {
				u.paths[f] = newPath(u, f)
			}
		}
		u.configure(i, c, cfg.Failback.After)
		e.uplinks = append(e.uplinks, u)
		for _, f := range Families {
			e.paths = append(e.paths, &u.paths[f])
			targets += len(u.paths[f].targets)
		}
	}
	for _, u := range old {
		if e.uplinks.find(u.cfg.Name) != u {
			u.paths[IPv4].flush()
			u.paths[IPv6].flush()
		}
	}
	e.flights.resize(targets)
	e.selector.configure(t.now, cfg, e.uplinks)
	for _, p := range e.paths {
		p.attend(t, false)
	}
	e.uplinks.setRhythms(t)
	t.reselect = true
}

// adopt continues with what the kernel holds from an earlier run: uplinks that
// carried traffic go on carrying it, those whose sessions were moved are down
// and have to recover, as have those that were held back. The earlier run may have left sessions on any uplink, so
// that none is a stranger.
func (e *Engine) adopt(t *turn, ev Adopt) {
	e.selector.adopt(t, ev)
	for _, u := range e.uplinks {
		for _, f := range Families {
			u.paths[f].silences.restore(ev.Silences[u.cfg.Name][f])
			applySilences(&u.paths[f])
			u.paths[f].patience.restore(t.now, ev.Patience[u.cfg.Name][f])
			u.paths[f].lapses.restore(t.now, ev.Lapses[u.cfg.Name][f])
			hold := ev.Holds[u.cfg.Name][f]
			u.paths[f].damping.restore(t.now, hold, u.cfg.Health.Damping)
			if hold.Owes && u.paths[f].state == Unknown {
				u.paths[f].recovery.owes, u.paths[f].recovery.inherited = true, true
			}
			for _, carrying := range ev.Carrying {
				u.paths[f].vouched = u.paths[f].vouched || len(carrying[f]) > 0
			}
		}
	}
	t.reselect = true
}

func (u *uplink) configure(index int, c Uplink, failbackAfter time.Duration) {
	c.Probe.LostAfter = max(c.Probe.LostAfter, leastDeadline)
	u.index, u.cfg, u.failbackAfter = index, c, failbackAfter
	for _, f := range Families {
		u.paths[f].configure(c.Family[f])
	}
}

// configure gives a path its targets. Those that stay keep what is known of
// them. When any changes, the window starts afresh and probes in flight are void.
func (p *path) configure(c FamilyConfig) {
	p.seen = p.seen || c.Seen
	applySilences(p)
	p.lapses.least = configuredPatience(p)
	p.window.version++
	same := len(p.targets) == len(c.Targets)
	list := make(targets, len(c.Targets))
	for i, name := range c.Targets {
		list[i] = target{name: name, fresh: never}
		if t := p.targets.find(name); t != nil {
			list[i] = *t
		}
		same = same && p.targets[i].name == name
	}
	p.cfg = c
	if same && p.window.target != nil {
		return
	}
	if list.active() == 0 { // those that counted were taken out
		for i := range list {
			list[i].aside = false
		}
	}
	p.targets = list
	p.flush()
	p.burst.open = false
	p.schedule.fastTurn = 0
	p.schedule.interval = 0
	p.window.reset(len(list))
	p.touched = true
}
