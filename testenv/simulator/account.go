package simulator

import (
	"slices"
	"strings"
	"time"

	"swerve/failover"
)

// account is what a watch knows at an instant: the verdicts, the facts reported to
// the engine or the daemon, and which uplinks carry traffic. Lines and policies are
// identified by their numbers. The rules in rules.go read it.
type account struct {
	names    []string // of the lines
	policies []string
	cfg      failover.Config // in force
	paths    [][2]judged
	// reported holds the last facts reported of each line, known the last that there
	// was time to act on.
	reported, known []facts
	// device is false while a line's device is off, whether that was reported or not.
	device  []bool
	ladders [][2]ladder
	// pins are the operator's switches by policy, drains those by line; requestedAt is,
	// by policy, when the operator last made a request that concerns it, or one ended.
	pins, drains []override
	requestedAt  []failover.Instant
}

// judged is the verdict on a path, and what its flows have shown.
type judged struct {
	// state is the verdict; base is the state before a suspicion.
	state, base failover.State
	brown       bool             // down by loss: it answers
	suspected   failover.Instant // when the suspicion began
	received    failover.Instant // when flows last received packets
	turned      failover.Instant // when the state last changed
	resumed     bool             // under manual failback: by the operator, before it was up
	unsent      failover.Instant // when a probe could first not be sent, and none since; never for none
}

// facts are what is reported about an uplink.
type facts struct {
	enabled [2]bool // by the configuration
	link    failover.Link
}

func (f *facts) routable(family failover.Family) bool {
	return f.enabled[family] && f.link.Routable(family)
}

// ladder is what is remembered of a policy's ladder in one family.
type ladder struct {
	// members are the uplinks that the policy may use; nil where it is not configured.
	members     []int
	first, lost mask
	// left is when each uplink left the first rung that was in it, and came when one did that
	// is; rested is the rung when that was noted last.
	left, came map[int]failover.Instant
	rested     mask
	// answered is when a member first answered, voluntary when the last move by choice
	// was made.
	answered, voluntary failover.Instant
	// adopted is the first rung that a restart found; it is not left by choice before
	// notBefore.
	adopted   mask
	notBefore failover.Instant
}

// override is a request of the operator's.
type override struct {
	set   bool
	line  int
	all   bool             // of all policies, those that come later included
	until failover.Instant // 0 for no end
}

// mask is a set of uplinks by their numbers.
type mask uint64

func (m mask) has(i int) bool { return m>>i&1 != 0 }

// The initial values.
var (
	nothing  = judged{suspected: never, received: never, turned: never, unsent: never}
	noLadder = ladder{answered: never, voluntary: never, notBefore: never}
)

func newAccount(n *network) account {
	var a account
	a.configure(n)
	a.acknowledge()
	return a
}

// configure applies a new configuration. What is known of uplinks and policies that
// it lacks is discarded.
func (a *account) configure(n *network) {
	a.cfg = n.cfg
	for i := len(a.names); i < len(n.lines); i++ {
		a.names = append(a.names, n.lines[i].name)
		a.paths = append(a.paths, [2]judged{nothing, nothing})
		a.reported, a.known = append(a.reported, facts{}), append(a.known, facts{})
		a.drains, a.device = append(a.drains, override{}), append(a.device, true)
	}
	for p := len(a.policies); p < len(n.policies); p++ {
		a.policies = append(a.policies, n.policies[p])
		a.ladders, a.pins = append(a.ladders, [2]ladder{noLadder, noLadder}), append(a.pins, override{})
		a.requestedAt = append(a.requestedAt, never)
	}
	for i, u := range n.uplinks {
		if u == nil {
			a.paths[i] = [2]judged{nothing, nothing}
			a.reported[i], a.drains[i] = facts{}, override{}
			continue
		}
		for _, f := range failover.Families {
			a.reported[i].enabled[f] = u.Enabled && u.Family[f].Enabled
		}
	}
	for p := range a.ladders {
		if pin := a.pins[p]; pin.set && n.uplinks[pin.line] == nil {
			a.pins[p] = override{}
		}
		for _, f := range failover.Families {
			l := &a.ladders[p][f]
			isNew := l.members == nil
			if l.members = n.membersOf(p); isNew && l.members != nil && !a.pins[p].set {
				a.pins[p] = a.pinOfAll(p)
			}
			if l.members == nil {
				*l = noLadder
				a.pins[p], a.requestedAt[p] = override{}, never
			}
		}
	}
}

// acknowledge marks everything reported as known: there was time to act on it.
func (a *account) acknowledge() { copy(a.known, a.reported) }

// restart discards what ends with the engine or the daemon. What carries stays.
func (a *account) restart() {
	for i := range a.paths {
		a.paths[i] = [2]judged{nothing, nothing}
		a.reported[i].link = failover.Link{}
		a.drains[i] = override{}
	}
	clear(a.pins)
	for p := range a.requestedAt {
		a.requestedAt[p] = never
	}
	a.acknowledge()
}

// briefly is for how long at most an uplink carries in the stead of one that is stalled.
const briefly = 30 * time.Second

// rest notes what has left the first rung, once that is what it is to be. What came for a
// stall counts as if it had not.
func (l *ladder) rest(now failover.Instant) {
	if l.left == nil {
		l.left, l.came = map[int]failover.Instant{}, map[int]failover.Instant{}
	}
	for i := range 64 {
		_, left := l.left[i]
		switch {
		case l.first.has(i) && !l.rested.has(i):
			l.came[i] = now
		case !l.first.has(i) && l.rested.has(i) && !(left && now-l.came[i] <= briefly):
			l.left[i] = now
		}
	}
	l.rested = l.first
}

// drainOver reports whether a drain after a failback may be over by now: the uplink left the
// first rung that long ago.
func (a *account) drainOver(i, policy int, f failover.Family, now failover.Instant) bool {
	u, on := a.uplink(i), a.cfg.Sessions.OnFailback
	left, known := a.ladders[policy][f].left[i]
	return u != nil && u.Enabled && on.Move && (u.Metered || !on.MeteredOnly) && known && !a.ladders[policy][f].first.has(i) && now-left >= on.After
}

// adopt takes over what a new engine or daemon finds: a ladder that carries is kept
// for the failback delay, and a lost uplink is down unless it is drained.
func (a *account) adopt(now failover.Instant, drained func(i, policy int, f failover.Family) bool) {
	for p := range a.ladders {
		for _, f := range failover.Families {
			l := &a.ladders[p][f]
			l.voluntary, l.notBefore, l.answered = never, never, never
			l.adopted = l.first
			if l.first != 0 {
				l.notBefore, l.answered = now+a.cfg.Failback.After, now-startWithin
			}
			for i := range a.names {
				if l.lost.has(i) && a.uplink(i) != nil && !drained(i, p, f) {
					a.paths[i][f].state = failover.Down
				}
			}
		}
	}
}

// observe applies an event that is handed to the engine or the daemon.
func (a *account) observe(ev failover.Event, now failover.Instant) {
	switch ev := ev.(type) {
	case failover.LinkChanged:
		if i := a.lineOf(ev.Uplink); a.uplink(i) != nil {
			a.reported[i].link = ev.Link
		}
	case failover.Traffic:
		if i := a.lineOf(ev.Uplink); a.uplink(i) != nil {
			p := &a.paths[i][ev.Family]
			p.received = max(p.received, min(ev.Received, now))
		}
	case failover.Operator:
		a.operate(ev, now)
	case failover.Recall:
		a.recall(ev, now)
	}
}

// recall replaces the overrides by those that a daemon remembers.
func (a *account) recall(ev failover.Recall, now failover.Instant) {
	clear(a.pins)
	clear(a.drains)
	for _, c := range ev.Commands {
		i := a.lineOf(c.Uplink)
		if a.uplink(i) == nil {
			continue
		}
		if c.Verb == failover.Drain {
			a.drains[i] = override{set: true, line: i, until: c.Until}
		}
		for p, name := range a.policies {
			if c.Verb == failover.Switch && name == c.Policy {
				a.pins[p] = override{set: true, line: i, all: c.All, until: c.Until}
			}
		}
	}
	for p := range a.policies {
		a.request(p, true, now)
	}
}

// operate applies a request of the operator's. Switching to an uplink ends its
// drain; draining an uplink ends the switches to it.
func (a *account) operate(ev failover.Operator, now failover.Instant) {
	i := a.lineOf(ev.Uplink)
	if a.uplink(i) == nil && (ev.Uplink != "" || ev.Verb != failover.Resume) {
		return
	}
	for p, name := range a.policies {
		switch {
		case ev.Verb == failover.Switch:
			a.request(p, ev.Policy == "" || ev.Policy == name, now) // where another one of all is replaced too
		default:
			a.request(p, i < 0 || a.isMember(p, i) || a.pins[p].set && a.pins[p].line == i, now)
		}
	}
	a.await(ev.Verb, i)
	o := override{set: true, line: i, all: ev.Policy == "", until: ev.Until}
	if ev.Verb != failover.Switch {
		for p := range a.pins {
			if i < 0 || a.pins[p].line == i {
				a.pins[p] = override{}
			}
		}
	}
	switch ev.Verb {
	case failover.Switch:
		a.drains[i] = override{}
		for p, name := range a.policies {
			switch {
			case a.ladders[p][failover.IPv4].members == nil:
			case ev.Policy == name, ev.Policy == "" && a.owns(p, i):
				a.pins[p] = o
			case ev.Policy == "" && a.pins[p].all:
				a.pins[p] = override{}
			}
		}
	case failover.Drain:
		a.drains[i] = o
	case failover.Resume:
		for j := range a.drains {
			if i < 0 || i == j {
				a.drains[j] = override{}
			}
		}
	}
}

// await notes the paths that are to carry again once they are up, since the operator has
// resumed them. A switch ends that for all, a drain for one.
func (a *account) await(verb failover.OperatorVerb, line int) {
	for i := range a.paths {
		if line >= 0 && i != line && verb != failover.Switch {
			continue
		}
		for f := range a.paths[i] {
			p := &a.paths[i][f]
			p.resumed = verb == failover.Resume && a.cfg.Failback.Manual && (p.resumed || p.state != failover.Up)
		}
	}
}

// awaited reports whether the operator has resumed all of some uplinks before they were
// up, as they are since a moment.
func (a *account) awaited(some mask, f failover.Family, at failover.Instant) bool {
	for i := range a.names {
		if p := &a.paths[i][f]; some.has(i) && (!p.resumed || p.state != failover.Up || at-p.turned >= requestWithin) {
			return false
		}
	}
	return some != 0
}

// expire ends the overrides whose time has passed.
func (a *account) expire(now failover.Instant) {
	for p, o := range a.pins {
		if o.ended(now) {
			a.pins[p] = override{}
			a.request(p, true, now)
		}
	}
	for i, o := range a.drains {
		if o.ended(now) {
			a.drains[i] = override{}
			for p := range a.policies {
				a.request(p, a.isMember(p, i), now)
			}
		}
	}
}

func (o override) ended(now failover.Instant) bool { return o.set && o.until != 0 && now >= o.until }

// request notes a request of the operator's, or the end of one, if it concerns a policy.
func (a *account) request(policy int, concerned bool, now failover.Instant) {
	if concerned {
		a.requestedAt[policy] = now
	}
}

// requested reports whether the operator made a request recently that concerns a policy.
func (a *account) requested(policy int, at failover.Instant) bool {
	return at-a.requestedAt[policy] < requestWithin
}

// isMember reports whether a policy may use a line, in any family.
func (a *account) isMember(policy, i int) bool {
	return slices.ContainsFunc(a.ladders[policy][:], func(l ladder) bool { return slices.Contains(l.members, i) })
}

// owns reports whether a line is in a policy's own tiers, in any family.
func (a *account) owns(policy, i int) bool {
	for _, p := range a.cfg.Policies {
		if p.Name != a.policies[policy] {
			continue
		}
		for _, tier := range slices.Concat(p.Tiers, p.Tiers6) {
			if slices.ContainsFunc(tier, func(s failover.Share) bool { return s.Uplink == a.names[i] }) {
				return true
			}
		}
	}
	return false
}

// pinOfAll is the switch of all policies that holds for a new one.
func (a *account) pinOfAll(policy int) override {
	for _, o := range a.pins {
		if o.all && a.owns(policy, o.line) {
			return o
		}
	}
	return override{}
}

// judge applies a verdict, which may be a down by loss.
func (a *account) judge(i int, f failover.Family, from, to failover.State, reason string, now failover.Instant) {
	p := &a.paths[i][f]
	p.brown = to == failover.Down && strings.HasPrefix(reason, "loss ")
	if to == failover.Suspect {
		p.base, p.suspected = from, now
	}
	p.state, p.turned = to, now
	p.resumed = p.resumed && from != failover.Up
}

// refused records that a probe could not be sent, sent that one was.
func (a *account) refused(i int, f failover.Family, now failover.Instant) {
	if p := &a.paths[i][f]; p.unsent == never {
		p.unsent = now
	}
}
func (a *account) sent(i int, f failover.Family) { a.paths[i][f].unsent = never }

// blind reports whether no probe of a path could be sent for so long that nothing is
// known of it but what other witnesses say.
func (a *account) blind(i int, f failover.Family, now failover.Instant) bool {
	p := &a.paths[i][f]
	return p.unsent != never && now-p.unsent >= blindAfter
}

// allBlind reports whether all of some uplinks are blind.
func (a *account) allBlind(m mask, f failover.Family, now failover.Instant) bool {
	for i := range a.names {
		if m.has(i) && !a.blind(i, f, now) {
			return false
		}
	}
	return m != 0
}

// uplink is a line's configuration; nil for none.
func (a *account) uplink(i int) *failover.Uplink {
	for j := range a.cfg.Uplinks {
		if i >= 0 && a.cfg.Uplinks[j].Name == a.names[i] {
			return &a.cfg.Uplinks[j]
		}
	}
	return nil
}

// lineOf is the number of an uplink; -1 for none.
func (a *account) lineOf(name string) int { return slices.Index(a.names, name) }

// maskOf is the set of some uplinks.
func (a *account) maskOf(names []string) (m mask) {
	for _, name := range names {
		if i := a.lineOf(name); i >= 0 {
			m |= 1 << i
		}
	}
	return m
}

// class is a path's state for ranking: a suspected path ranks as before.
func (a *account) class(i int, f failover.Family) failover.State {
	if p := &a.paths[i][f]; p.state == failover.Suspect {
		return p.base
	}
	return a.paths[i][f].state
}

// usable reports whether the kernel accepts routes by a path, and there was time to
// act on that.
func (a *account) usable(i int, f failover.Family) bool {
	return a.device[i] && a.reported[i].routable(f) && a.known[i].routable(f)
}

// cut reports whether nothing can pass by a path, according to the kernel or the
// configuration.
func (a *account) cut(i int, f failover.Family) bool {
	return !a.device[i] || !a.reported[i].routable(f) || !a.reported[i].link.Carrier
}

// answers reports whether a path is usable, not cut, and judged to answer.
func (a *account) answers(i int, f failover.Family) bool {
	return a.usable(i, f) && !a.cut(i, f) && a.class(i, f).Answering()
}

// order ranks the states, best first.
var order = [...]failover.State{
	failover.Up, failover.Degraded, failover.Recovering, failover.Unknown, failover.Shunned, failover.Down, failover.Absent,
}

// worse reports whether a state ranks behind another.
func worse(a, b failover.State) bool { return slices.Index(order[:], a) > slices.Index(order[:], b) }

// worst returns the worst state of some uplinks, and whether any of them is cut off.
func (a *account) worst(m mask, f failover.Family) (worst failover.State, cut bool) {
	worst = order[0]
	for i := range a.names {
		if m.has(i) {
			if class := a.class(i, f); worse(class, worst) {
				worst = class
			}
			cut = cut || a.cut(i, f)
		}
	}
	return worst, cut
}

// gasps reports whether some uplinks all answer, be it with a loss that made them down.
func (a *account) gasps(m mask, f failover.Family) bool {
	for i := range a.names {
		if m.has(i) && !a.paths[i][f].brown && !a.class(i, f).Answering() {
			return false
		}
	}
	return m != 0
}

// list names some uplinks.
func (a *account) list(m mask) string {
	var names []string
	for i, name := range a.names {
		if m.has(i) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " and ")
}

// drained reports whether any of some uplinks is drained.
func (a *account) drained(m mask) bool {
	return slices.ContainsFunc(a.drains, func(o override) bool { return o.set && m.has(o.line) })
}

// sinceWhen returns the instant since when something holds; forever if it does not.
func sinceWhen(so bool, since, now failover.Instant) failover.Instant {
	if !so {
		return forever
	}
	return min(since, now)
}
