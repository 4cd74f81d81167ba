package simulator

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
	"swerve/testenv/fake"
)

// kernelWatch holds what the fake kernel has against the rules. It knows the
// daemon's verdicts from the events that it tells, and the links as they were told
// to it. It is called by the loop and by the player.
type kernelWatch struct {
	routes   *fake.Routes
	uplinks  []failover.Uplink
	policies []failover.Policy
	least    time.Duration // between two moves by choice

	mu    sync.Mutex
	err   error // the first rule that was broken
	stats GatewayStats
	// state of each path, and, of a suspected one, the state before.
	state, base [][2]failover.State
	// told are the links as they were told last, known as the loop has dealt with.
	told, known []failover.Link
	on          []bool // the devices
	dropping    bool   // the kernel is about to drop routes by itself
	// uneasy is when the kernel last lost routes, or this machine stood still.
	uneasy failover.Instant
	truth  [][2]soundness
	// rungs are the first ones, by policy and family.
	rungs [][2]firstRung
	// moves of first rungs that are not judged yet: the verdicts that led to them
	// are told after them, and before the next ones. heard: something was told since.
	moves []move
	heard bool
	// main are those of the mirror in main, lost the pairs whose sessions move.
	main [2]mask
	lost [2][]firewall.Pair
}

// soundness is what is truly so with a path: since when it is dead, or without any
// hardship; forever while it is not.
type soundness struct{ dead, sound failover.Instant }

// firstRung is what is remembered of a ladder in the kernel.
type firstRung struct {
	members []int
	// now is what the kernel has, rest what it had when the loop last waited: where
	// the kernel itself drops a rung, the loop's answer is no move of its own.
	now, rest mask
	// answered is when a member first answered, voluntary the last move by choice,
	// behind since when it is silent and another is up; forever while it is not.
	answered, voluntary, behind failover.Instant
}

// move is what became of a first rung by one op of the loop.
type move struct {
	policy   int
	family   failover.Family
	from, to mask
	at       failover.Instant
}

const (
	// mendWithin is for how long the kernel may lack what it lost by itself: the
	// daemon's repairs are paced up to ten seconds.
	mendWithin = 11 * time.Second
	// startWithin is for how long after the first answer a ladder finds its place.
	startWithin = 2100 * time.Millisecond
	// followWithin is how long the kernel may stay on what was judged silent while
	// another is up: that has to be proven anew, by a regular probe if need be.
	followWithin = 10 * time.Second
)

func newKernelWatch(n *network, routes *fake.Routes) *kernelWatch {
	count := len(n.lines)
	w := &kernelWatch{
		routes: routes, uplinks: n.cfg.Uplinks, policies: n.cfg.Policies, least: n.cfg.Failback.MinInterval,
		state: make([][2]failover.State, count), base: make([][2]failover.State, count),
		told: make([]failover.Link, count), known: make([]failover.Link, count), uneasy: never,
	}
	for range n.lines {
		w.on = append(w.on, true)
		w.truth = append(w.truth, [2]soundness{{dead: forever, sound: 0}, {dead: forever, sound: 0}})
	}
	for _, p := range n.cfg.Policies {
		r := firstRung{members: n.membersOf(p), answered: never, voluntary: never, behind: forever}
		w.rungs = append(w.rungs, [2]firstRung{r, r})
	}
	return w
}

// tableOf is a policy's table: a fresh daemon gives lanes in the file's order.
func tableOf(policy int) int {
	return failover.DefaultLayout.Table(failover.DefaultPolicyLane + failover.Lane(policy))
}

// noteTruth looks what the script has changed. The caller holds the network.
func (w *kernelWatch) noteTruth(n *network) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uneasy = max(w.uneasy, min(n.paused, n.now+leaveWithin))
	for i, l := range n.lines {
		for _, f := range failover.Families {
			s := &w.truth[i][f]
			s.dead = sinceWhen(!l.alive(f), s.dead, n.now)
			s.sound = sinceWhen(l.sound(f), s.sound, n.now)
		}
	}
}

// sinceWhen is since when something is so; forever where it is not.
func sinceWhen(so bool, since, now failover.Instant) failover.Instant {
	if !so {
		return forever
	}
	return min(since, now)
}

// device has a device go, and its routes with it, or come. That is the kernel's own
// doing: what the loop makes of it counts.
func (w *kernelWatch) device(i int, on bool, at failover.Instant) {
	w.mu.Lock()
	w.on[i] = on
	w.uneasy = max(w.uneasy, at)
	w.dropping = true
	w.mu.Unlock()
	w.routes.Device(deviceOf(i), on)
	w.mu.Lock()
	w.dropping = false
	w.mu.Unlock()
}

// link tells that the loop has seen a link.
func (w *kernelWatch) link(i int, l failover.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[i] = l
}

// Publish implements daemon.Publisher: verdicts are told after they were acted on.
func (w *kernelWatch) Publish(e control.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = true
	if e.Type != control.EventHealth {
		return
	}
	i := slices.IndexFunc(w.uplinks, func(u failover.Uplink) bool { return u.Name == e.Health.Uplink })
	f := failover.IPv4
	if e.Health.Family == failover.IPv6.String() {
		f = failover.IPv6
	}
	from, to := stateOf(e.Health.From), stateOf(e.Health.To)
	if to == failover.Suspect {
		w.base[i][f] = from
	}
	w.state[i][f] = to
	w.stats.Entered[to]++
}

// stateOf reads a state's name.
func stateOf(name control.State) failover.State {
	for s := failover.Unknown; s < failover.Recovering; s++ {
		if s.String() == string(name) {
			return s
		}
	}
	return failover.Recovering
}

// class is a path's state as it ranks.
func (w *kernelWatch) class(i int, f failover.Family) failover.State {
	if s := w.state[i][f]; s != failover.Suspect {
		return s
	}
	return w.base[i][f]
}

// usable reports whether the kernel takes routes by a path, and the loop knows.
func (w *kernelWatch) usable(i int, f failover.Family) bool {
	u := &w.uplinks[i]
	return u.Enabled && u.Family[f].Enabled && w.on[i] && w.told[i].Routable(f) && w.known[i].Routable(f)
}

// cut reports whether nothing can pass by a path, by the kernel's word.
func (w *kernelWatch) cut(i int, f failover.Family) bool {
	return !w.on[i] || !w.told[i].Routable(f) || !w.told[i].Carrier
}

// first reads a table's first rung; none where there is no way out.
func (w *kernelWatch) first(f failover.Family, table int) (m mask) {
	rungs := w.routes.Rungs(f, table)
	if len(rungs) == 0 {
		return 0
	}
	for _, d := range rungs[0] {
		m |= 1 << (d - deviceOf(0))
	}
	return m
}

// changed holds the kernel after a single op against what was before it.
func (w *kernelWatch) changed(at failover.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Changes++
	if w.heard {
		w.judgeMoves()
	}
	for p := range w.rungs {
		for _, f := range failover.Families {
			r := &w.rungs[p][f]
			before := r.now
			r.now = w.first(f, tableOf(p))
			if before == r.now || w.dropping {
				continue
			}
			if r.now == 0 {
				w.stats.Emptied++
				w.complain(p, f, w.without("the table", r, f))
				continue
			}
			w.moves = append(w.moves, move{p, f, r.rest, r.now, at})
			w.heard = false
		}
	}
	for _, f := range failover.Families {
		before := w.main[f]
		w.main[f] = w.first(f, routing.MainTable)
		if before != 0 && w.main[f] == 0 && !w.dropping {
			w.complain(0, f, w.without("main", &w.rungs[0][f], f))
		}
	}
}

// complain keeps the first complaint of all.
func (w *kernelWatch) complain(policy int, f failover.Family, err error) {
	if err != nil && w.err == nil {
		w.err = broken("policy %s %s: %w", w.policies[policy].Name, f, err)
	}
}

// judgeMoves holds the moves since it was last called against the states that led
// to them.
func (w *kernelWatch) judgeMoves() {
	for _, m := range w.moves {
		if err := w.moved(m); err != nil {
			w.complain(m.policy, m.family, fmt.Errorf("the kernel's first rung goes from %s to %s: %w", w.names(m.from), w.names(m.to), err))
		}
	}
	w.moves = w.moves[:0]
}

func (w *kernelWatch) moved(m move) error {
	if m.to == m.from {
		return nil
	}
	w.stats.Moves++
	was, cut := w.worst(m.from, m.family)
	is, _ := w.worst(m.to, m.family)
	r := &w.rungs[m.policy][m.family]
	switch {
	case cut || m.from == 0:
		return w.fled(r, m.family, is)
	case !is.Answering() && was != failover.Unknown:
		return fmt.Errorf("which is %s", is)
	case was.Answering():
		return w.chosen(r, was, is, m.at)
	}
	return nil
}

// without: a table has no default route where no uplink is to be had, and not else.
func (w *kernelWatch) without(table string, r *firstRung, f failover.Family) error {
	for _, i := range r.members {
		if w.usable(i, f) {
			return fmt.Errorf("%s has no default route, and %s has a link", table, w.uplinks[i].Name)
		}
	}
	return nil
}

// fled: who is cut off goes to one that answers, if any does.
func (w *kernelWatch) fled(r *firstRung, f failover.Family, to failover.State) error {
	for _, i := range r.members {
		if !to.Answering() && w.usable(i, f) && !w.cut(i, f) && w.class(i, f).Answering() {
			return fmt.Errorf("which is %s, and %s is %s", to, w.uplinks[i].Name, w.class(i, f))
		}
	}
	return nil
}

// chosen: who answers is left for what is no worse, and not often.
func (w *kernelWatch) chosen(r *firstRung, from, to failover.State, at failover.Instant) error {
	if slices.Index(order[:], to) > slices.Index(order[:], from) {
		return fmt.Errorf("from %s to %s by choice", from, to)
	}
	if at-r.answered < startWithin {
		return nil
	}
	w.stats.Chosen++
	since := at - r.voluntary
	r.voluntary = at
	if since < w.least {
		return fmt.Errorf("by choice, %v after the last", since)
	}
	return nil
}

// released holds the pairs whose sessions the packet filter lets go of: their
// uplink is down, and the policy has another way.
func (w *kernelWatch) released(lost [2][]firewall.Pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range failover.Families {
		for _, pair := range lost[f] {
			if slices.Contains(w.lost[f], pair) {
				continue
			}
			w.stats.Released++
			i, p := int(pair.Uplink-failover.FirstUplinkLane), int(pair.Policy-failover.DefaultPolicyLane)
			first := w.rungs[p][f].now
			if state := w.class(i, f); state != failover.Down || first == 0 || first.has(i) {
				w.complain(p, f, fmt.Errorf("sessions of %s are moved, which is %s, to %s", w.uplinks[i].Name, state, w.names(first)))
			}
		}
	}
	w.lost = lost
}

// worst is the worst state of some uplinks, and whether any is cut off.
func (w *kernelWatch) worst(m mask, f failover.Family) (worst failover.State, cut bool) {
	place := 0
	for i := range w.uplinks {
		if m.has(i) {
			place = max(place, slices.Index(order[:], w.class(i, f)))
			cut = cut || w.cut(i, f)
		}
	}
	return order[place], cut
}

func (w *kernelWatch) names(m mask) string {
	var names []string
	for i, u := range w.uplinks {
		if m.has(i) {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " and ")
}

// settled holds the kernel against the rules when the loop has done what it does
// at once. It returns the first rule that was broken since the start.
func (w *kernelWatch) settled(at failover.Instant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judgeMoves()
	for p := range w.rungs {
		for _, f := range failover.Families {
			r := &w.rungs[p][f]
			w.noteAnswer(r, f, at)
			w.complain(p, f, w.standing(p, r, f, at))
			r.rest = r.now
		}
	}
	copy(w.known, w.told)
	return w.err
}

func (w *kernelWatch) noteAnswer(r *firstRung, f failover.Family, at failover.Instant) {
	for _, i := range r.members {
		if r.answered == never && w.class(i, f).Answering() {
			r.answered = at
		}
	}
}

// standing: there is a default route, main has the same, and it follows the
// verdicts, and what is truly so.
func (w *kernelWatch) standing(p int, r *firstRung, f failover.Family, at failover.Instant) error {
	r.behind = sinceWhen(w.behind(r, f), r.behind, at)
	if at-w.uneasy < mendWithin {
		return nil
	}
	if p == 0 && w.main[f] != r.now {
		return fmt.Errorf("main begins with %s, the policy's table with %s", w.names(w.main[f]), w.names(r.now))
	}
	if r.now == 0 {
		return w.without("the table", r, f)
	}
	if at-r.behind > followWithin {
		state, _ := w.worst(r.now, f)
		return fmt.Errorf("the kernel is on %s for %v, which is %s, and another is up", w.names(r.now), at-r.behind, state)
	}
	for _, i := range r.members {
		if !r.now.has(i) || at-w.truth[i][f].dead < leaveWithin {
			continue
		}
		for _, o := range r.members {
			if w.usable(o, f) && at-w.truth[o][f].sound >= leaveWithin && at-w.uneasy >= leaveWithin {
				return fmt.Errorf("still on %s, dead for %v, while %s is fine", w.uplinks[i].Name, at-w.truth[i][f].dead, w.uplinks[o].Name)
			}
		}
	}
	return nil
}

// behind reports whether a first rung is judged silent and another uplink is up.
func (w *kernelWatch) behind(r *firstRung, f failover.Family) bool {
	state, _ := w.worst(r.now, f)
	up := func(i int) bool { return w.usable(i, f) && !w.cut(i, f) && w.state[i][f] == failover.Up }
	return (state == failover.Shunned || state == failover.Down) && slices.ContainsFunc(r.members, up)
}

// GatewayStats is what is counted over a script played to the daemon's loop.
type GatewayStats struct {
	// Length is the simulated time.
	Length time.Duration
	// Changes of the kernel's routes and rules, one by one; Moves of first rungs
	// among them, those Chosen though the one before still answered, and ladders
	// that were Emptied.
	Changes, Moves, Chosen, Emptied int
	// Released are pairs of an uplink and a policy whose sessions were moved.
	Released int
	// Entered counts the transitions into each state.
	Entered [failover.Recovering + 1]int
}

// String tells the figures in a line.
func (s GatewayStats) String() string {
	return fmt.Sprintf("%v: %d changes of the kernel, %d moves of a first rung, %d of them by choice, %d ladders emptied, %d times sessions moved, %d downs",
		s.Length, s.Changes, s.Moves, s.Chosen, s.Emptied, s.Released, s.Entered[failover.Down])
}
