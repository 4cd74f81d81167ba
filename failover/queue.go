package failover

import "time"

// A queue that the uplink's own traffic fills makes answers late, and is no outage.
// Answers that are as late as those before, or as the last one showed, are waited for.

const (
	// mostDelay bounds the delay that is waited for.
	mostDelay = 4 * time.Second
	// leastQueueing is the delay from which on it adds to the patience: without a queue
	// few paths have it.
	leastQueueing = 200 * time.Millisecond
	// mostReceiving bounds for how long what established flows receive holds a
	// shunning, or a down, off, without an answer of any target.
	mostReceiving = 6 * time.Second
)

// queueing is by how much the last answer's delay lengthens the patience: the first
// unanswered probe may be answered that late.
func (p *path) queueing() time.Duration {
	if p.delay < leastQueueing {
		return 0
	}
	return p.delay
}

// deadline is the age at which a probe is late. Where the last answer came so late
// that its probe counted as lost, others may come as late, and half as much later
// while the queue still grows.
func (p *path) deadline(f *flight) time.Duration {
	lost := p.up.cfg.Probe.LostAfter
	if p.delay >= lost {
		return min(p.delay*3/2, mostDelay+lost)
	}
	return p.targets.deadline(&p.targets[f.target], f.burst != 0, lost)
}
