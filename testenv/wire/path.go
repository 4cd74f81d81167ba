package wire

import (
	"math/rand/v2"
	"time"
)

// Direction is one of the two directions of a wire, or Both.
type Direction int

const (
	ToISP     Direction = 1 << iota // from the gateway
	ToGateway                       // from the ISP
	Both      = ToISP | ToGateway
)

// Path is how a wire treats the frames of one direction. A change applies to later
// frames.
type Path struct {
	Delay  time.Duration // of each frame
	Jitter time.Duration // added to each frame, uniform up to this much; order is kept
	Loss   float64       // the share of frames that is dropped, 0 to 1
	Rate   int64         // bits a second, counted on whole frames; 0: no limit
	Queue  int           // most frames kept at a time, waiting or in flight; further ones are dropped. 0: DefaultQueue
}

// DefaultQueue is the default number of frames that one direction keeps: two seconds
// of 2,000 packets a second.
const DefaultQueue = 4096

// Counters count the frames of one direction by what happened to them.
type Counters struct {
	In       uint64 // received from the link
	Out      uint64 // sent at the other end
	Lost     uint64 // by random loss
	Overflow uint64 // no room in the queue, or longer than maxFrame
	Filtered uint64 // by the filter
	Foreign  uint64 // towards the ISP with a source address that is not of this uplink
	Unsent   uint64 // refused by the link at the other end: it is down
}

// Dropped is the number of frames that came in and will never be sent.
func (c Counters) Dropped() uint64 {
	return c.Lost + c.Overflow + c.Filtered + c.Foreign + c.Unsent
}

// A frame waits in a lane until it is due.
type frame struct {
	data []byte
	due  time.Time
}

// lane is one direction: a queue, and the clockless arithmetic of departure times.
type lane struct {
	path   Path
	count  Counters
	rng    *rand.Rand
	queue  ring
	free   time.Time // when all frames accepted so far will have been sent at the rate
	last   time.Time // when the last of them is due
	heldTo time.Time // nothing leaves before
}

// accept decides about a frame that arrived at an instant. It reports whether the lane
// keeps data; if not, the caller may reuse it.
func (l *lane) accept(data []byte, at time.Time) bool {
	switch {
	case l.path.Loss > 0 && l.rng.Float64() < l.path.Loss:
		l.count.Lost++
		return false
	case l.queue.len() >= l.limit():
		l.count.Overflow++
		return false
	}
	l.free = later(at, l.free).Add(sendingTime(len(data), l.path.Rate))
	due := l.free.Add(l.path.Delay)
	if l.path.Jitter > 0 {
		due = due.Add(time.Duration(l.rng.Int64N(int64(l.path.Jitter) + 1)))
	}
	l.last = later(due, l.last)
	l.queue.push(frame{data, l.last})
	return true
}

// next returns when the first frame leaves, and whether there is one.
func (l *lane) next() (at time.Time, ok bool) {
	if l.queue.len() == 0 {
		return time.Time{}, false
	}
	return later(l.queue.first().due, l.heldTo), true
}

func (l *lane) limit() int {
	if l.path.Queue > 0 {
		return l.path.Queue
	}
	return DefaultQueue
}

// sendingTime is how long a frame takes at a rate in bits a second.
func sendingTime(bytes int, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(int64(bytes) * 8 * int64(time.Second) / rate)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ring is a queue of frames that grows as needed; lane.accept bounds it.
type ring struct {
	frames []frame
	head   int
	n      int
}

func (r *ring) len() int      { return r.n }
func (r *ring) first() *frame { return &r.frames[r.head] }

func (r *ring) push(f frame) {
	if r.n == len(r.frames) {
		grown := make([]frame, max(64, 2*r.n))
		n := copy(grown, r.frames[r.head:])
		copy(grown[n:], r.frames[:r.head])
		r.frames, r.head = grown, 0
	}
	r.frames[(r.head+r.n)%len(r.frames)] = f
	r.n++
}

func (r *ring) pop() frame {
	f := r.frames[r.head]
	r.frames[r.head] = frame{}
	r.head = (r.head + 1) % len(r.frames)
	r.n--
	return f
}
