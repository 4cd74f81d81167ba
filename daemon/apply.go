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

// plant is the kernel as this daemon works it. It is the loop's.
type plant struct {
	routes  Routes
	packets Packets
	sysctls Sysctls
	hasIPv6 func() bool
	// foreign are the default routes of others, as they were last looked at.
	foreign []routing.Route
	// table is the packet filter's goal, as it was last computed.
	table firewall.Table
	// held is what the packet filter was last made to hold; nil while that is
	// not known.
	held *firewall.Table
	// anew: the packet filter was just made whole, not changed.
	anew bool
	// standing: the first apply has been tried.
	standing bool
	// virgin: no earlier run has left a table, so flows that are under way have
	// no lanes yet.
	virgin bool
	// settled are the interfaces whose sysctls were set; nil when they have to be
	// set anew. That is so when the interfaces change and at each look, not at
	// each switch, which should take no longer than it must. unsettled is what was
	// not right then, and unset why it could not be set.
	settled   []routing.Interface
	unsettled []routing.Setting
	unset     error
	// found is what was so when the sysctls were set; nil before it is asked.
	found *facts
}

// facts are what the goal depends on beside the links. Much of /proc is read for
// it, so that it is not for each switch either.
type facts struct {
	ipv6   bool
	strict map[string]bool // by interface, filled as it is asked
}

func (k *plant) facts() *facts {
	if k.found == nil {
		k.found = &facts{ipv6: k.hasIPv6(), strict: map[string]bool{}}
	}
	return k.found
}

// strict reports whether the kernel filters reverse paths strictly on a device.
func (k *plant) strict(link string) bool {
	known := k.facts().strict
	if _, ok := known[link]; !ok {
		known[link] = k.sysctls.Strict(link)
	}
	return known[link]
}

// wanted are the routes and rules of the goal.
func (k *plant) wanted(s setup, p picture, in failover.Intent) routing.State {
	return routing.Desired(s.routingGoal(p, in, k.foreign, k.facts().ipv6))
}

// applied is what came of an apply.
type applied struct {
	// holds tells by family whether the kernel has the routes and rules of the goal.
	holds [2]bool
	// unhealed: the packet filter was made anew, so flows may have begun without it.
	unhealed *firewall.Goal
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
// packet filter: flows that are let go of must find their new way. At a first
// start the rules come last of all, so that no packet meets one whose marks
// nobody sets yet.
func (k *plant) apply(s setup, p picture, in failover.Intent) applied {
	k.settle(s.interfaces(p))
	want := k.wanted(s, p, in)
	goal := s.firewallGoal(p, in, k.strict)
	k.table = k.table.For(goal)
	k.anew = false
	if k.standing {
		result, unrouted := routing.Apply(k.routes, want)
		return k.outcome(goal, result, unrouted, k.filter(k.table))
	}
	k.standing = true
	unprepared := errors.Join(k.prepare(want), k.adopt(goal), k.filter(k.table))
	result, unrouted := routing.Apply(k.routes, want)
	return k.outcome(goal, result, unrouted, unprepared)
}

// outcome sums an apply up.
func (k *plant) outcome(goal firewall.Goal, result routing.Result, unrouted, other error) applied {
	out := applied{unfiltered: other, err: errors.Join(unrouted, other)}
	if k.anew && other == nil {
		out.unhealed = &goal
	}
	for _, f := range failover.Families {
		lacks := slices.ContainsFunc(result.Left, func(op routing.Op) bool { return op.Family() == f })
		// With an error and nothing left the kernel could not be read.
		out.holds[f] = unrouted == nil || len(result.Left) > 0 && !lacks
	}
	return out
}

// settle sets the sysctls of the interfaces, where they are others than before.
func (k *plant) settle(interfaces []routing.Interface) {
	if k.settled != nil && slices.Equal(interfaces, k.settled) {
		return
	}
	k.found = nil
	k.settled = interfaces
	k.unsettled, k.unset = k.sysctls.Set(interfaces)
}

// prepare puts the routes in and leaves the rules as they are.
func (k *plant) prepare(want routing.State) error {
	held, err := k.routes.Read()
	if err != nil {
		return fmt.Errorf("daemon: read the kernel before the start: %w", err)
	}
	_, err = routing.Apply(k.routes, routing.State{Routes: want.Routes, Rules: held.Rules})
	return err
}

// adopt gives lanes to the flows that were there before the very first start.
func (k *plant) adopt(goal firewall.Goal) error {
	if !k.virgin {
		return nil
	}
	k.virgin = false
	_, err := k.packets.AdoptFlows(goal)
	return err
}

// filter makes the packet filter hold the table, as a small change where it can.
func (k *plant) filter(table firewall.Table) error {
	var err error
	if k.held != nil {
		err = k.packets.Move(*k.held, table)
	} else if drift, unread := k.packets.Drift(table); unread != nil || len(drift) > 0 {
		k.anew = true
		err = k.packets.Apply(table)
	}
	k.held = &table
	if err != nil {
		k.held = nil
	}
	return err
}

// drift tells what the kernel lacks of the goal, without changing it.
func (k *plant) drift(s setup, p picture, in failover.Intent) (ops []routing.Op, filter []string, err error) {
	held, unread := k.routes.Read()
	if unread == nil {
		ops = routing.Plan(k.wanted(s, p, in), held)
	}
	k.table = k.table.For(s.firewallGoal(p, in, k.strict))
	filter, err = k.packets.Drift(k.table)
	if err != nil || len(filter) > 0 {
		k.held = nil // another change of what it held would not do
	}
	return ops, filter, errors.Join(unread, err)
}

// look reads the default routes of others anew, and reports whether they are
// others than before.
func (k *plant) look(layout lane.Layout) (changed bool, err error) {
	before := k.foreign
	foreign, err := k.routes.Foreign(layout)
	if err != nil {
		return false, fmt.Errorf("daemon: look at the default routes of others: %w", err)
	}
	k.foreign = foreign
	return !reflect.DeepEqual(before, foreign), nil
}

// interfaces are those of the uplinks that are there.
func (s setup) interfaces(p picture) []routing.Interface {
	var out []routing.Interface
	for _, u := range s.uplinks {
		if link := p.links[u.Name]; u.Enabled && link.Present {
			out = append(out, routing.Interface{Name: link.Interface, Index: link.Index})
		}
	}
	return out
}
