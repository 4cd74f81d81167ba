package failover

import "time"

const (
	// leastDeadline keeps delays within this machine from looking like loss.
	leastDeadline = 40 * time.Millisecond
	// granularity is G of RFC 6298: how precisely instants are known here.
	granularity = 10 * time.Millisecond
	// firstDeadline applies before any answer: above the RTT of almost any
	// terrestrial path, mobile networks included, and short enough that an
	// uplink that is dead from the start is noticed soon. It only raises a
	// suspicion: the burst that follows then waits for lost_after.
	firstDeadline = 250 * time.Millisecond
	// acquaintance is how many extra probes a target gets when it first answers.
	// RFC 6298 starts with a deviation of half the RTT, which each answer reduces
	// by a quarter: with the regular probes alone the deadline of a new path would
	// be too long for its first ten seconds.
	acquaintance = 4
)

// estimate is the smoothed round trip time of RFC 6298, section 2.
type estimate struct {
	srtt, rttvar time.Duration
	// samples are counted until there are more than the first ones.
	samples int
}

func (r *estimate) known() bool { return r.samples > 0 }

// add adds a sample. The first answers may have waited for something that is done
// by now: resolving a neighbor's address, waking a radio. By the RFC that would
// affect dozens of samples, so among the first ones a clearly shorter one starts
// the estimate afresh.
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

// deadline is the age at which a probe to a target is late, at most lost. For a
// target that never answered it is that of the slowest other one. Without any
// answer on the path it is a guess, or lost itself for the probes of a burst,
// whose lateness is a verdict.
func (ts targets) deadline(t *target, burst bool, lost time.Duration) time.Duration {
	if t.rtt.known() {
		return t.rtt.deadline(lost)
	}
	var slowest time.Duration
	for i := range ts {
		if o := &ts[i]; o.rtt.known() {
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

// slowest is the longest deadline of all targets, at least the least one.
func (ts targets) slowest(lost time.Duration) time.Duration {
	d := leastDeadline
	for i := range ts {
		d = max(d, ts.deadline(&ts[i], false, lost))
	}
	return d
}
