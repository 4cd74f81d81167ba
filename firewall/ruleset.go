package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// Names in the table. Uplinks and policies are named by lane: their own names may be
// keywords of nft.
const (
	resetsCounter = "resets"
	guardCounter  = "guard"
	strayCounter  = "stray"
	anewCounter   = "anew"
	gracedCounter = "graced"
	resettingMap  = "resetting"
	onwardMap     = "onward"
	againMap      = "again"
	graceSet      = "grace"
	holdSet       = "hold"
	lapsedSet     = "lapsed"
	arrivals      = "arrivals"
	departures    = "departures"
	translated    = "translated"
	endings       = "endings"
	guardChain    = "guarded"
)

func restoreMap(f failover.Family) string { return "restore_" + f.String() }
func deadMap(f failover.Family) string    { return "dead_" + f.String() }
func shunnedMap(f failover.Family) string { return "shunned_" + f.String() }

// of returns the name of a lane's object, such as lane_1.
func of(what string, n lane.Lane) string { return fmt.Sprintf("%s_%d", what, n) }

// Ruleset computes the table for a goal. Equal goals have equal tables. Parts of a
// goal that cannot be applied, such as a lane outside its range, are omitted.
func Ruleset(g Goal) Table {
	b := builder{g.sorted()}
	moving := movingMaps(b)
	byRules, ruleMaps := userRules(b)
	stepMaps, steps := stepping(b)
	t := Table{
		goal: b.Goal, counters: b.counters(), maps: slices.Concat(moving, b.maps(), ruleMaps, stepMaps), moving: len(moving),
		calls: callSets(b.Goal), rescues: rescueSets(b.Goal),
	}
	t.chains = append(t.chains, b.lanes()...)
	t.chains = append(t.chains, b.classification()...)
	t.chains = append(t.chains, byRules...)
	t.chains = append(t.chains, resolverChains(b)...)
	t.chains = append(t.chains, blockChains(b)...)
	t.chains = append(t.chains, b.arriving()...)
	t.chains = append(t.chains, rescueChains(b)...)
	t.chains = append(t.chains, steps...)
	t.chains = append(t.chains, moveOn(b))
	t.chains = append(t.chains, b.probing()...)
	t.chains = append(t.chains, answering(b)...)
	t.chains = append(t.chains, wildcardChains(b, t.calls)...)
	t.chains = append(t.chains, b.leaving()...)
	t.chains = append(t.chains, b.srcnat()...)
	t.chains = append(t.chains, inward(b)...)
	t.chains = append(t.chains, b.lost()...)
	t.sealRules()
	t.sealElements()
	return t
}

// For returns the same as Ruleset. If the goal differs from this table's only in what a
// verdict changes, it takes a fraction of the time.
func (t Table) For(g Goal) Table {
	b := builder{g.sorted()}
	if len(t.maps) == 0 || !t.goal.sameButLost(b.Goal) {
		return Ruleset(g)
	}
	t.maps = slices.Concat(movingMaps(b), t.maps[t.moving:])
	t.goal = b.Goal
	t.sealElements()
	return t
}

// Goal returns what the table is for, in the order of lanes and without the parts that
// cannot be applied.
func (t Table) Goal() Goal { return t.goal }

// movingMaps returns the maps whose elements a verdict changes.
func movingMaps(b builder) []verdictMap {
	out := []verdictMap{
		b.restore(failover.IPv4), b.restore(failover.IPv6), b.dead(failover.IPv4), b.dead(failover.IPv6),
		shunned(b, failover.IPv4), shunned(b, failover.IPv6),
	}
	if b.blocks() {
		out = append(out, refuse(b, failover.IPv4), refuse(b, failover.IPv6))
	}
	out = append(out, resolverMaps(b)...)
	out = append(out, unasked(b)...)
	out = append(out, left(b)...)
	out = append(out, rescueMoving(b)...)
	for _, p := range b.spreading() {
		out = append(out, pick(p, failover.IPv4), pick(p, failover.IPv6))
	}
	return out
}

// builder builds the maps and chains of one sorted goal.
type builder struct{ Goal }

func (b builder) counters() []string {
	names := []string{resetsCounter, gracedCounter, guardCounter, strayCounter, anewCounter}
	if b.rescues() {
		names = append(names, limitedCounter, triedCounter, rescuedCounter, takenBackCounter)
	}
	for _, u := range b.Uplinks {
		for _, kind := range [...]string{"up", "flows", "moved", "resets", "began", "began6", "probes", "probes6", "elsewhere", "answers", "answers6", "away", "away6", "returned", "begun", "begun6", "again", "again6", "finished", "finished6"} {
			names = append(names, of(kind, u.Lane))
		}
	}
	return names
}

func (b builder) maps() []verdictMap {
	out := []verdictMap{
		b.again(),
		b.devices(arrivals, "in", every), b.devices(departures, "out", every), b.devices(translated, "snat", translates),
		b.devices(endings, "ends", every),
		b.asking(), b.asked(), clamped(b), byLane(b, resettingMap, "reset"), byLane(b, onwardMap, "onward"),
	}
	out[len(out)-2].about = "Lost uplinks: of flows that are reset, and of those that go on by another one."
	answers, returned := answered(b)
	out = append(out, answers, returned)
	out = append(out, handshakeMaps(b)...)
	out[1].about = "Uplinks by device: for packets that come in, packets that leave, source NAT, and flows that end."
	for _, u := range b.Uplinks {
		if m := b.barred(u); len(m.elements) > 0 {
			out = append(out, m)
		}
	}
	out = append(out, defaultMaps(b)...)
	out = append(out, blockMaps(b)...)
	out = append(out, barred(b)...)
	out = append(out, rescueMaps(b)...)
	return append(out, foundMaps(b.Uplinks)...)
}

// restore has every pair that is not lost. A verdict moves a pair from here to
// dead.
func (b builder) restore(f failover.Family) verdictMap {
	m := verdictMap{name: restoreMap(f), keys: markKeys}
	if f == failover.IPv4 {
		m.about = "(policy, uplink) of a flow -> the lane that its packets take, for each family.\n" +
			"A verdict moves a pair from restore to dead."
	}
	lost := map[Pair]bool{}
	for _, p := range slices.Concat(b.leaves(f), b.Barred()) {
		lost[p] = true
	}
	for _, u := range b.Uplinks {
		for _, p := range b.policyLanes() {
			switch {
			case !lost[Pair{u.Lane, p}]:
				m.elements = append(m.elements, markEntry(b.Layout.CTPair(u.Lane, p), of("lane", u.Lane)))
				m.elements = append(m.elements, restoresRetried(b, u.Lane, p, f)...)
			case p == lane.DefaultPolicy && b.staysAsked(u, f):
				m.elements = append(m.elements, asksOn(b, u))
			}
		}
		// Flows that came in by an uplink are always answered by it.
		m.elements = append(m.elements, markEntry(b.Layout.CTPair(u.Lane, lane.Nobody), of("lane", u.Lane)), b.markOfProbes(u))
	}
	return m
}

// policyLanes returns the lanes of the policies, also of former ones.
func (g Goal) policyLanes() []lane.Lane {
	var out []lane.Lane
	for _, p := range g.Policies {
		out = append(out, p.Lane)
	}
	return append(out, g.FormerPolicies...)
}

// leaves returns the pairs that are lost, and those of former policies with uplinks that
// another one has lost.
func (g Goal) leaves(f failover.Family) []Pair {
	out := slices.Clone(g.Lost[f])
	for _, p := range g.Lost[f] {
		for _, n := range g.FormerPolicies {
			out = append(out, Pair{p.Uplink, n})
		}
	}
	slices.SortFunc(out, comparePairs)
	return slices.Compact(out)
}

// again leads flows whose uplink is not restored to their policy's ladder. That of
// the default policy needs no element: packets without a mark follow it.
func (b builder) again() verdictMap {
	m := verdictMap{name: againMap, keys: markKeys, about: "The flow's uplink is not restored but its policy is known: back to the policy's ladder."}
	for _, p := range b.Policies {
		if p.Lane != lane.DefaultPolicy {
			m.elements = append(m.elements, markEntry(b.Layout.CTPair(0, p.Lane), of("lane", p.Lane)))
		}
	}
	return m
}

// dead matches the established TCP flows of lost pairs, and the others to count those that
// go on.
func (b builder) dead(f failover.Family) verdictMap {
	m := verdictMap{name: deadMap(f), keys: markKeys}
	if f == failover.IPv4 {
		m.about = "(policy, uplink, established TCP) of flows to be reset; without established TCP, of those that go on."
	}
	for _, p := range b.leaves(f) {
		mark := b.Layout.CTPair(p.Uplink, p.Policy) | b.Layout.CTEstablished()
		m.elements = append(m.elements, markEntry(mark, of("dead", p.Uplink)), markEntry(b.Layout.CTPair(p.Uplink, p.Policy), of("leaves", p.Uplink)))
	}
	return m
}

// shunned matches new flows of policies whose uplink is shunned.
func shunned(b builder, f failover.Family) verdictMap {
	m := verdictMap{name: shunnedMap(f), keys: markKeys}
	if f == failover.IPv4 {
		m.about = "Policies whose uplink is shunned: to count what begins elsewhere."
	}
	known := map[lane.Lane]bool{}
	for _, p := range b.Shunned[f] {
		if !known[p.Policy] {
			e := markEntry(b.Layout.CTPair(0, p.Policy), of("shunned", p.Uplink))
			e.jump = true
			m.elements = append(m.elements, e)
		}
		known[p.Policy] = true
	}
	return m
}

// byLane maps the uplink's lane of a flow to one of the uplink's chains.
func byLane(b builder, name, what string) verdictMap {
	m := verdictMap{name: name, keys: markKeys}
	for _, u := range b.Uplinks {
		e := markEntry(b.Layout.Mark(u.Lane), of(what, u.Lane))
		e.jump = name == onwardMap
		m.elements = append(m.elements, e)
	}
	return m
}

// lanes returns the chains that give a packet a lane. They set our seven bits of its
// mark and no others.
func (b builder) lanes() []chain {
	var out []chain
	add := func(n lane.Lane, name string) {
		out = append(out, chain{name: of("lane", n), rules: []rule{
			newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(n))).because(name),
		}})
	}
	for _, u := range b.Uplinks {
		add(u.Lane, "uplink "+u.Name)
	}
	for _, p := range b.Policies {
		if p.Lane != lane.DefaultPolicy {
			add(p.Lane, "policy "+p.Name)
		}
	}
	if len(out) > 0 {
		out[0].about = "Set our seven bits of the packet mark, and no others."
	}
	return out
}

// classification returns the chains that give a new flow its policy: that of the
// first of the user's rules that matches, or else the default policy, which needs
// no mark.
func (b builder) classification() []chain {
	var out []chain
	for _, p := range b.Policies {
		if p.Lane == lane.DefaultPolicy {
			continue
		}
		c := chain{name: of("new", p.Lane), rules: []rule{
			newRule(setCTMark(b.Layout.CTUplinkMask()|b.Layout.CTPolicyMask(), b.Layout.CTPair(0, p.Lane))),
		}}
		if p.Block {
			c.rules = append(c.rules, refusals(b, "no way")...)
		}
		c.rules = slices.Concat(c.rules, rescuesOf(b, p), picks(p), []rule{newRule(goTo(of("lane", p.Lane)))})
		out = append(out, c)
	}
	if len(out) > 0 {
		out[0].about = "A new flow of a policy other than the default: record its policy."
	}
	return append(out, defaultChains(b)...)
}

// devices maps the interface of each uplink that has one to one of its chains.
func (b builder) devices(name, what string, where func(Uplink) bool) verdictMap {
	m := verdictMap{name: name, keys: deviceKeys}
	for _, u := range b.Uplinks {
		for _, device := range []string{u.Interface, u.Former} {
			if device != "" && u.Interface != "" && where(u) {
				m.elements = append(m.elements, deviceEntry(device, of(what, u.Lane)))
			}
		}
	}
	return m
}

func every(Uplink) bool        { return true }
func translates(u Uplink) bool { return u.SNAT || u.SNAT6 != None || len(u.NPT) > 0 || len(u.DNS) > 0 }

// barred has the blocking policies that do not use the uplink. It keeps their flows
// off it, also while no daemon runs.
func (b builder) barred(u Uplink) verdictMap {
	m := verdictMap{name: of("barred", u.Lane), keys: markKeys}
	for _, p := range b.blocking() {
		if u.Interface != "" && !p.uses(u.Lane) {
			m.elements = append(m.elements, markEntry(b.Layout.CTPair(0, p.Lane), guardChain))
		}
	}
	return m
}

// hooked returns a base: its hook, and its priority as text and number.
func hooked(kind nftables.ChainType, hook *nftables.ChainHook, hookText, priorityText string, priority nftables.ChainPriority) *base {
	return &base{kind: kind, hook: hook, hookText: hookText, priorityText: priorityText, priority: priority}
}
