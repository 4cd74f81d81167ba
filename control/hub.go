package control

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the hub's log of events.
const (
	// MaxEvents is how many events the log keeps; the oldest go first.
	MaxEvents = 4096
	// MaxLogBytes bounds their size on the wire, for events that are large.
	MaxLogBytes = 2 << 20
	// MaxEventProblems is how many problems of a configuration one event lists.
	MaxEventProblems = 20
	// maxEventText is the longest reason or problem of an event, in bytes.
	maxEventText = 1024
)

// maxInbox is how many events wait for the log; the publisher of one more moves them
// there itself.
const maxInbox = 256

// pace is the least time between two wake-ups of all readers, so that a burst of
// events costs them one wake-up and leaves the processor to others in between.
const pace = 10 * time.Millisecond

// Hub takes the daemon's events and keeps the latest for any number of readers, all
// of which read with [Hub.Follow].
//
// There is one log for all readers: each has a position in it and reads on from
// there at its own pace. A slow reader therefore costs the hub nothing; when the
// log no longer has the reader's position, the reader learns how many events it
// missed.
//
// Events reach the log by way of an inbox, whose lock no reader ever takes: with a
// thousand readers running, a publisher that waits for their lock also waits for
// all of them to have had their turn on the processor.
//
// A Hub is safe for concurrent use. [Server.Serve] wakes its readers.
type Hub struct {
	wake chan struct{} // holds one token while readers are to be woken

	inboxMu sync.Mutex
	inbox   []Line        // published, not yet in the log; at most maxInbox
	next    atomic.Uint64 // the Seq of the event to publish next; set under inboxMu

	mu      sync.RWMutex // taken before inboxMu where both are
	log     []Line       // the oldest first; log[i] has sequence number first+i
	first   uint64
	bytes   int
	changed chan struct{} // closed, and replaced, to wake readers
}

// Line is an event in the hub's log. All readers share it: it is read-only, and so
// is what it refers to.
type Line struct {
	Event Event
	// JSON is the event as it is on the wire: one line with its newline.
	JSON []byte
}

// NewHub returns a hub without events.
func NewHub() *Hub {
	h := &Hub{wake: make(chan struct{}, 1), first: 1, changed: make(chan struct{})}
	h.next.Store(h.first)
	return h
}

// Restore begins the log with events of an earlier process, the oldest first, so that
// readers get them too and the numbers go on. It is for a hub to which nothing was
// published yet, and that has no readers. The log has numbers without gaps: where the
// events have some, those before a gap move up.
func (h *Hub) Restore(lines []Line) {
	last := uint64(len(lines))
	for _, l := range lines {
		last = max(last, l.Event.Seq)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inboxMu.Lock()
	defer h.inboxMu.Unlock()
	h.first = last - uint64(len(lines)) + 1
	h.next.Store(last + 1)
	for i, l := range lines {
		if number := last - uint64(len(lines)-1-i); l.Event.Seq != number {
			l.Event.Seq = number
			l = encode(l.Event)
		}
		h.append(l)
	}
}

// Next is the number that the next event will get.
func (h *Hub) Next() uint64 { return h.seq() }

// Publish appends an event to the log and assigns its Seq; an event without a Time
// happened now. The hub keeps what the event points to, which must not change
// afterwards.
//
// Publish takes as long with a thousand readers as with none: it does not wait for
// them to receive anything, and for their lock only when they kept the inbox from
// being emptied for maxInbox events. Texts over maxEventText are cut. An event that
// cannot be written as JSON, such as one without a detail, is replaced by one of
// type daemon that says so: a mistake in an event must not stop the engine.
func (h *Hub) Publish(e Event) {
	if e.Time.IsZero() {
		e.Time = At(time.Now())
	}
	if e.Detail != nil {
		e.Detail = e.Detail.bounded()
	}

	h.inboxMu.Lock()
	e.Seq = h.next.Load()
	h.next.Store(e.Seq + 1)
	h.inbox = append(h.inbox, encode(e))
	full := len(h.inbox) >= maxInbox
	h.inboxMu.Unlock()

	if full {
		h.emptyInbox()
	}
	select {
	case h.wake <- struct{}{}:
	default: // a wake-up is due already, and covers this event too
	}
}

// seq is the sequence number that the next event will get.
func (h *Hub) seq() uint64 { return h.next.Load() }

// emptyInbox moves what was published so far to the log.
func (h *Hub) emptyInbox() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inboxMu.Lock()
	lines := h.inbox
	h.inbox = nil
	h.inboxMu.Unlock()
	for _, l := range lines {
		h.append(l)
	}
}

// append adds a line and drops the oldest ones over the bounds; the newest stays.
func (h *Hub) append(l Line) {
	h.log = append(h.log, l)
	h.bytes += len(l.JSON)
	drop := 0
	for len(h.log)-drop > MaxEvents || h.bytes > MaxLogBytes && len(h.log)-drop > 1 {
		h.bytes -= len(h.log[drop].JSON)
		h.log[drop] = Line{} // the array is kept for a while; its lines need not be
		drop++
	}
	h.log = h.log[drop:]
	h.first += uint64(drop)
}

// encode returns the event with its line of NDJSON.
func encode(e Event) Line {
	line, err := json.Marshal(e)
	if err != nil {
		e.Detail = DaemonDetail{Action: "lost", Object: "event", Reason: cut(err.Error())}
		line, _ = json.Marshal(e)
	}
	return Line{e, append(line, '\n')}
}

// run wakes readers when something was published, until ctx is done.
func (h *Hub) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-h.wake:
			h.broadcast()
		case <-ctx.Done():
			return
		}
		timer.Reset(pace)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// broadcast wakes every reader that waits.
func (h *Hub) broadcast() {
	h.emptyInbox()
	h.mu.Lock()
	old := h.changed
	h.changed = make(chan struct{})
	h.mu.Unlock()
	close(old) // wakes each reader in turn: not under the lock, which they need
}
