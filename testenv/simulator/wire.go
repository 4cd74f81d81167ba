package simulator

import (
	"time"

	"swerve/failover"
)

// plainRTT is the round trip time of a wire with the default settings.
const plainRTT = 20 * time.Millisecond

// wire is an uplink's path in one family. A probe's outcome is drawn when it is sent;
// an answer is also lost if the wire dies while it is in flight.
type wire struct {
	rtt, jitter time.Duration
	loss        float64
	// dead by an outage of its own.
	dead bool
	// unsent names the error with which this machine cannot send, as EPERM; empty where
	// it can. unsentTo has the same for some targets.
	unsent   string
	unsentTo map[string]string
	// silent are the targets that do not answer by this wire.
	silent map[string]bool
	// policed is the time after which another probe may pass; 0 for at once. Up to
	// policedBurst pass together; policer is what is used of that.
	policed time.Duration
	policer tokens
	// limited is the time after which a target answers another probe; 0 for at once. Up to
	// limitedBurst are answered together; limits has what is used of that, by target.
	limited time.Duration
	limits  map[string]*tokens
	// heldUntil is until when answers are held back, lostUntil until when all is lost.
	heldUntil, lostUntil failover.Instant
	// beacon is the time between two wakings of a radio that saves power, which receives
	// nothing in between; 0 where it is always awake.
	beacon time.Duration
	load   load
	random random
	// stalls and bursts are this family's own, in addition to those of the uplink.
	stalls, bursts episodes
	// changed is when the script last changed one of its settings.
	changed failover.Instant
	// flows is how often flows that use it give a hint; 0 for no flows. turn counts
	// the changes of that setting. received is when they last received a packet,
	// unanswered since when they wait for one; negative for none.
	flows                time.Duration
	turn                 int
	received, unanswered failover.Instant
}

// line is what an uplink's families share.
type line struct {
	name           string
	link           failover.Link
	stalls, bursts episodes
	radio          radio
	wires          [2]wire
}

// newLine makes a line with default settings. index distinguishes the lines of a world.
func newLine(name string, index int, seed uint64) *line {
	l := &line{name: name, link: PlainLink(name, index), radio: radio{used: never}}
	base := uint64(index+1) * 16
	l.stalls.random, l.bursts.random = newRandom(seed, base), newRandom(seed, base+1)
	for f := range l.wires {
		w := &l.wires[f]
		at := base + 2 + 3*uint64(f)
		w.random, w.stalls.random, w.bursts.random = newRandom(seed, at), newRandom(seed, at+1), newRandom(seed, at+2)
		w.rtt, w.changed, w.received, w.unanswered = plainRTT, never, -1, -1
		w.silent, w.unsentTo, w.limits = map[string]bool{}, map[string]string{}, map[string]*tokens{}
		w.stalls.begin(0)
		w.bursts.begin(0)
	}
	l.stalls.begin(0)
	l.bursts.begin(0)
	return l
}

// episodesOf lists the four kinds of episodes that affect a wire.
func (l *line) episodesOf(f failover.Family) [4]*episodes {
	w := &l.wires[f]
	return [4]*episodes{&l.stalls, &l.bursts, &w.stalls, &w.bursts}
}

// alive reports whether anything passes by a wire at all.
func (l *line) alive(f failover.Family) bool {
	return !l.wires[f].dead && l.link.Routable(f) && l.link.Carrier
}

// passes reports whether flows get anything back by a wire.
func (l *line) passes(f failover.Family, now failover.Instant) bool {
	for _, e := range l.episodesOf(f) {
		if e.start != forever && e.on(now) && (e.hold || e.loss == 1) {
			return false
		}
	}
	w := &l.wires[f]
	return l.alive(f) && w.unsent == "" && w.loss < 1 && now >= w.heldUntil && now >= w.lostUntil
}

// arrives reports whether an answer that is in the air now arrives.
func (l *line) arrives(f failover.Family, now failover.Instant) bool {
	return l.alive(f) && now >= l.wires[f].lostUntil
}

// sendErrors are those of sending, in words.
var sendErrors = map[string]string{"ENOBUFS": "no buffer space available", "EPERM": "operation not permitted"}

// refused returns the report of a probe that this machine cannot send by a wire; false
// where it can.
func (l *line) refused(p failover.Probe) (failover.ProbeNotSent, bool) {
	errno := l.wires[p.Family].unsent
	if errno == "" {
		errno = l.wires[p.Family].unsentTo[p.Target]
	}
	if errno == "" {
		return failover.ProbeNotSent{}, false
	}
	return failover.ProbeNotSent{ID: p.ID, Cause: "send: " + sendErrors[errno], Errno: errno}, true
}

// answer draws the outcome of a probe: when its answer arrives, or that none does.
func (l *line) answer(f failover.Family, target string, now failover.Instant) (failover.Instant, bool) {
	w := &l.wires[f]
	if !l.alive(f) || len(w.silent) > 0 && w.silent[target] {
		return 0, false
	}
	lost := w.loss > 0 && w.random.unit() < w.loss
	lost = !w.admits(now) || !w.replies(target, now) || lost
	left := l.radio.leaves(now)
	queued, dropped := w.load.queue(left)
	lost = dropped > 0 && w.random.unit() < dropped || left < w.lostUntil || lost
	at := left + queued + w.rtt
	if w.jitter > 0 {
		at += time.Duration(w.random.unit() * float64(w.jitter))
	}
	if w.beacon > 0 {
		at += w.beacon - at%w.beacon
	}
	at = max(at, w.heldUntil)
	for _, e := range l.episodesOf(f) {
		if e.start == forever || !e.on(now) {
			continue
		}
		lost = lost || e.loss > 0 && w.random.unit() < e.loss
		if e.hold {
			at = max(at, e.end)
		}
	}
	return at, !lost
}

const (
	// policedBurst is how many probes a policer lets pass together.
	policedBurst = 5
	// limitedBurst is how many probes a target answers together.
	limitedBurst = 2
)

// admits reports whether the policer of a wire lets a probe pass.
func (w *wire) admits(now failover.Instant) bool {
	return w.policed == 0 || w.policer.take(now, w.policed, policedBurst)
}

// replies reports whether a target does not answer too often for that.
func (w *wire) replies(target string, now failover.Instant) bool {
	if w.limited == 0 {
		return true
	}
	if w.limits[target] == nil {
		w.limits[target] = &tokens{}
	}
	return w.limits[target].take(now, w.limited, limitedBurst)
}
