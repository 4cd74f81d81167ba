package failover

import "time"

const (
	// leastDeadline keeps the machine's own delays from looking like loss.
	leastDeadline = 40 * time.Millisecond
	// granularity is G of RFC 6298: how exactly instants are known here.
	granularity = 10 * time.Millisecond
	// firstDeadline holds before any answer: above the RTT of almost any
	// terrestrial path, mobile networks included, and short enough that an
	// uplink that is dead from the start is noticed soon. It only raises a
	// suspicion: the burst that follows then waits for lost_after.
	firstDeadline = 250 * time.Millisecond
)

// estimate is the smoothed round trip time of RFC 6298, section 2.
type estimate struct {
	srtt, rttvar time.Duration
	// samples are counted until there are more than the first ones.
	samples int
}

func (r *estimate) known() bool { return r.samples > 0 }

// add takes a sample. The first answers may have waited for what is over: a
// neighbour's address, a radio that slept. By the RFC that would be remembered for
// dozens of samples, so among the first ones a clearly shorter one begins anew.
func (r *estimate) add(rtt time.Duration) {
	r.samples = min(r.samples+1, acquaintance+2)
	if r.samples == 1 || r.samples <= acquaintance+1 && rtt < r.srtt*3/4 {
		r.srtt, r.rttvar = rtt, rtt/2
		return
	}
	r.rttvar += ((r.srtt - rtt).Abs() - r.rttvar) / 4
	r.srtt += (rtt - r.srtt) / 8
}

// deadline is the age at which a probe is late, at most lost.
func (r *estimate) deadline(lost time.Duration) time.Duration {
	d := r.srtt + max(granularity, 4*r.rttvar)
	return min(max(d, leastDeadline), lost)
}

// deadline is the age at which a probe to a target is late. A target that never
// answered is judged by the slowest other one; without any answer on the path,
// by a guess, and burst probes, whose lateness is a verdict, by lost_after.
func (p *path) deadline(t *target, burst bool) time.Duration {
	lost := p.up.cfg.Probe.LostAfter
	if t.rtt.known() {
		return t.rtt.deadline(lost)
	}
	var slowest time.Duration
	for i := range p.targets {
		if o := &p.targets[i]; o.rtt.known() {
			slowest = max(slowest, o.rtt.deadline(lost))
		}
	}
	switch {
	case slowest > 0:
		return slowest
	case burst:
		return lost
	}
	return min(firstDeadline, lost)
}
