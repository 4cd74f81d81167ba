package simulator

import "swerve/failover"

// occurrence is a future event: an answer, a report of a link, a hint of passing
// flows, the start after a restart, or a check whether everything is as it must be by
// then.
type occurrence struct {
	at   failover.Instant
	seq  uint64
	kind kind
	// sent, id, family and line are the answer's; line and family also the others'.
	family failover.Family
	line   int
	id     failover.ProbeID
	sent   failover.Instant
	// turn identifies outdated occurrences: the run of the engine that sent the
	// probe, or the setting of the flows.
	turn int
}

type kind uint8

const (
	answers kind = iota
	reportsLink
	reviews
	hints
	starts
)

// queue is a binary heap of occurrences, ordered by instant and then by the
// order in which they were planned. It holds values: no allocation in the long run.
type queue struct {
	heap []occurrence
	seq  uint64
}

// next is the instant of the first; forever when there is none.
func (q *queue) next() failover.Instant {
	if len(q.heap) == 0 {
		return forever
	}
	return q.heap[0].at
}

func (q *queue) before(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) push(o occurrence) {
	q.seq++
	o.seq = q.seq
	q.heap = append(q.heap, o)
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			return
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) pop() occurrence {
	first, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return first
		}
		if down+1 < last && q.before(down+1, down) {
			down++
		}
		if !q.before(down, i) {
			return first
		}
		q.heap[i], q.heap[down] = q.heap[down], q.heap[i]
		i = down
	}
}
