package failover

// traffic takes in a hint. Traffic that leaves for longer than an answer takes
// while nothing comes back, no probe's answer either, is a reason to look.
func (e *Engine) traffic(ev Traffic) {
	p := e.path(ev.Uplink, ev.Family)
	if p == nil {
		return
	}
	p.received = max(p.received, min(ev.Received, e.now))
	p.touched = true
	silence := e.now - ev.Unanswered
	if ev.Unanswered < 0 || silence <= p.slowest() || !p.probing || p.provenSince(ev.Unanswered) {
		return
	}
	p.suspect(ev.Unanswered, "traffic leaves and nothing returns for "+span(silence))
}

// slowest is the longest deadline of the path's targets.
func (p *path) slowest() Instant {
	d := leastDeadline
	for i := range p.targets {
		d = max(d, p.deadline(&p.targets[i], false))
	}
	return d
}

// neighborFailed takes in that the gateway does not resolve: a reason to look.
func (e *Engine) neighborFailed(ev NeighborFailed) {
	p := e.path(ev.Uplink, ev.Family)
	if p == nil {
		return
	}
	e.reread(p.up)
	p.touched = true
	if p.probing && p.cause == "" {
		p.cause = "the gateway does not resolve"
	}
}
