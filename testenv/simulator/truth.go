package simulator

import (
	"time"

	"swerve/failover"
)

// truth is the true state of each path, which no decision can know.
type truth struct {
	paths [][2]reality
	// configured is since when the configuration of the line is as it is now.
	configured []failover.Instant
}

// reality is the true state of one path.
type reality struct {
	alive bool
	// since is when it died or recovered.
	since failover.Instant
	// timed: it died while carrying, with no other fault, and the engine has not
	// left it yet; pending the same for its sessions.
	timed, pending bool
}

const (
	// aftermath is how long effects of a fault may outlast it: a probe is lost
	// after a second, and a burst takes its time.
	aftermath = 1500 * time.Millisecond
	// settled is how long a path must be fine before it counts as reliable.
	settled = 5 * time.Second
	// fineLoss is the loss up to which a path is truly fine.
	fineLoss = 0.05
)

// add adds a line without faults.
func (t *truth) add(now failover.Instant) {
	t.paths = append(t.paths, [2]reality{{alive: true, since: never}, {alive: true, since: never}})
	t.configured = append(t.configured, now)
}

// compare updates the truth after a line of the script; it calls died for each path
// that has just died.
func (n *network) compare(died func(i int, f failover.Family)) {
	for i, l := range n.lines {
		for _, f := range failover.Families {
			r := &n.truth.paths[i][f]
			alive := l.alive(f)
			if alive == r.alive {
				continue
			}
			*r = reality{alive: alive, since: n.now}
			if !alive {
				died(i, f)
			}
		}
	}
}

// deadFor is for how long a path has been dead; 0 while it is alive.
func (n *network) deadFor(i int, f failover.Family) time.Duration {
	if r := &n.truth.paths[i][f]; !r.alive {
		return n.now - r.since
	}
	return 0
}

// fine reports whether a path is configured and has been without fault for so long.
func (n *network) fine(i int, f failover.Family, length time.Duration) bool {
	l, r := n.lines[i], &n.truth.paths[i][f]
	w := &l.wires[f]
	if u := n.uplinks[i]; u == nil || !u.Enabled || !u.Family[f].Enabled || n.now-n.truth.configured[i] < length {
		return false
	}
	if !r.alive || n.now-r.since < length || n.now-w.changed < length || w.unsent != "" ||
		len(w.silent) > 0 || len(w.unsentTo) > 0 || w.loss > fineLoss {
		return false
	}
	for _, e := range l.episodesOf(f) {
		if e.start != forever && (e.on(n.now) || n.now-e.ended < length) {
			return false
		}
	}
	return true
}

// fineAll reports whether all of some uplinks were truly fine: leaving them was a
// mistake.
func (n *network) fineAll(names []string, f failover.Family) bool {
	for _, name := range names {
		if !n.fine(n.lineOf(name), f, aftermath) {
			return false
		}
	}
	return len(names) > 0
}
