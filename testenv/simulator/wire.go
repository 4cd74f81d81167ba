package simulator

import (
	"time"

	"swerve/failover"
)

// plainRTT is the round trip time of a wire that nobody set otherwise.
const plainRTT = 20 * time.Millisecond

// wire is one uplink's way in one family. A probe's fate is drawn as it is sent;
// an answer also dies when the wire does while it is on its way.
type wire struct {
	rtt, jitter time.Duration
	loss        float64
	// dead by an outage of its own; noSend: this machine cannot even send.
	dead, noSend bool
	// deaf are the targets, by number, that do not answer by this wire.
	deaf uint64
	lots lots
	// stalls and bursts are this family's own, beside those of the uplink.
	stalls, bursts episodes
	// changed is when the script last changed a quality of it.
	changed failover.Instant
}

// line is what an uplink's families share.
type line struct {
	name           string
	link           failover.Link
	stalls, bursts episodes
	wires          [2]wire
}

// newLine makes a plain one. index tells the lines of a world apart.
func newLine(name string, index int, seed uint64) *line {
	l := &line{name: name, link: plainLink(name, index)}
	base := uint64(index+1) * 16
	l.stalls.lots, l.bursts.lots = newLots(seed, base), newLots(seed, base+1)
	for f := range l.wires {
		w := &l.wires[f]
		at := base + 2 + 3*uint64(f)
		w.lots, w.stalls.lots, w.bursts.lots = newLots(seed, at), newLots(seed, at+1), newLots(seed, at+2)
		w.rtt, w.changed = plainRTT, never
		w.stalls.begin(0)
		w.bursts.begin(0)
	}
	l.stalls.begin(0)
	l.bursts.begin(0)
	return l
}

// episodesOf lists the four kinds of episodes that befall a wire.
func (l *line) episodesOf(f failover.Family) [4]*episodes {
	w := &l.wires[f]
	return [4]*episodes{&l.stalls, &l.bursts, &w.stalls, &w.bursts}
}

// alive reports whether anything passes by a wire at all.
func (l *line) alive(f failover.Family) bool {
	return !l.wires[f].dead && l.link.Routable(f) && l.link.Carrier
}

// sound reports whether nothing at all is wrong with a wire.
func (l *line) sound(f failover.Family) bool {
	w := &l.wires[f]
	for _, e := range l.episodesOf(f) {
		if e.every > 0 {
			return false
		}
	}
	return l.alive(f) && !w.noSend && w.deaf == 0 && w.loss <= fineLoss
}

// answer draws the fate of a probe: when its answer is here, or that none comes.
func (l *line) answer(f failover.Family, target int, now failover.Instant) (failover.Instant, bool) {
	w := &l.wires[f]
	if !l.alive(f) || w.deaf>>target&1 != 0 {
		return 0, false
	}
	lost := w.loss > 0 && w.lots.unit() < w.loss
	at := now + w.rtt
	if w.jitter > 0 {
		at += time.Duration(w.lots.unit() * float64(w.jitter))
	}
	for _, e := range l.episodesOf(f) {
		if e.start == forever || !e.on(now) {
			continue
		}
		lost = lost || e.loss > 0 && w.lots.unit() < e.loss
		if e.hold {
			at = max(at, e.end)
		}
	}
	return at, !lost
}
