package daemon

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// kernel is the kernel as this daemon uses it: how a goal is brought into it, in
// which order, and what is known of what it holds. The enforcer owns it.
type kernel struct {
	routes  Routes
	packets Packets
	sysctls Sysctls
	hasIPv6 func() bool
	// foreign are the default routes of others, as they were last read.
	foreign []routing.Route
	// table is the packet filter's goal, as it was last computed.
	table firewall.Table
	// held is what the packet filter was last made to hold; nil while that is
	// not known.
	held *firewall.Table
	// rebuilt: the last apply replaced the packet filter as a whole.
	rebuilt bool
	// standing: the first apply has been tried.
	standing bool
	// firstStart: no earlier run has left a table, so flows that are under way have
	// no lanes yet.
	firstStart bool
	// filtered: this run has made the packet filter hold a table, or found it so.
	filtered bool
	// tuned are the interfaces whose sysctls were set; nil when they have to be
	// set again. That is so when the interfaces change and at each reconciliation,
	// not at each switch, which has to be quick. settings is the result.
	tuned    []routing.Interface
	settings settings
	// found is what was true when the sysctls were set; nil before it is asked.
	found *facts
}

// settings is what came of setting sysctls.
type settings struct {
	// wrong are those that are not as failover needs them.
	wrong []routing.Setting
	// err is why some could not be set.
	err error
}

// facts are what the goal depends on beside the links. Reading them means reading
// much of /proc, so that is not done at each switch either.
type facts struct {
	ipv6   bool
	strict map[string]bool // by interface, filled as it is asked
}

func (k *kernel) facts() *facts {
	if k.found == nil {
		k.found = &facts{ipv6: k.hasIPv6(), strict: map[string]bool{}}
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

// wanted are the routes and rules of the goal.
func (k *kernel) wanted(g goal) routing.State {
	return routing.Desired(g.routing(k.foreign, k.facts().ipv6))
}

// applied is what came of an apply.
type applied struct {
	// holds says by family whether the kernel has the routes and rules of the goal.
	holds [2]bool
	// unhealed: the packet filter that this run had made was rebuilt, so flows may
	// have begun without it.
	unhealed *firewall.Goal
	// native is what is known of native networks after an adoption; nil after none.
	native natives
	// unfiltered is why the packet filter does not hold the goal, err all there is.
	unfiltered, err error
}

// refused is why a family's part of the goal does not hold; nil where it does.
func (a applied) refused(f failover.Family) error {
	if a.holds[f] && a.unfiltered == nil {
		return nil
	}
	return a.err
}

// apply brings the kernel to the goal, and reads it back. Routes come before the
// packet filter: flows that have to leave an uplink must find their new way. At
// the first apply the rules come last of all, so that no packet meets one whose
// marks nobody sets yet.
func (k *kernel) apply(g goal) applied {
	k.tune(g.interfaces())
	want := k.wanted(g)
	k.rebuilt = false
	if k.standing {
		result, unrouted := routing.Apply(k.routes, want)
		found, unadopted := k.adopt(&g)
		out := k.filterAll(g, result, unrouted, unadopted)
		out.native = found
		return out
	}
	k.standing = true
	unprepared := k.prepare(want)
	found, unadopted := k.adopt(&g)
	filter := g.firewall(k.strict)
	k.table = k.table.For(filter)
	unprepared = errors.Join(unprepared, unadopted, k.filter(k.table))
	result, unrouted := routing.Apply(k.routes, want)
	out := k.summarize(filter, result, unrouted, unprepared)
	out.native = found
	return out
}

// filterAll brings the packet filter to the goal, whose routes were applied.
func (k *kernel) filterAll(g goal, result routing.Result, unrouted, other error) applied {
	filter := g.firewall(k.strict)
	k.table = k.table.For(filter)
	return k.summarize(filter, result, unrouted, errors.Join(other, k.filter(k.table)))
}

func (k *kernel) summarize(filter firewall.Goal, result routing.Result, unrouted, other error) applied {
	out := applied{unfiltered: other, err: errors.Join(unrouted, other)}
	if k.rebuilt && other == nil {
		out.unhealed = &filter
	}
	for _, f := range failover.Families {
		lacks := slices.ContainsFunc(result.Left, func(op routing.Op) bool { return op.Family() == f })
		// With an error and nothing left the kernel could not be read.
		out.holds[f] = unrouted == nil || len(result.Left) > 0 && !lacks
	}
	return out
}

// tune sets the sysctls of the interfaces, where they are others than before.
func (k *kernel) tune(interfaces []routing.Interface) {
	if k.tuned != nil && slices.Equal(interfaces, k.tuned) {
		return
	}
	k.found = nil
	k.tuned = interfaces
	k.settings.wrong, k.settings.err = k.sysctls.Set(interfaces)
}

// prepare puts the routes in and leaves the rules as they are.
func (k *kernel) prepare(want routing.State) error {
	held, err := k.routes.Read()
	if err != nil {
		return fmt.Errorf("daemon: read the kernel before the start: %w", err)
	}
	_, err = routing.Apply(k.routes, routing.State{Routes: want.Routes, Rules: held.Rules})
	return err
}

// adopt gives lanes to the flows that were there before the packet filter knew their
// uplink: of all uplinks where there was no table, else of those that no run has met
// yet. For the latter it adds to the goal which networks the flows show to be native.
// It returns all that is known of these then, nil where nothing was adopted. Each
// uplink is met once, also where the flows could not all be read.
func (k *kernel) adopt(g *goal) (natives, error) {
	names, lanes := g.unadopted(k.firstStart)
	k.firstStart = false
	if len(names) == 0 {
		return nil, nil
	}
	adoption, err := k.packets.AdoptFlows(g.firewall(k.strict), lanes...)
	known := maps.Clone(g.native)
	if known == nil {
		known = natives{}
	}
	for i, name := range names {
		if _, done := known[name]; !done {
			known[name] = bounded(adoption.Native[lanes[i]])
		}
	}
	g.native = known
	return known, err
}

// filter makes the packet filter hold the table, as a small change where it can.
func (k *kernel) filter(table firewall.Table) error {
	var err error
	if k.held != nil {
		err = k.packets.Move(*k.held, table)
	} else if drift, unread := k.packets.Drift(table); unread != nil || len(drift) > 0 {
		// At a first start there are only flows of others, and after an upgrade the
		// table before kept them: neither is to be healed.
		k.rebuilt = k.filtered
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

// drift reports what the kernel lacks of the goal, without changing it.
func (k *kernel) drift(g goal) (ops []routing.Op, filter []string, err error) {
	held, unread := k.routes.Read()
	if unread == nil {
		ops = routing.Plan(k.wanted(g), held)
	}
	k.table = k.table.For(g.firewall(k.strict))
	filter, err = k.packets.Drift(k.table)
	if err != nil || len(filter) > 0 {
		k.held = nil // another change of what it held would not do
	}
	return ops, filter, errors.Join(unread, err)
}

// readForeign reads the default routes of others again, and reports whether they
// have changed.
func (k *kernel) readForeign(layout lane.Layout) (changed bool, err error) {
	before := k.foreign
	foreign, err := k.routes.Foreign(layout)
	if err != nil {
		return false, fmt.Errorf("daemon: read the default routes of others: %w", err)
	}
	k.foreign = foreign
	return !reflect.DeepEqual(before, foreign), nil
}
