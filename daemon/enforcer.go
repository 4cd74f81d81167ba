package daemon

import (
	"errors"
	"slices"
	"time"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// enforcer owns the part of the kernel's state that is ours: it brings the kernel
// to a goal, reports what it then read back, moves the sessions that have to move,
// and repairs what others changed. The loop supplies the goal.
type enforcer struct {
	kernel  *kernel
	worker  *worker
	repairs repairs
	// silences are followed by the loop.
	silences silences
	now      func() failover.Instant

	// examined: it is known whether the kernel has to be left as it is until watched;
	// see watching.
	examined bool
	watched  failover.Instant

	// stale: the kernel may differ from what the intent and the links require. relinked:
	// it may differ from the goal before as well, since the links have changed.
	stale, relinked bool
	// rested is when a goal that moves no new flows may be applied again.
	rested failover.Instant
	// refused: the last apply did not succeed.
	refused bool
	// missing is what others removed from the kernel and has not been restored yet.
	missing missing
	// released are, by family, the lost pairs whose sessions were moved.
	released [2][]firewall.Pair
	// former are those of them that an earlier run had moved, or had begun to move when it
	// was ended: of lost uplinks it is done again, once.
	former [2][]firewall.Pair
	// back are uplinks with a source again, whose routes are not applied yet.
	back []revival
	// retired are lanes whose flows have to end once they are used no more.
	retired []retired
	// anew counts flows of released pairs that another deletion would end; nil if
	// they are not counted. swept is the count at the last one.
	anew  func() uint64
	swept uint64
}

// missing is what others removed from the kernel, as lines to show.
type missing struct {
	lines []string
	since failover.Instant
}

// outcome is the result of bringing the kernel to a goal.
type outcome struct {
	applied
	// at is when the kernel was read back.
	at failover.Instant
	// restored is what others had removed and has been restored; its lines are
	// empty if there was nothing.
	restored missing
	// accepted: the kernel accepted what it had refused before.
	accepted bool
	settings settings
}

// linksChanged records that the links have changed.
func (e *enforcer) linksChanged() {
	e.stale, e.relinked = true, true
	e.missing = missing{} // what is missing may have been removed with the link
	e.kernel.remembered().Forget()
}

// hint records that the kernel may differ from the goal.
func (e *enforcer) hint() { e.repairs.hint(e.now()) }

// urgent is a hint that should not wait for more: our table is gone, or the default
// routes of others may differ from those that were read.
func (e *enforcer) urgent() { e.repairs.hurry(e.now()) }

// watchFirst is for how long flows are watched where the kernel has not tracked any.
const watchFirst = 2 * time.Second

// watching reports whether the kernel is left as it is for now: at a first start on a
// machine that forwards without tracking connections, which is found out by the first
// call, flows are tracked for a moment before they are adopted. begun is true once.
func (e *enforcer) watching(g goal) (begun, watching bool) {
	if e.kernel.standing {
		return false, false
	}
	now := e.now()
	if !e.examined {
		e.examined, e.watched = true, now
		if e.kernel.watch(g) {
			e.watched += watchFirst
			begun = true
		}
	}
	return begun, now < e.watched
}

// Where many uplinks change at once, what moves no new flows waits until the kernel had
// some rest from the goals before: reaching forty one by one would take so long that
// nothing else is done meanwhile. Each is paid for with this many times as long as it
// took, a second at most; a few are made on credit, as comparisons are (repair.go).
const (
	applyRest   = 3
	longestRest = time.Second
	applyCredit = time.Second
)

// ripe reports whether a goal is due that moves no new flows.
func (e *enforcer) ripe() bool { return e.stale && e.now() >= e.rested }

// nextWake returns when there is something to do by itself.
func (e *enforcer) nextWake() failover.Instant {
	if !e.kernel.standing && e.watched > e.now() {
		return min(e.watched, e.repairs.next())
	}
	return e.repairs.next()
}

// apply brings the kernel to the goal. Refused changes are retried later.
func (e *enforcer) apply(g goal) outcome {
	e.stale, e.relinked = false, false
	began := e.now()
	defer func() {
		now := e.now()
		e.rested = min(max(e.rested, now-applyCredit)+applyRest*(now-began), now+longestRest)
	}()
	before := e.kernel.table.Goal()
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
	if o.settings.err != nil || o.recalled {
		e.repairs.hint(o.at)
	}
	if e.kernel.pinsUnread(g.lostUplinks()) {
		e.repairs.hurry(o.at) // not during the switch itself: reading takes time
	}
	for _, u := range renumbered(before, e.kernel.table.Goal()) {
		e.worker.walks.add(renumbering{g.layout, u})
	}
	for _, n := range foreignNow(before, e.kernel.table.Goal()) {
		for _, p := range e.kernel.table.Goal().Policies {
			e.worker.walks.add(sweep{g.layout, firewall.Pair{Uplink: n, Policy: p.Lane}, []failover.Family{failover.IPv6}})
		}
	}
	if barred := g.barredNow(before, e.kernel.table.Goal()); len(barred) > 0 {
		e.worker.add(moves(barred))
	}
	if o.unhealed != nil {
		e.worker.walks.add(heal{*o.unhealed})
	}
	return o
}

// release gives the worker the pairs that were lost since the last call and whose
// flows the kernel now routes elsewhere: flows stay until there is another way for
// them. It returns the moves if the worker has no room for them.
func (e *enforcer) release(g goal, o outcome) (dropped []move) {
	var all, again []move
	for _, f := range failover.Families {
		var released []firewall.Pair
		for _, m := range g.moves(f) {
			before := slices.Contains(e.released[f], m.pair)
			if !before && !o.holds(f, m.pair) {
				continue
			}
			switch {
			case !before:
				m.parts[0].onset, m.parts[0].lost = e.silences.onset(m.uplink, f)
				if m.why == whyLost && e.silences.degraded[path{m.uplink, f}] {
					m.why = whyDegraded
				}
				all = together(all, m)
			case slices.Contains(e.former[f], m.pair) && o.holds(f, m.pair) && !m.drained:
				again = together(again, m)
			}
			released = append(released, m.pair)
		}
		e.released[f] = released
	}
	e.former = [2][]firewall.Pair{}
	if len(again) > 0 {
		e.worker.add(leftovers(again)) // no room: what sends next to nothing stays, as before
	}
	if len(all) > 0 && !e.worker.add(moves(all)) {
		return all
	}
	return nil
}

// hold keeps TCP segments without an entry off the devices of the other uplinks for a
// while, and has those entries end that were made before. It does not wait for the
// worker: a segment that leaves in the meantime may be answered with a reset. If the
// kernel refuses, some TCP sessions are reset by their servers.
func (e *enforcer) hold(lapsed string, others []string, wait time.Duration, then misled) {
	_ = e.kernel.packets.Hold(lapsed, others, wait)
	e.worker.add(then)
}

// sourceIsBack remembers an uplink for revive: once, however often its source goes meanwhile.
func (e *enforcer) sourceIsBack(r revival) {
	i := slices.IndexFunc(e.back, func(o revival) bool { return o.uplink == r.uplink })
	if i < 0 {
		e.back = append(e.back, r)
		return
	}
	before := e.back[i].families
	e.back[i] = r
	for _, f := range before {
		if !slices.Contains(r.families, f) {
			e.back[i].families = append(e.back[i].families, f)
		}
	}
}

// revive has the clients of uplinks speak whose source is back, now that the kernel leads
// what they say there.
func (e *enforcer) revive(o outcome) {
	if o.err != nil {
		return
	}
	for _, r := range e.back {
		e.worker.add(r)
	}
	e.back = nil
}

// sweep has the flows of the released pairs deleted again if some have shown up that
// the deletion after the move could not end: connections that begin between the
// ports of older ones, which kernels before 6.3 still take for established, and
// flows that a helper expects.
func (e *enforcer) sweep(l lane.Layout) {
	if e.anew == nil {
		return
	}
	n := e.anew()
	if n == e.swept {
		return
	}
	var sweeps []sweep
	for _, f := range failover.Families {
		for _, pair := range e.released[f] {
			i := slices.IndexFunc(sweeps, func(s sweep) bool { return s.pair == pair })
			if i < 0 {
				i, sweeps = len(sweeps), append(sweeps, sweep{layout: l, pair: pair})
			}
			sweeps[i].families = append(sweeps[i].families, f)
		}
	}
	for _, s := range sweeps {
		if !e.worker.walks.add(s) {
			return // no room: again at the next call
		}
	}
	e.swept = n // less than before in a new table
}

// compare compares the kernel with the goal, and reports whether the goal has to be
// applied again, because something is missing or was refused before. A goal that has
// not been applied yet waits on, unless something is missing from the one before. An
// error means that the kernel could not be read.
func (e *enforcer) compare(g goal, now failover.Instant) (needed bool, err error) {
	e.kernel.tuned = nil
	before := e.kernel.found
	e.kernel.tune(g.interfaces())
	another := e.stale || e.kernel.differsFrom(before)
	lost, known := e.lost(another)
	ops, filter, unread := e.kernel.drift(g)
	moved, unseen := e.kernel.readForeign(g.layout, g.lostUplinks())
	differs, lines := len(ops)+len(filter) > 0, missingLines(ops, filter)
	if another {
		lines = slices.DeleteFunc(lines, func(line string) bool { return !slices.Contains(lost, line) })
	}
	if e.stale {
		differs = differs && (len(lost) > 0 || !known)
	}
	if !e.refused {
		// After a refusal, what is missing may be what the kernel refused.
		e.missing = missing{lines: lines, since: now}
	}
	err = errors.Join(unread, unseen)
	unwell := err != nil || differs || e.refused || e.kernel.settings.err != nil
	e.repairs.compared(now, unwell)
	if moved {
		e.repairs.followed(now)
	}
	end := e.now()
	e.repairs.spent(end, end-now)
	return unwell || moved, err
}

// lost returns what is missing from the goal that was applied last, where there is another
// one by now; known is false if it cannot be told who removed it.
func (e *enforcer) lost(another bool) (lines []string, known bool) {
	if !another || e.relinked || !e.kernel.standing { // with the links the kernel itself removes routes
		return nil, false
	}
	ops, filter, err := e.kernel.lacks()
	return missingLines(ops, filter), err == nil
}

// missingLines lists the packet filter's part first: it is short, and the most
// important.
func missingLines(ops []routing.Op, filter []string) []string {
	lines := slices.Clone(filter)
	for _, op := range ops {
		if op.OfTouch() {
			continue // read while the worker was changing it
		}
		lines = append(lines, op.String())
	}
	return lines
}
