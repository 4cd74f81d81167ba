package simulator

import (
	"slices"
	"time"

	"swerve/failover"
)

// network is the lines of a script's uplinks, as they are at an instant.
type network struct {
	cfg   failover.Config
	lines []*line
	now   failover.Instant
	// paused is until when this machine stands still.
	paused failover.Instant
	// tell has a link reported after a time.
	tell func(i int, after time.Duration)
}

func newNetwork(s Script, tell func(int, time.Duration)) (network, error) {
	cfg, err := s.engine()
	if err != nil {
		return network{}, err
	}
	n := network{cfg: cfg, tell: tell}
	for i, u := range cfg.Uplinks {
		n.lines = append(n.lines, newLine(u.Name, i, s.Seed))
	}
	return n, nil
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

// targetOf is a target's number on a path; -1 for none.
func (n *network) targetOf(i int, f failover.Family, name string) int {
	for t, other := range n.cfg.Uplinks[i].Family[f].Targets {
		if other == name {
			return t
		}
	}
	return -1
}

// membersOf lists the uplinks that a policy may use.
func (n *network) membersOf(p failover.Policy) []int {
	tiers := p.Tiers
	if !p.Block {
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
