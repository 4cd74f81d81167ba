package failover

// override is a standing word of the operator.
type override struct {
	set    bool
	uplink string
	// until ends it; 0 for never.
	until Instant
}

// over reports whether its time has passed.
func (o override) over(now Instant) bool { return o.set && o.until != 0 && now >= o.until }

// operator follows the operator's hand. Switching to an uplink ends its drain,
// draining it ends what was switched to it.
func (e *Engine) operator(ev Operator) {
	u := e.find(ev.Uplink)
	if u == nil && (ev.Uplink != "" || ev.Verb != Resume) {
		return
	}
	e.dirty = true
	e.handAt = e.now
	switch ev.Verb {
	case Switch:
		u.drained = override{}
		for _, pol := range e.policies {
			if ev.Policy == "" || ev.Policy == pol.cfg.Name {
				pol.pin = override{set: true, uplink: ev.Uplink, until: ev.Until}
			}
		}
	case Drain:
		e.unpin(ev.Uplink)
		u.drained = override{set: true, uplink: ev.Uplink, until: ev.Until}
	case Resume:
		e.unpin(ev.Uplink)
		for _, o := range e.uplinks {
			if ev.Uplink == "" || o == u {
				o.drained = override{}
			}
		}
	}
	e.noteOverrides()
}

// unpin ends switches to an uplink; to any when the name is empty.
func (e *Engine) unpin(name string) {
	for _, pol := range e.policies {
		if name == "" || pol.pin.uplink == name {
			pol.pin = override{}
		}
	}
}

// endOverrides ends those whose time has passed, which is a resume.
func (e *Engine) endOverrides() {
	if e.now < e.handUntil {
		return
	}
	for _, pol := range e.policies {
		if pol.pin.over(e.now) {
			pol.pin = override{}
			e.handAt, e.dirty = e.now, true
		}
	}
	for _, u := range e.uplinks {
		if u.drained.over(e.now) {
			u.drained = override{}
			e.handAt, e.dirty = e.now, true
		}
	}
	e.noteOverrides()
}

// noteOverrides sets when the next override ends by itself. It is called whenever
// any is set or taken back.
func (e *Engine) noteOverrides() {
	e.handUntil = forever
	add := func(o override) {
		if o.set && o.until != 0 {
			e.handUntil = min(e.handUntil, o.until)
		}
	}
	for _, pol := range e.policies {
		add(pol.pin)
	}
	for _, u := range e.uplinks {
		add(u.drained)
	}
}

// admin is the operator's word on an uplink, as status names it, and its end.
func (e *Engine) admin(u *uplink) (string, Instant) {
	if u.drained.set {
		return "drained", u.drained.until
	}
	for _, pol := range e.policies {
		if pol.pin.set && pol.pin.uplink == u.cfg.Name {
			return "switched", pol.pin.until
		}
	}
	return "auto", 0
}
