package daemon

import (
	"errors"
	"fmt"
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
	layout lane.Layout
	// routed is what came of the routes and rules; readable says that the kernel could
	// be read.
	routed   routing.Result
	readable bool
	// refusals are the uplinks whose routes the kernel does not accept.
	refusals []routing.Refusal
	// unhealed: the packet filter was rebuilt, so flows may have begun without it.
	unhealed *firewall.Goal
	// unfiltered is why the packet filter does not hold the goal, err all there is
	// beside the refusals.
	unfiltered, err error
}

// holds reports whether the kernel leads the flows of a lost pair elsewhere.
func (a applied) holds(f failover.Family, pair firewall.Pair) bool {
	return a.readable && a.routed.Holds(a.layout, f, pair.Uplink, pair.Policy)
}

// refused is why a switch of a family to some uplinks does not hold; nil where it does.
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
// packet filter: flows that have to leave an uplink must find their new way. At
// the first apply the rules come last of all, so that no packet meets one whose
// marks nobody sets yet.
func (k *kernel) apply(g goal) applied {
	k.tune(g.interfaces())
	k.rebuilt = false
	out := applied{layout: g.layout}
	var unprepared, unrouted error
	if !k.standing {
		k.standing = true
		filter := k.aim(g, nil)
		unprepared = errors.Join(k.prepare(g), k.adopt(filter), k.filter(k.table))
		k.route(g, &out, &unrouted)
		return k.summarize(out, filter, unrouted, unprepared)
	}
	k.route(g, &out, &unrouted)
	filter := k.aim(g, &out)
	return k.summarize(out, filter, unrouted, k.filter(k.table))
}

// route brings the routes and rules to the goal.
func (k *kernel) route(g goal, out *applied, unrouted *error) {
	out.routed, out.refusals, *unrouted = routing.Enforce(k.routes, g.routing(k.foreign, k.facts().ipv6), nil)
	// With an error and nothing left the kernel could not be read.
	out.readable = *unrouted == nil || len(out.routed.Left) > 0
}

// aim computes the packet filter's goal. Flows of lost pairs that have no other way in
// the kernel, since it refuses the one that they should have, stay where they are.
func (k *kernel) aim(g goal, routed *applied) firewall.Goal {
	filter := g.firewall(k.strict)
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
	if k.rebuilt && other == nil {
		out.unhealed = &filter
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

// prepare puts the routes in and leaves the rules as they are. What the kernel refuses
// is told when the rules are put in.
func (k *kernel) prepare(g goal) error {
	held, err := k.routes.Read()
	if err != nil {
		return fmt.Errorf("daemon: read the kernel before the start: %w", err)
	}
	_, _, _ = routing.Enforce(k.routes, g.routing(k.foreign, k.facts().ipv6), &held.Rules)
	return nil
}

// adopt gives lanes to the flows that were there before the very first start.
func (k *kernel) adopt(filter firewall.Goal) error {
	if !k.firstStart {
		return nil
	}
	k.firstStart = false
	_, err := k.packets.AdoptFlows(filter)
	return err
}

// filter makes the packet filter hold the table, as a small change where it can.
func (k *kernel) filter(table firewall.Table) error {
	var err error
	if k.held != nil {
		err = k.packets.Move(*k.held, table)
	} else if drift, unread := k.packets.Drift(table); unread != nil || len(drift) > 0 {
		k.rebuilt = true
		err = k.packets.Apply(table)
	}
	k.held = &table
	if err != nil {
		k.held = nil
	}
	return err
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
