package daemon

import (
	"errors"
	"slices"

	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
)

// enforcer owns what the kernel holds of ours: it brings the kernel to a goal,
// reports what it was read to hold then, moves the sessions that have to move,
// and repairs what others changed. The loop gives it the goal.
type enforcer struct {
	kernel  *kernel
	worker  *worker
	repairs repairs
	now     func() failover.Instant

	// stale: the kernel may not be as the intent and the links ask.
	stale bool
	// refused: the last apply did not succeed.
	refused bool
	// missing is what others took from the kernel and is not back yet.
	missing missing
	// released are, by family, the lost pairs whose sessions were moved.
	released [2][]firewall.Pair
}

// missing is what others took from the kernel, as lines for people.
type missing struct {
	lines []string
	since failover.Instant
}

// outcome is what came of bringing the kernel to a goal.
type outcome struct {
	applied
	// at is when the kernel was read back.
	at failover.Instant
	// restored is what others had taken and is back; without lines for nothing.
	restored missing
	// accepted: the kernel holds what it had refused before.
	accepted bool
	settings settings
}

// linksChanged says that the links are others than before.
func (e *enforcer) linksChanged() {
	e.stale = true
	e.missing = missing{} // what is missing may have gone with the link
}

// hint says that the kernel may hold something else than it should.
func (e *enforcer) hint() { e.repairs.hint(e.now()) }

// apply brings the kernel to the goal. What it refuses is tried again later.
func (e *enforcer) apply(g goal) outcome {
	e.stale = false
	o := outcome{applied: e.kernel.apply(g), settings: e.kernel.settings, at: e.now()}
	switch {
	case o.err != nil || len(o.refusals) > 0:
		e.repairs.hint(o.at)
	case len(e.missing.lines) > 0:
		o.restored, e.missing = e.missing, missing{}
	case e.refused:
		o.accepted = true
	}
	e.refused = o.err != nil || len(o.refusals) > 0
	if o.settings.err != nil {
		e.repairs.hint(o.at)
	}
	if o.unhealed != nil {
		e.worker.add(heal{*o.unhealed})
	}
	return o
}

// release gives the worker the pairs that were lost since the last time and whose flows
// the kernel leads elsewhere: they are not sent away before there is a way for them. It
// returns the moves for which the worker has no room.
func (e *enforcer) release(g goal, o outcome) (dropped []move) {
	var moves []move
	for _, f := range failover.Families {
		var released []firewall.Pair
		for _, m := range g.moves(f) {
			before := slices.Contains(e.released[f], m.pair)
			if !before && !o.holds(f, m.pair) {
				continue
			}
			if !before {
				moves = together(moves, m)
			}
			released = append(released, m.pair)
		}
		e.released[f] = released
	}
	for _, m := range moves {
		if !e.worker.add(m) {
			dropped = append(dropped, m)
		}
	}
	return dropped
}

// compare compares the kernel with the goal, and reports whether that has to be
// applied again, because something is missing or was refused before. An error
// says that the kernel could not be read.
func (e *enforcer) compare(g goal, now failover.Instant) (needed bool, err error) {
	e.kernel.tuned = nil
	e.kernel.tune(g.interfaces())
	ops, filter, unread := e.kernel.drift(g)
	moved, unseen := e.kernel.readForeign(g.layout)
	if !e.refused {
		// Otherwise what is missing may be what the kernel refused.
		e.missing = missing{lines: missingLines(ops, filter), since: now}
	}
	err = errors.Join(unread, unseen)
	unwell := err != nil || len(ops)+len(filter) > 0 || e.refused || e.kernel.settings.err != nil
	e.repairs.compared(now, unwell)
	return unwell || moved, err
}

// missingLines lists the packet filter's part first: it is short, and matters most.
func missingLines(ops []routing.Op, filter []string) []string {
	lines := slices.Clone(filter)
	for _, op := range ops {
		lines = append(lines, op.String())
	}
	return lines
}
