package traffic

import (
	"net/netip"
	"sync"
	"time"
)

// Request is one entry of a client's log. All instants are monotonic.
type Request struct {
	Seq      uint64
	Due      time.Time  // when it was to be sent
	Sent     time.Time  // when it was sent; zero: it could not be, or not yet
	Answered time.Time  // zero: not answered, or not yet
	Via      netip.Addr // the source address that the server saw
	Err      string     // why there will be no answer: the socket's error, or "no answer"
}

// settled reports whether the result of a request is known.
func (r Request) settled() bool { return r.Err != "" || !r.Answered.IsZero() }

// at is the time that a request is counted at.
func (r Request) at() time.Time {
	if r.Sent.IsZero() {
		return r.Due
	}
	return r.Sent
}

// DefaultKeep is how many requests a log keeps: 40 minutes at 100 a second.
const DefaultKeep = 1 << 18

// requestLog keeps the latest requests, in the order of their numbers. When it is
// full the oldest is dropped.
type requestLog struct {
	mu        sync.Mutex
	keep      int
	entries   []Request // a ring once it has grown to keep
	first     uint64    // number of the oldest
	next      uint64    // number of the next one
	settledTo uint64    // all before are settled
}

// add begins the next request and returns its number.
func (l *requestLog) add(due time.Time) (seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Request{Seq: l.next, Due: due}
	if len(l.entries) < l.keep {
		l.entries = append(l.entries, r)
	} else {
		l.entries[l.index(l.next)] = r
		l.first++
	}
	l.next++
	return r.Seq
}

func (l *requestLog) index(seq uint64) int { return int(seq % uint64(l.keep)) }

// update changes an unsettled request; settled ones, and those no longer kept, stay
// as they are.
func (l *requestLog) update(seq uint64, fn func(*Request)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.first || seq >= l.next {
		return
	}
	if r := &l.entries[l.index(seq)]; !r.settled() {
		fn(r)
	}
}

func (l *requestLog) sent(seq uint64, at time.Time) {
	l.update(seq, func(r *Request) { r.Sent = at })
}

func (l *requestLog) answered(m message, at time.Time) {
	l.update(m.seq, func(r *Request) { r.Answered, r.Via = at, m.from.Addr() })
}

func (l *requestLog) failed(seq uint64, why string) {
	l.update(seq, func(r *Request) { r.Err = why })
}

// failRange fails the unsettled requests from one number up to another, which is
// excluded.
func (l *requestLog) failRange(from, to uint64, why string) {
	for seq := from; seq < to; seq++ {
		l.failed(seq, why)
	}
}

// expire fails requests that were due before an instant.
func (l *requestLog) expire(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := l.oldest(); r != nil && r.Due.Before(before); r = l.oldest() {
		r.Err = noAnswer
	}
}

const noAnswer = "no answer"

// pending reports whether the result of a request that was due before an instant is
// unknown.
func (l *requestLog) pending(before time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.oldest()
	return r != nil && r.Due.Before(before)
}

// oldest returns the first request that is not settled; nil if there is none. The
// caller holds mu.
func (l *requestLog) oldest() *Request {
	l.settledTo = max(l.settledTo, l.first)
	for ; l.settledTo < l.next; l.settledTo++ {
		if r := &l.entries[l.index(l.settledTo)]; !r.settled() {
			return r
		}
	}
	return nil
}

func (l *requestLog) nextSeq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// dueSeq returns the number of the request that is due after an instant, which follows
// those that are overdue because this machine paused.
func (l *requestLog) dueSeq(now time.Time, rate float64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == l.first {
		return l.next
	}
	last := l.entries[l.index(l.next-1)].Due
	return l.next + uint64(max(0, now.Sub(last).Seconds()*rate))
}

// requests returns a copy of the log.
func (l *requestLog) requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Request, 0, len(l.entries))
	for seq := l.first; seq < l.next; seq++ {
		all = append(all, l.entries[l.index(seq)])
	}
	return all
}
