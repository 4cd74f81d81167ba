package simulator

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
	"swerve/testenv/fake"
)

// kernelWatch checks the fake kernel against the rules. It knows the daemon's
// verdicts from the published events, and the links as they were reported to the
// daemon. The loop and the player call it.
type kernelWatch struct {
	routes *fake.Routes
	clock  func() failover.Instant
	// wake requests that the player examine the kernel at this instant.
	wake func()

	mu sync.Mutex
	account
	err      error // the first rule that was broken
	stats    GatewayStats
	dropping bool // the kernel is about to drop routes by itself
	// idle: no daemon is running. disturbed is when the kernel last lost routes, this
	// machine was paused, or no daemon was running.
	idle      bool
	disturbed failover.Instant
	// kept is what else is remembered of the ladders, by policy and family.
	kept [][2]kept
	// moves are the moves of first rungs that are not judged yet: the verdicts that
	// led to them are published after them, and before the next ones. published: an event
	// was published since.
	moves     []move
	published bool
	// main are the first rungs of the mirror in main, released the pairs whose
	// sessions move.
	main     [2]mask
	released [2][]firewall.Pair
}

// kept is what is remembered of a ladder in the kernel: rest is its first rung when
// the loop last waited (where the kernel itself drops a rung, the loop's response is
// no move), behind since when it does not follow the verdicts; forever while it does.
type kept struct {
	rest   mask
	behind failover.Instant
}

// repairWithin is how long the kernel may lack what it lost by itself: the daemon
// paces its repairs up to ten seconds.
const repairWithin = 11 * time.Second

func newKernelWatch(n *network, routes *fake.Routes, clock func() failover.Instant, wake func()) *kernelWatch {
	w := &kernelWatch{account: newAccount(n), routes: routes, clock: clock, wake: wake, disturbed: never}
	for range w.policies {
		w.kept = append(w.kept, [2]kept{{behind: forever}, {behind: forever}})
	}
	return w
}

// tableOf is a policy's table: a new daemon assigns lanes in the file's order.
func tableOf(policy int) int {
	return lane.DefaultLayout.Table(lane.DefaultPolicy + lane.Lane(policy))
}

// configure applies a new configuration.
func (w *kernelWatch) configure(n *network) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account.configure(n)
}

// stop records that the daemon ends, or that the kernel accepts no more changes of it.
func (w *kernelWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = true
}

// start begins to follow another daemon, which finds the kernel as it is.
func (w *kernelWatch) start(n *network) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.clock()
	w.judgeMoves()
	w.idle, w.disturbed = false, at
	w.account.configure(n)
	w.restart()
	for p := range w.ladders {
		for _, f := range failover.Families {
			w.ladders[p][f].lost = 0
			for _, pair := range w.released[f] {
				if i, policy := numbersOf(pair); policy == p {
					w.ladders[p][f].lost |= 1 << i
				}
			}
		}
	}
	w.adopt(at, func(i, p int, f failover.Family) bool { return w.drainOver(i, p, f, at) })
	w.stats.Restarts++
}

// probed records whether a probe could be sent.
func (w *kernelWatch) probed(i int, f failover.Family, refused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if refused {
		w.refused(i, f, w.clock())
	} else {
		w.sent(i, f)
	}
}

// pause records until when this machine is paused.
func (w *kernelWatch) pause(until failover.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disturbed = max(w.disturbed, min(until, w.clock()+leaveWithin))
}

// switchDevice removes a device, and its routes with it, or adds it, unless that is its
// state already. The kernel does that by itself: the loop's response to it is judged.
func (w *kernelWatch) switchDevice(i int, on bool) {
	w.mu.Lock()
	if w.device[i] == on {
		w.mu.Unlock()
		return
	}
	w.device[i] = on
	w.disturbed = max(w.disturbed, w.clock())
	w.dropping = true
	w.mu.Unlock()
	w.routes.Device(deviceOf(i), on)
	w.mu.Lock()
	w.dropping = false
	w.mu.Unlock()
}

// handed applies an event that the loop takes.
func (w *kernelWatch) handed(ev failover.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observe(ev, w.clock())
}

// Publish implements daemon.Publisher: verdicts are published after the loop acted on them.
func (w *kernelWatch) Publish(e control.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = true
	d, ok := e.Detail.(control.HealthDetail)
	if !ok {
		return
	}
	i, f := w.lineOf(d.Uplink), failover.IPv4
	if d.Family == failover.IPv6.String() {
		f = failover.IPv6
	}
	from, to := stateOf(d.From), stateOf(d.To)
	silence := time.Duration(-1)
	if d.EvidenceMS != nil {
		silence = time.Duration(*d.EvidenceMS * float64(time.Millisecond))
	}
	w.complain(0, f, w.mayTurn(i, f, to, silence, w.clock()))
	w.judge(i, f, from, to, d.Reason, w.clock())
	w.wake()
	w.stats.Entered[to]++
}

// stateOf parses a state's name.
func stateOf(name control.State) failover.State {
	for s := failover.Unknown; s < failover.Recovering; s++ {
		if s.String() == string(name) {
			return s
		}
	}
	return failover.Recovering
}

// firstOf returns a table's first rung; empty where there is no usable route.
func (w *kernelWatch) firstOf(f failover.Family, table int) (m mask) {
	rungs := w.routes.Rungs(f, table)
	if len(rungs) == 0 {
		return 0
	}
	for _, d := range rungs[0] {
		m |= 1 << (d - deviceOf(0))
	}
	return m
}

// changed checks the kernel after a single op against its state before.
func (w *kernelWatch) changed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Changes++
	if w.published {
		w.judgeMoves()
	}
	for p := range w.ladders {
		for _, f := range failover.Families {
			l := &w.ladders[p][f]
			before := l.first
			l.first = w.firstOf(f, tableOf(p))
			switch {
			case before == l.first || w.dropping || l.members == nil:
			case l.first == 0:
				w.stats.Emptied++
				w.complain(p, f, w.hasRoute(p, f, "the table"))
			default:
				at := w.clock()
				w.moves = append(w.moves, move{
					policy: p, family: f, from: w.kept[p][f].rest, to: l.first, at: at,
					starting: at-l.answered < startWithin, late: true,
				})
				w.published = false
				w.wake()
			}
		}
	}
	for _, f := range failover.Families {
		before := w.main[f]
		w.main[f] = w.firstOf(f, routing.MainTable)
		if before != 0 && w.main[f] == 0 && !w.dropping {
			w.complain(0, f, w.hasRoute(0, f, "main"))
		}
	}
}

// complain keeps the first broken rule.
func (w *kernelWatch) complain(policy int, f failover.Family, err error) {
	if err != nil && w.err == nil {
		w.err = broken("policy %s %s: %w", w.policies[policy], f, err)
	}
}

// judgeMoves checks the moves since it was last called against the states that led
// to them.
func (w *kernelWatch) judgeMoves() {
	for _, m := range w.moves {
		if m.to == m.from {
			continue
		}
		w.stats.Moves++
		if err := w.mayMove(m); err != nil {
			w.complain(m.policy, m.family, fmt.Errorf("the kernel's first rung goes %w", err))
		}
		l := &w.ladders[m.policy][m.family]
		if l.adopted = 0; w.reasonOf(m) == chosen && !m.starting {
			w.stats.Chosen++
			l.voluntary = m.at
		}
	}
	w.moves = w.moves[:0]
}

// numbersOf are a pair's uplink and policy.
func numbersOf(pair firewall.Pair) (line, policy int) {
	return int(pair.Uplink - lane.FirstUplink), int(pair.Policy - lane.DefaultPolicy)
}

// release checks the pairs whose sessions the packet filter releases.
func (w *kernelWatch) release(lost [2][]firewall.Pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range failover.Families {
		for p := range w.ladders {
			w.ladders[p][f].rest(w.clock())
		}
		for _, pair := range lost[f] {
			if !slices.Contains(w.released[f], pair) {
				w.stats.Released++
				i, p := numbersOf(pair)
				w.complain(p, f, w.mayLose(i, p, f, w.destination(p, f), w.clock()))
			}
		}
	}
	w.released = lost
}

// destination is the state of a first rung when sessions were moved to it: an uplink
// that fell silent at this same instant may have done so after that.
func (w *kernelWatch) destination(policy int, f failover.Family) failover.State {
	first := w.ladders[policy][f].first
	for i := range w.names {
		if first.has(i) && w.paths[i][f].turned == w.clock() {
			return failover.Up
		}
	}
	to, _ := w.worst(first, f)
	return to
}

// atRest checks the kernel when the loop has finished its immediate work. It
// returns the first rule that was broken since the start.
func (w *kernelWatch) atRest(n *network) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.clock()
	w.expire(at)
	w.judgeMoves()
	if w.idle {
		w.disturbed = at
	}
	for p := range w.ladders {
		for _, f := range failover.Families {
			l := &w.ladders[p][f]
			if l.answered == never && slices.ContainsFunc(l.members, func(i int) bool { return w.class(i, f).Answering() }) {
				l.answered = at
			}
			w.complain(p, f, w.standing(p, f, n, at))
			w.kept[p][f].rest = l.first
			l.rest(at)
		}
	}
	w.acknowledge()
	return w.err
}

// standing checks that there is a default route, that main has the same one, and that
// it follows the verdicts and the true state of the paths.
func (w *kernelWatch) standing(p int, f failover.Family, n *network, at failover.Instant) error {
	l, k := &w.ladders[p][f], &w.kept[p][f]
	k.behind = sinceWhen(w.behind(p, f), k.behind, at)
	switch {
	case at-w.disturbed < repairWithin:
		return nil
	case p == 0 && w.main[f] != l.first:
		return fmt.Errorf("main begins with %s, the policy's table with %s", w.list(w.main[f]), w.list(l.first))
	case l.first == 0:
		return w.hasRoute(p, f, "the table")
	case at-k.behind > followWithin:
		state, _ := w.worst(l.first, f)
		return fmt.Errorf("the kernel is on %s for %v, which is %s, and another is up", w.list(l.first), at-k.behind, state)
	case at-w.disturbed < leaveWithin:
		return nil
	}
	return w.follows(p, f, n)
}
