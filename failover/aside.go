package failover

// A target that fails by every uplink that otherwise answers is itself at
// fault. It is set aside: it counts neither for the quorum nor for the window,
// until it answers again.

const (
	// asideMisses is how many misses in a row, on all uplinks together, it takes.
	asideMisses = 6
	// asideHits is how many answers in a row bring a target back.
	asideHits = 3
)

// missed follows a target's misses on one path: the other uplinks are asked
// about it, and when it fails by all of them it is set aside.
func (e *Engine) missed(p *path, t *target) {
	if t.aside || !p.othersAnswer(t) {
		return
	}
	total := 0
	for _, u := range e.uplinks {
		q := &u.paths[p.family]
		o := q.target(t.name)
		if o == nil || !q.probing || !q.class().Answering() {
			continue
		}
		alone := q.active() < 2 && o.misses >= failing
		if alone {
			continue
		}
		if o.misses < failing || !q.othersAnswer(o) {
			if q != p && (t.misses == failing || t.misses == asideMisses) {
				e.inquire(q, o)
			}
			return
		}
		total += o.misses
	}
	if total >= asideMisses {
		e.setAside(p.family, t.name, true)
	}
}

// inquire asks a path about one target, and about the others to compare with.
func (e *Engine) inquire(p *path, t *target) {
	t.ask = failing
	t.askNext = e.now
	e.look(p)
	p.touched = true
}

// othersAnswer reports whether the path answers otherwise: another target's
// latest probe was answered, and not before this one's silence began.
func (p *path) othersAnswer(t *target) bool {
	if !p.probing {
		return false
	}
	for i := range p.targets {
		o := &p.targets[i]
		if o != t && !o.aside && o.misses == 0 && o.fresh > t.fresh {
			return true
		}
	}
	return false
}

// heard ends the questions to a target that answers, unless they are there to get to
// know it, and its setting aside when it answers steadily again.
func (e *Engine) heard(p *path, t *target) {
	if t.rtt.samples > acquaintance {
		t.ask = 0
	}
	if t.aside && t.hits >= asideHits {
		e.setAside(p.family, t.name, false)
	}
}

// setAside sets a target aside on every path, or brings it back. The last target of
// a path stays: without it nothing could show that the path answers again.
func (e *Engine) setAside(f Family, name string, aside bool) {
	for _, u := range e.uplinks {
		p := &u.paths[f]
		if aside && p.active() < 2 {
			continue
		}
		for i := range p.targets {
			if t := &p.targets[i]; t.name == name && t.aside != aside {
				t.aside = aside
				p.window.drop(i)
				p.touched = true
			}
		}
	}
	e.settling = true
}

func (p *path) target(name string) *target {
	for i := range p.targets {
		if p.targets[i].name == name {
			return &p.targets[i]
		}
	}
	return nil
}
