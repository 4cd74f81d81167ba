package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// kernel is this daemon's view of the kernel: how a goal is applied, in which
// order, and what is known of the state that the kernel holds. The enforcer owns
// it.
type kernel struct {
	routes Routes
	// memory is what is known of ours among the routes and rules; made when needed.
	memory  *routing.Memory
	packets Packets
	sysctls Sysctls
	hasIPv6 func() bool
	// foreign are the default routes of others, as last read.
	foreign []routing.Route
	// narrower are other routes of theirs in our tables.
	narrower []routing.Route
	// media are the kinds of the devices that these use, read by mediumOf, which is nil
	// if they cannot be read.
	media    map[int]Medium
	mediumOf func(index int) Medium
	// foreignRules are the rules of others that are used after our first one.
	foreignRules []routing.ForeignRule
	// otherRules are all rules of others; proxied reports that some of them lead packets
	// to a transparent proxy.
	otherRules []routing.OtherRule
	proxied    bool
	// reversed: others' rules filter reverse paths, as last read while an uplink was lost.
	reversed bool
	// pins are host routes of others, read while an uplink is lost, and at the
	// start; morePins reports that there are more than were read. pinsFor are the
	// lost uplinks at the last reading.
	pins     []routing.Route
	morePins bool
	pinsFor  [2][]string
	// goal is the last one for routes and rules, metrics what it remembers of the
	// uplinks' own default routes.
	goal    routing.Goal
	metrics routing.Metrics
	// shunned are the pairs whose new flows would be on an uplink that is shunned.
	shunned [2][]firewall.Pair
	// table is the packet filter's goal, as last computed.
	table firewall.Table
	// held is the table last applied to the packet filter; nil while that is
	// unknown.
	held *firewall.Table
	// tables counts how often our table was made anew, with counters that begin at 0.
	tables int
	// rebuilt: the last apply replaced the packet filter as a whole.
	rebuilt bool
	// adopted: flows were adopted, and none healed since. Others may have begun before the
	// packet filter was there.
	adopted bool
	// standing: the first apply has been tried.
	standing bool
	// firstStart: no earlier run has left a table, so existing flows have no lanes
	// yet.
	firstStart bool
	// filtered: during this run the packet filter held one of our tables, either
	// applied or found.
	filtered bool
	// tuned are the interfaces whose sysctls were set; nil when they have to be set
	// again. That is the case when the interfaces change and at each
	// reconciliation, but not at each switch, which has to be fast. settings is the
	// result.
	tuned    []routing.Interface
	settings settings
	// found are the facts at the time the sysctls were set; nil before they are
	// read.
	found *facts
}

// settings is the result of setting sysctls.
type settings struct {
	// wrong are the settings that do not have the values that failover needs.
	wrong []routing.Setting
	// err is the reason why some could not be set.
	err error
}

// facts are what the goal depends on beside the links. Reading them means reading
// much of /proc, so that is not done at each switch either.
type facts struct {
	ipv6 bool
	// by interface, filled on demand
	strict, bridged map[string]bool
}

func (k *kernel) facts() *facts {
	if k.found == nil {
		k.found = &facts{ipv6: k.hasIPv6(), strict: map[string]bool{}, bridged: map[string]bool{}}
	}
	return k.found
}

// strict reports whether the kernel filters reverse paths strictly on a device.
func (k *kernel) strict(link string) bool {
	known := k.facts().strict
	if _, ok := known[link]; !ok {
		known[link] = k.sysctls.Strict(link)
	}
	return known[link]
}

// differsFrom reports whether the facts that the goal depends on are others than those
// that it was made of.
func (k *kernel) differsFrom(before *facts) bool {
	if before == nil {
		return false
	}
	now := k.facts()
	for device, strict := range before.strict {
		if k.strict(device) != strict {
			return true
		}
	}
	for device, bridged := range before.bridged {
		if k.bridged(device) != bridged {
			return true
		}
	}
	return now.ipv6 != before.ipv6
}

// routingGoal returns the goal for routes and rules together with what is known of
// other programs' routes.
func (k *kernel) routingGoal(g goal) routing.Goal {
	k.goal = g.routing(k.foreign, k.facts().ipv6)
	k.goal.Strangers = g.strangers(k.foreign, k.media)
	k.goal.Pins, k.goal.ForeignRules = k.pins, k.foreignRules
	for i, u := range k.goal.Uplinks {
		k.goal.Uplinks[i].Strict = k.strict(u.Interface)
		if k.reversed {
			// By this rule other programs' filters, too, find the way back of what comes in
			// for the uplink's address.
			for _, f := range failover.Families {
				k.goal.Uplinks[i].Family[f].FromRule = true
			}
		}
		if k.proxied && k.goal.Uplinks[i].Strict {
			// Without src_valid_mark it is this rule by which the kernel finds the way back
			// of what comes in for the uplink's address, so that it is seen to answer again.
			k.goal.Uplinks[i].Family[failover.IPv4].FromRule = true
		}
	}
	k.metrics = k.goal.RecallMetrics(k.metrics)
	return k.goal
}

// wanted returns the routes and rules of the goal.
func (k *kernel) wanted(g goal) routing.State { return routing.Desired(k.routingGoal(g)) }

// applied is the result of an apply.
type applied struct {
	layout lane.Layout
	// routed is the result for routes and rules; readable reports whether the
	// kernel could be read.
	routed   routing.Result
	readable bool
	// refusals are the uplinks whose routes the kernel does not accept.
	refusals []routing.Refusal
	// unhealed is set if flows were adopted, or the packet filter that this run had made
	// was rebuilt, so that flows may have begun without it.
	unhealed *firewall.Goal
	// native and plain are what is known of flows without NAT after an adoption; nil if
	// there was none.
	native natives
	plain  plains
	// unfiltered is the reason why the packet filter does not hold the goal, err
	// all errors other than the refusals.
	unfiltered, err error
	// recalled: routes and rules were not read back, but follow from what the kernel
	// accepted, so a comparison is owed.
	recalled bool
}

// holds reports whether the kernel routes the flows of a lost pair elsewhere.
func (a applied) holds(f failover.Family, pair firewall.Pair) bool {
	return a.readable && a.routed.Holds(a.layout, f, pair.Uplink, pair.Policy)
}

// refused returns the reason why a switch of a family to some uplinks is not in
// force; nil if it is.
func (a applied) refused(f failover.Family, to []lane.Lane) error {
	for _, r := range a.refusals {
		if r.Family == f && !r.Accepted && slices.Contains(to, r.Uplink) {
			return r.Err
		}
	}
	left := slices.ContainsFunc(a.routed.Left, func(op routing.Op) bool { return op.Family() == f })
	if a.readable && !left && a.unfiltered == nil {
		return nil
	}
	return a.err
}

// apply brings the kernel to the goal, and reads it back. Routes come before the
// packet filter: flows that have to leave an uplink must find their new route in
// place. At the first apply the rules come last, so that no packet meets a rule
// before the packet filter sets its mark; but see prepare. To another interface the
// packet filter goes ahead, and stays at the former one until the routes have moved.
func (k *kernel) apply(g goal) applied {
	k.tune(g.interfaces())
	k.rebuilt = false
	out := applied{layout: g.layout}
	var unrouted, unadopted error
	if !k.standing {
		k.standing = true
		unprepared := k.prepare(g)
		unadopted = k.adopt(&g, &out)
		filter := k.aim(k.filterGoal(g), nil)
		unprepared = errors.Join(unprepared, unadopted, k.filter(k.table))
		k.adoptRest(filter, unprepared)
		k.route(g, &out, &unrouted)
		return k.summarize(out, filter, unrouted, unprepared)
	}
	unadopted = k.adopt(&g, &out)
	filter := k.filterGoal(g)
	unadopted = errors.Join(unadopted, k.goAhead(filter))
	k.route(g, &out, &unrouted)
	filter = k.aim(filter, &out)
	return k.summarize(out, filter, unrouted, errors.Join(unadopted, k.filter(k.table)))
}

// goAhead makes the packet filter hold what its goal needs while routes move to other
// interfaces, if they do.
func (k *kernel) goAhead(filter firewall.Goal) error {
	if k.held == nil {
		return nil // what it holds is not known: it is replaced after the routes
	}
	meanwhile, needed := filter.Transition(k.held.Goal())
	if !needed {
		return nil
	}
	return k.filter(firewall.Ruleset(meanwhile))
}

// remembered returns the kernel's routes and rules with our memory of them.
func (k *kernel) remembered() *routing.Memory {
	if k.memory == nil {
		k.memory = routing.Remember(k.routes)
	}
	return k.memory
}

// route brings the routes and rules to the goal.
func (k *kernel) route(g goal, out *applied, unrouted *error) {
	out.routed, out.refusals, *unrouted = routing.Enforce(k.remembered(), k.routingGoal(g), nil)
	out.recalled = k.memory.Trusted()
	// An error with nothing left to do means that the kernel could not be read.
	out.readable = *unrouted == nil || len(out.routed.Left) > 0
}

// filterGoal returns the goal for the packet filter together with what is known of
// other programs' rules.
func (k *kernel) filterGoal(g goal) firewall.Goal {
	out := g.firewall(k.strict)
	out.Kept, out.Exempt = g.keptMarks(k.otherRules), exemptMarks(g.setup, k.otherRules)
	out.Shunned = k.shunned
	out.Wildcards = k.packets.TellsWildcards()
	out = yieldToRules(out, k.foreignRules)
	for i, u := range out.Uplinks {
		if k.bridged(u.Interface) {
			out.Uplinks[i] = g.exceptBridged(u)
		}
	}
	return out
}

// bridged reports whether the packet filter sees what a device forwards as a bridge.
// These frames are not ours to masquerade: their sender is a host on the uplink's link.
func (k *kernel) bridged(link string) bool {
	known := k.facts().bridged
	if _, ok := known[link]; !ok {
		known[link] = k.sysctls.Bridged(link)
	}
	return known[link]
}

// aim computes the packet filter's table from its goal, and returns the goal as it can
// be: flows of lost pairs stay where they are if the kernel refuses the route that they
// should use and has no other for them.
func (k *kernel) aim(filter firewall.Goal, routed *applied) firewall.Goal {
	if routed != nil && len(routed.refusals) > 0 {
		for _, f := range failover.Families {
			filter.Lost[f] = slices.DeleteFunc(filter.Lost[f], func(p firewall.Pair) bool { return !routed.holds(f, p) })
		}
	}
	k.table = k.table.For(filter)
	return filter
}

func (k *kernel) summarize(out applied, filter firewall.Goal, unrouted, other error) applied {
	out.unfiltered, out.err = other, errors.Join(unrouted, other)
	if (k.rebuilt || k.adopted) && other == nil {
		out.unhealed, k.adopted = &filter, false
	}
	return out
}

// tune sets the sysctls of the interfaces, if the interfaces have changed.
func (k *kernel) tune(interfaces []routing.Interface) {
	if k.tuned != nil && slices.Equal(interfaces, k.tuned) {
		return
	}
	k.found = nil
	k.tuned = interfaces
	k.settings.wrong, k.settings.err = k.sysctls.Set(interfaces, k.proxied)
}

// prepare installs the routes and leaves the rules as they are, except that those for
// marks are added where other programs have rules that would lead a marked packet
// elsewhere without them. Refusals are reported when the rules are installed.
func (k *kernel) prepare(g goal) error {
	held, err := k.remembered().Look()
	if err != nil {
		return fmt.Errorf("daemon: read the kernel before the start: %w", err)
	}
	rules := held.Rules
	if heedMarks(k.otherRules, g.layout) {
		for _, r := range routing.ForMarks(k.wanted(g).Rules, g.layout) {
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	_, _, _ = routing.Enforce(k.memory, k.routingGoal(g), &rules)
	return nil
}

// heedMarks reports whether rules of other programs look at bits of marks that are ours.
func heedMarks(rules []routing.OtherRule, l lane.Layout) bool {
	return slices.ContainsFunc(rules, func(r routing.OtherRule) bool { return l.Meets(r.Mask) })
}

// adopt assigns lanes to the flows that existed before the packet filter knew their
// uplink: on all uplinks if there was no table, else on those that no run has
// adopted yet. For the latter it adds to the goal and to the result the networks that
// the flows show to need no NAT. Each uplink is adopted once, even if its flows could
// not all be read.
func (k *kernel) adopt(g *goal, out *applied) error {
	names, lanes := g.unadopted(k.firstStart)
	k.firstStart = false
	if len(names) == 0 {
		return nil
	}
	k.adopted = true
	filter := k.filterGoal(*g)
	filter.Candidates = g.candidateAddresses()
	adoption, err := k.packets.AdoptFlows(filter, lanes...)
	native, plain := natives{}, plains{}
	for i, name := range names {
		native[name], plain[name] = bounded(adoption.Native[lanes[i]]), bounded(adoption.Plain[lanes[i]])
	}
	g.native, g.plain = g.native.with(native), g.plain.with(plain)
	out.native, out.plain = g.native, g.plain
	return err
}

// adoptRest assigns lanes to the flows that began from the adoption until the packet filter
// knew their uplink, before any rule leads them: on a busy machine that took seconds. If it
// fails, or something did before, it is done after the rules.
func (k *kernel) adoptRest(filter firewall.Goal, before error) {
	if !k.adopted || before != nil {
		return
	}
	_, err := k.packets.Heal(filter)
	k.adopted = err != nil
}

// watch has the kernel track connections, and reports that it does, where nobody has
// and the uplinks' flows would not show what they carry without NAT.
func (k *kernel) watch(g goal) bool {
	names, _ := g.unadopted(k.firstStart)
	learn := slices.ContainsFunc(g.uplinks, func(u config.Uplink) bool {
		return slices.Contains(names, u.Name) && (learns(u, failover.IPv4) || learns(u, failover.IPv6))
	})
	if !k.firstStart || !learn {
		return false
	}
	// Where it cannot be read or done, the adoption finds nothing either, and says so.
	blind, err := k.packets.Blind()
	return err == nil && blind && k.packets.Watch() == nil
}

// filter makes the packet filter hold the table, with an incremental change if
// possible.
func (k *kernel) filter(table firewall.Table) error {
	var err error
	if k.held != nil {
		if !k.held.SameRules(table) {
			k.tables++
		}
		err = k.packets.Move(*k.held, table)
	} else if drift, unread := k.packets.Drift(table); unread != nil || len(drift) > 0 {
		// At a first start all flows are other programs', and after an upgrade they
		// were marked by the previous table: neither needs healing.
		k.rebuilt = k.filtered
		k.tables++
		err = k.packets.Apply(table)
	}
	k.held = &table
	if err != nil {
		k.held = nil
		return err
	}
	k.filtered = true
	return nil
}

// lacks returns the differences between the kernel and the goal that was applied last.
func (k *kernel) lacks() (ops []routing.Op, filter []string, err error) {
	held, unread := k.remembered().Look()
	if unread == nil {
		ops = routing.Plan(routing.Desired(k.goal), held)
	}
	filter, err = k.packets.Drift(k.table)
	return ops, filter, errors.Join(unread, err)
}

// drift returns the differences between the kernel and the goal, without changing
// the kernel.
func (k *kernel) drift(g goal) (ops []routing.Op, filter []string, err error) {
	held, unread := k.remembered().Look()
	if unread == nil {
		ops = routing.Plan(k.wanted(g), held)
	}
	k.table = k.table.For(k.filterGoal(g))
	filter, err = k.packets.Drift(k.table)
	if err != nil || len(filter) > 0 {
		k.held = nil // a change relative to its former content would fail
	}
	return ops, filter, errors.Join(unread, err)
}

// readForeign reads the default routes of others again, and while uplinks are lost
// also the host routes that may lead to them, and reports whether they have
// changed.
func (k *kernel) readForeign(layout lane.Layout, lost [2][]string) (changed bool, err error) {
	of, err := k.routes.ReadOthers(layout)
	if err != nil {
		return false, fmt.Errorf("daemon: read the rules and default routes of others: %w", err)
	}
	foreign, rules, others := of.Defaults, of.Heeded, of.Rules
	proxied, err := k.routes.Proxied(others)
	if err != nil {
		return false, fmt.Errorf("daemon: look for a transparent proxy: %w", err)
	}
	var pins []routing.Route
	var more bool
	reversed := k.reversed
	if len(lost[0])+len(lost[1]) > 0 {
		// Rules that cannot be read must not keep the routes from being followed.
		if found, err := k.packets.FiltersReversePaths(); err == nil {
			reversed = found
		}
		if pins, more, err = k.routes.Pins(); err != nil {
			return false, fmt.Errorf("daemon: read the host routes of others: %w", err)
		}
	}
	changed = !reflect.DeepEqual(k.foreign, foreign) || !reflect.DeepEqual(k.narrower, of.Narrower) || !reflect.DeepEqual(k.pins, pins) ||
		!slices.Equal(k.foreignRules, rules) || !slices.Equal(k.otherRules, others) || k.proxied != proxied || k.reversed != reversed
	if k.proxied != proxied {
		k.proxied, k.tuned = proxied, nil
	}
	k.foreignRules, k.otherRules, k.reversed = rules, others, reversed
	k.narrower = of.Narrower
	k.foreign, k.pins, k.morePins, k.pinsFor = foreign, pins, more, lost
	k.readMedia(foreign)
	return changed, nil
}

// pinsUnread reports whether uplinks were lost since the last reading of pins.
func (k *kernel) pinsUnread(lost [2][]string) bool {
	return !slices.Equal(k.pinsFor[0], lost[0]) || !slices.Equal(k.pinsFor[1], lost[1])
}
