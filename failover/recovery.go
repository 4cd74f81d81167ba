package failover

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// recovery is the proof that a path owes after a down.
type recovery struct {
	// owes: it was down and has not been up since.
	owes bool
	// good is since when it has been good, hold for how long it must be.
	good Instant
	hold time.Duration
	// began is the start of the outage; never where it is not known.
	began Instant
	// stallUntil is until when an answer shows that the path had only stalled, and
	// raises patience; never where the down was not caused by silence.
	stallUntil Instant
	// inherited: it was down before a restart, so that the length of the outage is not
	// known and the whole proof is owed.
	inherited bool
	// warmingUp: the silence began when the link had just come. If it was short nothing is
	// owed.
	warmingUp bool
	// lacked are the sources that the path had before a gap that outlasted its
	// patience, and so was the down; nil for other downs.
	lacked []netip.Prefix
}

// forStart returns what is owed where nothing is known of a path any more: only what an
// earlier run left.
func (r recovery) forStart() recovery {
	fresh := noRecovery
	fresh.owes, fresh.inherited = r.inherited, r.inherited
	return fresh
}

// noRecovery is that of a path that owes nothing.
var noRecovery = recovery{good: never, began: never, stallUntil: never}

// afterUnknown returns the state of a path of which nothing was known, and which
// answers.
func (r *recovery) afterUnknown() State {
	if r.inherited {
		return Recovering
	}
	return Up
}

// outageFactor makes a short outage owe a short proof.
const outageFactor = 10

// begin starts the proof: the path has to be good for the failback time, or for
// ten times the outage where that is shorter, but no shorter than what an earlier
// proof was interrupted in. It reports whether the path had only stalled.
func (r *recovery) begin(now Instant, after time.Duration) (stalled bool) {
	hold := after
	if r.began != never {
		hold = min(after, outageFactor*(now-r.began))
	}
	if r.warmingUp && now <= r.stallUntil {
		hold = 0
	}
	if r.good != never {
		hold = max(hold, min(r.hold, after))
	}
	r.good, r.hold = now, hold
	return now <= r.stallUntil
}

// lapsed reports whether the down turned out to be a gap after which the link has one
// of its previous sources.
func (r *recovery) lapsed(sources []netip.Prefix) bool {
	return slices.ContainsFunc(sources, func(a netip.Prefix) bool { return slices.Contains(r.lacked, a) })
}

// damping is the penalty for downs (RFC 2439): a point for each, halved each
// half-life, at most max. Over suppress the path is held until under reuse.
type damping struct {
	points    float64
	at        Instant
	heldUntil Instant
}

func (d *damping) add(now Instant, c Damping) {
	if c.HalfLife <= 0 || c.Suppress <= 0 {
		return
	}
	decayed := d.points * math.Exp2(-float64(now-d.at)/float64(c.HalfLife))
	d.points = min(decayed+1, max(c.Max, 1))
	d.at = now
	if d.points <= c.Suppress && now >= d.heldUntil {
		return
	}
	reuse := max(c.Reuse, 0.01)
	if d.points > reuse {
		d.heldUntil = now + time.Duration(float64(c.HalfLife)*math.Log2(d.points/reuse))
	}
}

// restore continues with the points of an earlier run.
func (d *damping) restore(now Instant, h Hold, c Damping) {
	if c.HalfLife <= 0 || c.Suppress <= 0 || h.Points <= 0 {
		return
	}
	most := max(c.Max, 1)
	d.points, d.at = min(h.Points, most), now-max(0, h.Age)
	if h.Held > 0 {
		longest := time.Duration(float64(c.HalfLife) * math.Log2(most/max(c.Reuse, 0.01)))
		d.heldUntil = d.at + min(h.Held, longest)
	}
}

// forgive ends what damping holds of an uplink, of all where the name is empty, and
// forgets its points.
func (us uplinks) forgive(name string) {
	for _, u := range us {
		for f := range u.paths {
			if p := &u.paths[f]; name == "" || u.cfg.Name == name {
				p.damping, p.touched = damping{heldUntil: never}, true
			}
		}
	}
}

// leastPoints are not worth keeping.
const leastPoints = 0.1

// hold returns what the path owes beside an uplink's present state.
func (d *damping) hold(now Instant, c Damping) Hold {
	if c.HalfLife <= 0 || d.points*math.Exp2(-float64(now-d.at)/float64(c.HalfLife)) < leastPoints {
		return Hold{}
	}
	h := Hold{Points: d.points, Age: now - d.at}
	if d.heldUntil != never {
		h.Held = max(0, d.heldUntil-d.at)
	}
	return h
}

const (
	// mostPatience bounds what patience can be raised to.
	mostPatience = 2 * time.Second
	// forgetting is the time without a stall after which patience halves.
	forgetting = 30 * 24 * time.Hour
)

// patience is the silence, or the gap, after which a shunned path is down: the least
// one, or what stalls, or gaps, that were taken for downs have raised it to.
type patience struct {
	least, raised time.Duration
	changed       Instant
}

func (p *patience) now() time.Duration { return max(p.least, p.raised) }

// restore continues with what was learnt before a restart.
func (p *patience) restore(now Instant, learnt time.Duration) {
	if learnt > p.now() {
		p.raise(now, learnt)
	}
}

// raise learns a longer one.
func (p *patience) raise(now Instant, to time.Duration) {
	p.forget(now)
	p.raised = max(p.raised, min(to, mostPatience))
	p.changed = now
}

// forget halves what was learnt for each month that passed since.
func (p *patience) forget(now Instant) {
	for p.raised > p.least && now-p.changed >= forgetting {
		p.raised /= 2
		p.changed += forgetting
	}
}
