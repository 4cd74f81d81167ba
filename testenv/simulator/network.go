package simulator

import (
	"slices"
	"time"

	"swerve/failover"
)

// network is the links of a script's uplinks at an instant, and the configuration in
// force.
type network struct {
	// base is the text of the script's configuration file; empty where there is none.
	base string
	seed uint64
	// cfg is the configuration in force, uplinks its part by line; nil for an uplink
	// that it lacks. lines and policies are all that have existed so far.
	cfg      failover.Config
	uplinks  []*failover.Uplink
	lines    []*line
	policies []string
	truth    truth
	now      failover.Instant
	// paused is until when this machine is paused.
	paused failover.Instant
	// plan adds an occurrence to the queue.
	plan func(occurrence)
}

// newNetwork makes the links of a configuration, without any fault.
func newNetwork(cfg failover.Config, seed uint64, plan func(occurrence)) network {
	n := network{seed: seed, plan: plan}
	n.configure(cfg)
	return n
}

// configure puts a configuration in force. New uplinks get plain lines.
func (n *network) configure(cfg failover.Config) {
	for _, u := range cfg.Uplinks {
		if n.lineOf(u.Name) < 0 {
			n.lines = append(n.lines, newLine(u.Name, len(n.lines), n.seed))
			n.truth.add(n.now)
		}
	}
	for _, p := range cfg.Policies {
		if !slices.Contains(n.policies, p.Name) {
			n.policies = append(n.policies, p.Name)
		}
	}
	before := n.uplinks
	n.cfg, n.uplinks = cfg, make([]*failover.Uplink, len(n.lines))
	for i := range cfg.Uplinks {
		n.uplinks[n.lineOf(cfg.Uplinks[i].Name)] = &cfg.Uplinks[i]
	}
	for i, u := range n.uplinks {
		if i >= len(before) || u == nil || before[i] == nil || u.Enabled != before[i].Enabled {
			n.truth.configured[i] = n.now
		}
	}
}

// lineOf is the number of an uplink; -1 for none. There are few.
func (n *network) lineOf(name string) int {
	for i, l := range n.lines {
		if l.name == name {
			return i
		}
	}
	return -1
}

// hasTarget reports whether a path has a target.
func (n *network) hasTarget(i int, f failover.Family, name string) bool {
	return n.uplinks[i] != nil && slices.Contains(n.uplinks[i].Family[f].Targets, name)
}

// membersOf lists the uplinks that a policy may use in the configuration in force;
// nil where it lacks the policy.
func (n *network) membersOf(policy int) []int {
	i := slices.IndexFunc(n.cfg.Policies, func(p failover.Policy) bool { return p.Name == n.policies[policy] })
	if i < 0 {
		return nil
	}
	tiers := n.cfg.Policies[i].Tiers
	if !n.cfg.Policies[i].Block {
		tiers = slices.Concat(tiers, n.cfg.Policies[0].Tiers)
	}
	var all []int
	for _, tier := range tiers {
		for _, s := range tier {
			if i := n.lineOf(s.Uplink); !slices.Contains(all, i) {
				all = append(all, i)
			}
		}
	}
	return all
}

// reportLater schedules a report of a link.
func (n *network) reportLater(i int, after time.Duration) {
	n.plan(occurrence{at: n.now + after, kind: reportsLink, line: i})
}

// hint returns what the flows on a path show of it, and schedules the next hint.
func (n *network) hint(o occurrence) (failover.Traffic, bool) {
	l := n.lines[o.line]
	w := &l.wires[o.family]
	if w.flows == 0 || o.turn != w.turn {
		return failover.Traffic{}, false
	}
	l.radio.leaves(n.now)
	if l.passes(o.family, n.now) {
		w.received, w.unanswered = n.now, -1
	} else if w.unanswered < 0 {
		w.unanswered = n.now
	}
	o.at = n.now + w.flows
	n.plan(o)
	return failover.Traffic{Uplink: l.name, Family: o.family, Unanswered: w.unanswered, Received: w.received, Heard: w.received}, true
}
