package failover

// linkChanged takes in a link as it was read. A family that was not routable
// and is now is probed at once; one that no longer is has nothing in the air.
func (e *Engine) linkChanged(ev LinkChanged) {
	u := e.find(ev.Uplink)
	if u == nil {
		return
	}
	if u.known && u.link.Equal(ev.Link) {
		return
	}
	before := u.link
	u.known, u.link = true, ev.Link
	if ev.Link.Interface != "" {
		u.ifname = ev.Link.Interface
	}
	for _, f := range Families {
		u.paths[f].seen = u.paths[f].seen || ev.Link.Family[f].Offered()
	}
	for _, f := range Families {
		p := &u.paths[f]
		moved := before.Index != ev.Link.Index || !before.Family[f].equal(ev.Link.Family[f])
		e.attend(p, moved)
	}
	e.dirty = true
}

// attend starts or stops the probing of a path as its link and the
// configuration have it. Probes sent by another way than the present one, which
// has moved, say nothing about it.
func (e *Engine) attend(p *path, moved bool) {
	p.touched = true
	want := p.up.known && !p.isBarred()
	switch {
	case want && !p.probing:
		e.resume(p)
	case !want && p.probing:
		e.stopProbing(p)
	case want && moved:
		p.flush()
		e.closeBurst(p)
		e.startProbing(p)
	}
}

// resume begins to probe a path whose link came, or came back.
func (e *Engine) resume(p *path) {
	e.startProbing(p)
	if p.state != Down {
		return
	}
	p.fastUntil = e.now + quickReturn
	if !p.proven && p.recovery.began != never {
		// It was never seen at work, so that its coming is a start and no return.
		e.transition(p, verdict{Unknown, "the link is there"})
		return
	}
	p.reason = "the link is back, no answer yet"
}

func (p *path) isBarred() bool {
	_, barred := p.barred()
	return barred
}

// barred tells the state that the configuration or the link alone impose on a
// path, whatever answers; false where they impose none. While the link is not
// known a path stays what it is.
func (p *path) barred() (verdict, bool) {
	l, f := &p.up.link, p.family
	offered := l.Family[f].Offered()
	other := &p.up.paths[f.Other()]
	switch {
	case !p.cfg.Enabled:
		return verdict{Absent, f.words() + " is turned off"}, true
	case !p.up.cfg.Enabled:
		return verdict{Unknown, "disabled"}, true
	case !p.up.known:
		return verdict{p.state, p.reason}, true
	case !offered && !p.seen && other.seen:
		return verdict{Absent, "no " + f.words() + " is offered"}, true
	case !l.Present:
		return verdict{Down, p.interfaceIs("missing")}, true
	case !l.AdminUp:
		return verdict{Down, p.interfaceIs("switched off")}, true
	case !l.Carrier:
		return verdict{Down, "no carrier"}, true
	case len(l.Family[f].Addresses) == 0:
		return verdict{Down, "no address"}, true
	case !offered:
		return verdict{Down, "no gateway"}, true
	}
	return verdict{}, false
}

func (p *path) interfaceIs(what string) string {
	if p.up.ifname == "" {
		return "interface is " + what
	}
	return "interface " + p.up.ifname + " is " + what
}

// words is the family's name as people write it.
func (f Family) words() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}
