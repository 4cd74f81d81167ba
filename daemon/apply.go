package daemon

import (
	"errors"
	"fmt"
	"slices"

	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
)

// routes is the kernel's routing, or a test's.
type routes interface {
	routing.Kernel
	Foreign(failover.Layout) ([]routing.Route, error)
}

// packets is the kernel's packet filter, or a test's.
type packets interface {
	Apply(firewall.Table) error
	Move(from, to firewall.Table) error
	Drift(firewall.Table) ([]string, error)
	AdoptFlows(firewall.Goal) (int, error)
}

// sysctls are the kernel's settings, or a test's.
type sysctls interface {
	Set([]routing.Interface) ([]routing.Setting, error)
	Survey([]routing.Interface) []routing.Finding
	Strict(link string) bool
}

// plant is the kernel as this daemon works it. It is the loop's.
type plant struct {
	routes   routes
	packets  packets
	sysctls  sysctls
	hasIPv6  func() bool
	foreign  []routing.Route
	table    firewall.Table // what the packet filter was last made to hold
	standing bool           // the first apply has been done
	// settled are the interfaces whose sysctls were set, and unsettled what was
	// not right then. They are set again when the interfaces change and at each
	// repair, not at each switch, which should take no longer than it must.
	settled   []routing.Interface
	unsettled []routing.Setting
	// virgin: no earlier run has left a table, so flows that are under way have
	// no lanes yet.
	virgin bool
}

// applied is what came of an apply.
type applied struct {
	routes routing.Result
	// settings that are not as the routes need them, where they are not ours to set.
	settings []routing.Setting
	err      error
}

// apply brings the kernel to the goal, and reads it back. Routes come before the
// packet filter: flows that are let go of must find their new way. At a first
// start the rules come last of all, so that no packet meets one whose marks
// nobody sets yet.
func (k *plant) apply(s setup, p picture, in failover.Intent) applied {
	var out applied
	var problems []error
	note := func(err error) { problems = append(problems, err) }

	var err error
	out.settings, err = k.settle(s.interfaces(p))
	note(err)
	want := routing.Desired(s.routingGoal(p, in, k.foreign, k.hasIPv6()))
	filter := s.firewallGoal(p, in, k.sysctls.Strict)
	if k.standing {
		out.routes, err = routing.Apply(k.routes, want)
		note(err)
		note(k.filter(firewall.Ruleset(filter)))
	} else {
		note(k.prepare(want, filter))
		note(k.filter(firewall.Ruleset(filter)))
		out.routes, err = routing.Apply(k.routes, want)
		note(err)
		k.standing, k.virgin = true, false
	}
	out.err = errors.Join(problems...)
	return out
}

// settle sets the sysctls of the interfaces, where they are others than before.
func (k *plant) settle(interfaces []routing.Interface) ([]routing.Setting, error) {
	if k.standing && slices.Equal(interfaces, k.settled) {
		return k.unsettled, nil
	}
	var err error
	k.unsettled, err = k.sysctls.Set(interfaces)
	if k.settled = interfaces; err != nil {
		k.settled = nil
	}
	return k.unsettled, err
}

// prepare puts the routes in, leaves the rules as they are, and gives lanes to
// the flows that were there before the very first start.
func (k *plant) prepare(want routing.State, filter firewall.Goal) error {
	held, err := k.routes.Read()
	if err != nil {
		return fmt.Errorf("daemon: read the kernel before the start: %w", err)
	}
	_, err = routing.Apply(k.routes, routing.State{Routes: want.Routes, Rules: held.Rules})
	if k.virgin {
		_, unmarked := k.packets.AdoptFlows(filter)
		err = errors.Join(err, unmarked)
	}
	return err
}

// filter makes the packet filter hold the table, as a small change where it can.
func (k *plant) filter(table firewall.Table) error {
	var err error
	if k.standing {
		err = k.packets.Move(k.table, table)
	} else if drift, unread := k.packets.Drift(table); unread != nil || len(drift) > 0 {
		err = k.packets.Apply(table)
	}
	if err == nil {
		k.table = table
	}
	return err
}

// drift tells what the kernel lacks of the goal, without changing it.
func (k *plant) drift(s setup, p picture, in failover.Intent) ([]routing.Op, []string, error) {
	held, err := k.routes.Read()
	if err != nil {
		return nil, nil, err
	}
	want := routing.Desired(s.routingGoal(p, in, k.foreign, k.hasIPv6()))
	table := firewall.Ruleset(s.firewallGoal(p, in, k.sysctls.Strict))
	differences, err := k.packets.Drift(table)
	return routing.Plan(want, held), differences, err
}

// refilter makes the packet filter anew, whatever it was thought to hold.
func (k *plant) refilter(s setup, p picture, in failover.Intent) error {
	table := firewall.Ruleset(s.firewallGoal(p, in, k.sysctls.Strict))
	if err := k.packets.Apply(table); err != nil {
		return err
	}
	k.table = table
	return nil
}

// look reads the default routes of others anew, and lets the sysctls be set anew.
func (k *plant) look(layout failover.Layout) error {
	k.settled = nil
	foreign, err := k.routes.Foreign(layout)
	if err == nil {
		k.foreign = foreign
	}
	return err
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
