package failover

// Fault is what came of a probe in place of an answer, such as an error or the page of
// a captive portal. It proves nothing, so the probe stays unanswered: a fault decides
// nothing, and is told to people.
type Fault struct {
	// Cause in words; empty for none.
	Cause string
	// Portal: a captive portal has answered in the target's place.
	Portal bool
}

// probeFailed keeps the fault of a probe for its target, until an answer, or a later
// probe that is lost without one.
func (e *Engine) probeFailed(ev ProbeFailed) {
	if f := e.flights.get(ev.ID); f != nil && f.sent != never {
		f.failed = true
		f.path.targets[f.target].fault = ev.Fault
	}
}

// portal returns the fault of the first target in whose place a captive portal answers.
func (ts targets) portal() (Fault, bool) {
	for i := range ts {
		if t := &ts[i]; !t.aside && t.fault.Portal {
			return t.fault, true
		}
	}
	return Fault{}, false
}
