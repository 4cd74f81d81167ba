package failover

import (
	"slices"
	"time"
)

// linksWithin is how long the first intent waits for the links to be told. An
// intent made of half of them would take routes away that are good.
const linksWithin = 2 * time.Second

// adopt takes over what the kernel holds from an earlier run: who carried
// traffic goes on carrying it, who was lost is down and has to recover.
func (e *Engine) adopt(ev Adopt) {
	for _, pol := range e.policies {
		for _, f := range Families {
			c := &pol.family[f]
			if names := ev.Carrying[pol.cfg.Name][f]; len(names) > 0 {
				c.first = e.sharesOf(pol, names)
				c.adopted = len(c.first) > 0
				c.begun = c.adopted
				c.notBefore = e.now + e.cfg.Failback.After
				c.firstAnswer = e.now - quickStart - 1
			}
			for _, name := range ev.Lost[pol.cfg.Name][f] {
				e.adoptLost(pol, f, name)
			}
		}
	}
	for _, u := range e.uplinks {
		for _, f := range Families {
			u.paths[f].patience.restore(e.now, ev.Patience[u.cfg.Name][f])
		}
	}
	e.dirty = true
}

// adoptLost makes an uplink down whose sessions an earlier run had moved. How
// long ago is not known, so that it owes a whole proof.
func (e *Engine) adoptLost(pol *policy, f Family, name string) {
	p := e.path(name, f)
	if p == nil {
		return
	}
	pol.family[f].lose(name)
	if p.state != Unknown {
		return
	}
	p.state, p.since, p.reason = Down, e.now, "was down before the restart"
	p.recovery = recovery{owes: true, good: never, began: never, stallUntil: never}
	p.mark = e.seq
	p.touched = true
}

// sharesOf returns those of the names that the policy knows, with their weights and
// in its order: in another one the first selection would take the rung for a new
// one, which is not protected as an adopted one is.
func (e *Engine) sharesOf(pol *policy, names []string) []Share {
	var shares []Share
	for _, m := range pol.members {
		if slices.Contains(names, m.share.Uplink) {
			shares = append(shares, m.share)
		}
	}
	return shares
}

// awaitLinks reports whether the links are known well enough to choose: each
// uplink's was told, or the time for it has passed.
func (e *Engine) awaitLinks() bool {
	if e.ready {
		return true
	}
	all := true
	for _, u := range e.uplinks {
		all = all && (u.known || !u.cfg.Enabled)
	}
	e.ready = all || e.now >= e.opened+linksWithin
	e.dirty = e.dirty || e.ready
	return e.ready
}
