package simulator

import (
	"math/bits"
	"time"

	"swerve/failover"
)

// truth follows what is truly so with each path, beside what the engine takes it
// to be: how soon an outage was seen, and whether a move was right.
type truth struct {
	w     *World
	paths [][2]reality
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
	// leaveWithin is how long a dead carrier may be kept while another uplink is
	// fine all the time. It covers a standby interval, and a verdict by regular
	// probes where the bucket is empty.
	leaveWithin = 45 * time.Second
	// fineLoss is the loss up to which a path is truly fine.
	fineLoss = 0.05
)

func (t *truth) begin(w *World) {
	*t = truth{w: w, paths: make([][2]reality, len(w.lines))}
	for i := range t.paths {
		for f := range t.paths[i] {
			t.paths[i][f] = reality{alive: true, since: never}
		}
	}
}

// faultPlayed looks what a line of the script has changed.
func (t *truth) faultPlayed() {
	for i, l := range t.w.lines {
		for _, f := range failover.Families {
			r := &t.paths[i][f]
			alive := l.alive(f)
			if alive == r.alive {
				continue
			}
			*r = reality{alive: alive, since: t.w.now}
			if !alive {
				t.died(i, f, r)
			}
		}
	}
}

// died begins to time a silence, and plans to see that it was acted on.
func (t *truth) died(i int, f failover.Family, r *reality) {
	silent := t.w.lines[i].link.Carrier && t.w.lines[i].link.Routable(f)
	carrier := t.w.watch.ladders[0][f].first.has(i) && t.w.watch.class(i, f) == failover.Up
	r.timed = silent && carrier && t.otherFine(i, f, settled)
	r.pending = r.timed
	t.w.queue.push(occurrence{at: t.w.now + leaveWithin, kind: reviews, line: i, family: f})
}

// fine reports whether a path has been without fault for so long, and under
// none of the script's hardships.
func (t *truth) fine(i int, f failover.Family, since time.Duration) bool {
	l, r, now := t.w.lines[i], &t.paths[i][f], t.w.now
	w := &l.wires[f]
	if u := &t.w.cfg.Uplinks[i]; !u.Enabled || !u.Family[f].Enabled {
		return false
	}
	if !r.alive || now-r.since < since || now-w.changed < since || w.noSend || w.deaf != 0 || w.loss > fineLoss {
		return false
	}
	for _, e := range l.episodesOf(f) {
		if e.start != forever && (e.on(now) || now-e.ended < since) {
			return false
		}
	}
	return true
}

// fineAll reports whether all of some uplinks were truly fine: who left them
// was wrong.
func (t *truth) fineAll(names []string, f failover.Family) bool {
	for _, name := range names {
		if !t.fine(t.w.lineOf(name), f, aftermath) {
			return false
		}
	}
	return len(names) > 0
}

// otherFine reports whether another uplink of the default policy is fine and
// the engine has it as up.
func (t *truth) otherFine(not int, f failover.Family, since time.Duration) bool {
	for _, i := range t.w.watch.ladders[0][f].members {
		if i != not && t.fine(i, f, since) && t.w.watch.class(i, f) == failover.Up {
			return true
		}
	}
	return false
}

// moved tells that some uplinks have left a first rung.
func (t *truth) moved(left mask, f failover.Family) {
	for ; left != 0; left &= left - 1 {
		r := &t.paths[bits.TrailingZeros64(uint64(left))][f]
		if r.timed && !r.alive {
			t.w.stats.Leave.add(t.w.now - r.since)
		}
		r.timed = false
	}
}

// lost tells that an uplink's sessions are moved.
func (t *truth) lost(i int, f failover.Family) {
	r := &t.paths[i][f]
	if r.pending && !r.alive {
		t.w.stats.Release.add(t.w.now - r.since)
	}
	r.pending = false
	if t.fine(i, f, aftermath) {
		t.w.stats.WronglyLost++
	}
}

// review is due some time after a path has died: if it is still dead, and
// another was fine all the time, no policy's traffic may be on it.
func (t *truth) review(i int, f failover.Family) error {
	r, now := &t.paths[i][f], t.w.now
	if r.alive || now-r.since < leaveWithin || t.w.paused > now-2*leaveWithin && t.w.paused > 0 {
		return nil
	}
	for p := range t.w.watch.ladders {
		l := &t.w.watch.ladders[p][f]
		if !l.first.has(i) {
			continue
		}
		for _, o := range l.members {
			if o != i && t.fine(o, f, leaveWithin) {
				return broken("policy %s is still on %s in %s, dead for %v, while %s is fine",
					t.w.cfg.Policies[p].Name, t.w.lines[i].name, f, now-r.since, t.w.lines[o].name)
			}
		}
	}
	return nil
}
