package failover

// hint is what passing traffic tells of a path.
type hint struct {
	sent, received Instant
}

var noHint = hint{sent: never, received: never}

// traffic takes in a hint. Traffic that leaves for longer than an answer takes
// while nothing comes back, no probe's answer either, is a reason to look.
func (e *Engine) traffic(ev Traffic) {
	p := e.path(ev.Uplink, ev.Family)
	if p == nil {
		return
	}
	h := &p.hint
	if ev.LastSent >= 0 {
		h.sent = max(h.sent, min(ev.LastSent, e.now))
	}
	if ev.LastReceived >= 0 {
		h.received = max(h.received, min(ev.LastReceived, e.now))
	}
	p.touched = true
	if !p.probing || len(p.targets) == 0 || h.received == never {
		return
	}
	silence := h.sent - h.received
	if silence <= p.slowest() || p.provenSince(h.received) {
		return
	}
	if p.cause == "" {
		p.cause = "traffic leaves and nothing returns for " + span(silence)
	}
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
