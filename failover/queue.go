package failover

import "time"

// If the uplink's own traffic fills a queue, answers arrive late, and that is not
// an outage. The engine waits for answers that are as late as previous ones, or as
// the last one indicates.

const (
	// mostDelay bounds the delay of answers to wait for.
	mostDelay = 4 * time.Second
	// leastQueueing is the delay above which it adds to the patience: without a
	// queue few paths have such a delay.
	leastQueueing = 200 * time.Millisecond
	// mostReceiving bounds how long traffic received by established flows can
	// postpone a shunning, or a down, without an answer from any target. A shunning
	// needs traffic from two hosts; to spare sessions that are alive, one is enough.
	mostReceiving = 6 * time.Second
	// listenAgain is how often, while a path is shunned, the caller is asked to go on
	// listening to its flows.
	listenAgain = time.Second
)

// deadline returns the age at which a probe is late. If the last answer came so
// late that its probe counted as lost, others may be as late, and half as much
// again while the queue still grows.
func (p *path) deadline(f *flight) time.Duration {
	lost := p.up.cfg.Probe.LostAfter
	if p.delay >= lost {
		return min(p.delay*3/2, mostDelay+lost)
	}
	return p.targets.deadline(&p.targets[f.target], f.burst != 0, lost)
}
