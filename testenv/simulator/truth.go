package simulator

import (
	"time"

	"swerve/failover"
)

// truth is what is truly so with each path, which no decision can know.
type truth struct {
	paths [][2]reality
	// configured is since when the configuration has the line as it does now.
	configured []failover.Instant
}

// reality is that of one path.
type reality struct {
	alive bool
	// since is when it died, or came to life.
	since failover.Instant
	// timed: it died while carrying, quiet otherwise, and the engine has not
	// left it yet; pending the same for its sessions.
	timed, pending bool
}

const (
	// aftermath is for how long what is over may still show: a probe is lost
	// after a second, and a burst takes its time.
	aftermath = 1500 * time.Millisecond
	// settled is for how long a path must be fine to be counted on.
	settled = 5 * time.Second
	// fineLoss is the loss up to which a path is truly fine.
	fineLoss = 0.05
)

// add adds a line on which all is well.
func (t *truth) add(now failover.Instant) {
	t.paths = append(t.paths, [2]reality{{alive: true, since: never}, {alive: true, since: never}})
	t.configured = append(t.configured, now)
}

// compare notes what a line of the script has changed; died is called for each path
// that is dead from now on.
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
	if !r.alive || n.now-r.since < length || n.now-w.changed < length || w.noSend || len(w.deaf) > 0 || w.loss > fineLoss {
		return false
	}
	for _, e := range l.episodesOf(f) {
		if e.start != forever && (e.on(n.now) || n.now-e.ended < length) {
			return false
		}
	}
	return true
}

// fineAll reports whether all of some uplinks were truly fine: who left them
// was wrong.
func (n *network) fineAll(names []string, f failover.Family) bool {
	for _, name := range names {
		if !n.fine(n.lineOf(name), f, aftermath) {
			return false
		}
	}
	return len(names) > 0
}
