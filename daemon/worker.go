package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// move is a pair of lanes whose flows have to leave, with the work to be done for it.
type move struct {
	layout lane.Layout
	pair   firewall.Pair
	// uplink and policy are the names for the event.
	uplink, policy string
	// why is the reason for people.
	why string
	// vain: the uplink never had an address with a gateway, so no sessions that could move.
	vain bool
	// drained: the uplink works, but the time of its sessions after a failback is over.
	drained bool
	// spared are connections of the gateway's own that stay.
	spared firewall.Spared
	// parts are the families in which it was lost.
	parts []part
}

// part is the work of a move in one family.
type part struct {
	family failover.Family
	// addresses are those of this machine whose sockets are closed with the uplink.
	addresses []netip.Addr
	// ways are the interfaces by which the flows leave from now on.
	ways []string
	// onset is the first sign of the uplink's loss, if it is lost.
	onset failover.Instant
	lost  bool
}

// heal assigns lanes to flows that began while our table was missing.
type heal struct{ goal firewall.Goal }

// job is work of the worker.
type job interface{ carryOut(*worker) }

// worker does the work after a switch that may take long, in a goroutine of its own, one
// job after the other. What walks over all conntrack entries, and has nobody waiting for it,
// is for another one.
type worker struct {
	flows  Flows
	routes routing.Kernel
	events Publisher
	// log is told the same as events; nil for nothing.
	log    *slog.Logger
	counts *counters
	queue  chan job
	// walks does what takes a walk; nil for that worker itself.
	walks *worker
}

// workerQueue bounds the queued jobs. More than uplinks times policies times
// families at once means that they flap faster than flows can be deleted; further
// jobs are dropped, and only the packet filter then ends their flows.
const workerQueue = 1024

// newWorker returns a worker with one for its walks, which needs flows of its own.
func newWorker(f, walked Flows, routes routing.Kernel, events Publisher, counts *counters) *worker {
	walks := &worker{flows: walked, routes: routes, events: events, counts: counts, queue: make(chan job, workerQueue)}
	return &worker{flows: f, routes: routes, events: events, counts: counts, queue: make(chan job, workerQueue), walks: walks}
}

// add queues a job and reports whether there was room.
func (w *worker) add(j job) bool {
	select {
	case w.queue <- j:
		return true
	default:
		return false
	}
}

// publish tells what was done.
func (w *worker) publish(d control.SessionsDetail) {
	w.events.Publish(control.Event{Time: control.At(time.Now()), Detail: d})
	if w.log == nil {
		return
	}
	about := []any{"event", "sessions"}
	for _, of := range [...]struct{ key, text string }{{"uplink", d.Uplink}, {"policy", d.Policy}, {"family", d.Family}, {"reason", d.Reason}} {
		if of.text != "" {
			about = append(about, of.key, of.text)
		}
	}
	for _, n := range [...]struct {
		key   string
		count *int64
	}{{"count", d.Count}, {"moved", d.Moved}, {"destroyed", d.Destroyed}, {"poked", d.Poked}, {"left_out", d.LeftOut}} {
		if n.count != nil {
			about = append(about, n.key, *n.count)
		}
	}
	level := slog.LevelInfo
	if d.Action == "failed" {
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, d.Action, about...)
}

// run carries out the jobs until ctx ends.
func (w *worker) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case j := <-w.queue:
			j.carryOut(w)
		}
	}
}

// moves are those of one decision.
type moves []move

// carryOut ends the flows that need a reset, then has the clients of the others speak, and
// reports the moves: what is masqueraded has left with the packet filter's verdict. The
// entries are deleted and counted last: that takes long where there are many, and nothing
// waits for it.
func (all moves) carryOut(w *worker) {
	begin := time.Now()
	var done []ended
	var losses []firewall.Loss
	for _, v := range all {
		m := v.end(w)
		m.took = time.Since(begin)
		done = append(done, m)
		losses = append(losses, firewall.Loss{Pair: v.pair, Families: v.families()})
	}
	var pokes []firewall.Pokes
	var unpoked error
	if len(all) > 0 {
		pokes, unpoked = w.flows.Poke(all[0].layout, losses...)
	}
	for i, m := range done {
		if i < len(pokes) {
			m.pokes = pokes[i]
		}
		m.report(w, unpoked)
	}
	if d := (deletion{begin, all}); !w.walks.add(d) {
		d.carryOut(w)
	}
}

func (v move) families() []failover.Family {
	var out []failover.Family
	for _, p := range v.parts {
		out = append(out, p.family)
	}
	return out
}

// ended is a move with what was done.
type ended struct {
	move
	pokes  firewall.Pokes
	took   time.Duration
	closed [2]int
	open   [2]error // why not all sockets were closed
	failed error    // why not all else was done
}

// end ends what needs no list of entries.
func (v move) end(w *worker) ended {
	m := ended{move: v}
	var ways []string
	for _, p := range v.parts {
		ways = append(ways, p.ways...)
	}
	w.counts.graces(v.uplink)
	m.failed = w.flows.Grace(ways)
	for _, f := range v.families() {
		m.failed = errors.Join(m.failed, routing.Touch(w.routes, v.layout, v.pair.Uplink, f))
	}
	for _, p := range v.parts {
		for _, address := range p.addresses {
			n, err := w.flows.DestroySockets(v.layout, v.pair.Uplink, address, v.spared)
			m.closed[p.family] += n
			m.open[p.family] = errors.Join(m.open[p.family], err)
		}
	}
	return m
}

// report tells of a move. unpoked is why not all clients were poked.
func (m ended) report(w *worker, unpoked error) {
	for _, p := range m.parts {
		sent, closed, failed := m.pokes.Sent[p.family], m.closed[p.family], errors.Join(m.failed, m.open[p.family])
		w.counts.dealtWith(m.uplink, sent, closed)
		if m.vain && failed == nil {
			continue // nothing was moved
		}
		e := m.event(w, "moved", p, "flows go elsewhere, TCP is reset at its next packet", failed)
		e.Destroyed, e.TookMS = positive(closed), control.Millis(m.took)
		w.publish(poked(e, sent, m.pokes.Left[p.family], unpoked))
	}
}

// deletion is the last step of moves.
type deletion struct {
	begin time.Time
	moves []move
}

// carryOut deletes the entries, and reports how many there were of whom.
func (d deletion) carryOut(w *worker) {
	for _, m := range d.moves {
		n, counted, err := w.flows.EndFlows(m.layout, m.pair, m.families()...)
		for _, p := range m.parts {
			moved := n[p.family]
			w.counts.deleted(m.uplink, moved, counted)
			if err == nil && (moved == 0 || m.vain) {
				continue
			}
			e := m.event(w, "settled", p, "conntrack entries deleted", err)
			e.Moved, e.TookMS = positive(moved), control.Millis(time.Since(d.begin))
			w.publish(e)
		}
	}
}

// leftovers are moves of an earlier run, which may have been ended amid them: a flow that
// cannot come along as it is would be dropped for as long as it goes on. They are counted,
// and told by the log alone.
type leftovers []move

// carryOut does what a move does, but for what leads flows elsewhere: the kernel holds it.
func (all leftovers) carryOut(w *worker) {
	var losses []firewall.Loss
	var failed error
	closed := make([]int, len(all))
	for i, m := range all {
		losses = append(losses, firewall.Loss{Pair: m.pair, Families: m.families()})
		for _, p := range m.parts {
			for _, address := range p.addresses {
				n, err := w.flows.DestroySockets(m.layout, m.pair.Uplink, address, m.spared)
				closed[i] += n
				failed = errors.Join(failed, err)
			}
		}
	}
	pokes, err := w.flows.Poke(all[0].layout, losses...)
	failed = errors.Join(failed, err)
	for i, m := range all {
		sent := 0
		if i < len(pokes) {
			sent = pokes[i].Sent[0] + pokes[i].Sent[1]
		}
		w.counts.dealtWith(m.uplink, sent, closed[i])
		w.walks.add(sweep{layout: m.layout, pair: m.pair, families: m.families()})
	}
	if failed != nil && w.log != nil {
		w.log.Warn("not all sessions that an earlier run had to move were ended", "event", "sessions", "err", failed)
	}
}

// sweep deletes again what is left of a moved pair's flows.
type sweep struct {
	layout   lane.Layout
	pair     firewall.Pair
	families []failover.Family
}

// carryOut deletes the flows. If that fails, they end by the pair's next deletion or
// by their timeout: they are not counted again.
func (s sweep) carryOut(w *worker) { _ = w.flows.DeleteFlows(s.layout, s.pair, s.families...) }

// revival has the clients of an uplink speak that lost their entries while it had no source.
type revival struct {
	layout   lane.Layout
	uplink   lane.Lane
	families []failover.Family
}

// carryOut has them speak. If that fails, those that only listen wait.
func (r revival) carryOut(w *worker) { _ = w.flows.Revive(r.layout, r.uplink, r.families...) }

// misled ends the flows of an uplink that began anew in the moment in which it had no
// address, before they were held back.
type misled struct {
	layout    lane.Layout
	lapsed    lane.Lane
	addresses []netip.Addr
	others    []lane.Lane
}

// carryOut ends the entries. If that fails, some flows stay without answers.
func (m misled) carryOut(w *worker) {
	_, _ = w.flows.EndMisled(m.layout, m.lapsed, m.addresses, m.others...)
}

// carryOut heals flows, and reports it if there were any to heal.
func (h heal) carryOut(w *worker) {
	begin := time.Now()
	n, err := w.flows.Heal(h.goal)
	if n == 0 && err == nil {
		return
	}
	count := int64(n)
	detail := control.SessionsDetail{
		Action: "healed", Count: &count, TookMS: control.Millis(time.Since(begin)),
		Reason: "flows that began without our ruleset: given lanes, or begun anew where they were not masqueraded",
	}
	if err != nil {
		detail.Action, detail.Reason = "failed", "not all flows were healed: "+err.Error()
	}
	w.publish(detail)
}

// event is what is told of a part of a move, now.
func (v move) event(w *worker, action string, p part, done string, err error) control.SessionsDetail {
	e := control.SessionsDetail{
		Action: action, Uplink: v.uplink, Policy: v.policy, Family: p.family.String(), Reason: v.why + ": " + done,
	}
	if p.lost {
		e.SilentMS = control.Millis(w.counts.now() - p.onset)
	}
	if err != nil {
		e.Action, e.Reason = "failed", "not all sessions were moved: "+err.Error()
	}
	return e
}

// poked adds to an event how many clients were poked, and why not all of them. It is no
// failure: their TCP is reset when they speak.
func poked(e control.SessionsDetail, sent, left int, err error) control.SessionsDetail {
	e.Poked, e.LeftOut = positive(sent), positive(left)
	if err != nil {
		e.Reason += "; clients that only listen wait: " + err.Error()
	}
	return e
}

// together adds a move, merging it with that of the other family if the same pair
// is lost in both, for the same reason: with many flows, finding them takes the longest.
func together(moves []move, v move) []move {
	i := slices.IndexFunc(moves, func(m move) bool { return m.pair == v.pair && m.why == v.why })
	if i < 0 {
		return append(moves, v)
	}
	moves[i].parts = append(moves[i].parts, v.parts...)
	return moves
}
