package control

import (
	"context"
	"encoding/json"
	"fmt"
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
	// MaxEventProblems is how many problems of a configuration one event tells.
	MaxEventProblems = 20
	// maxEventText is the longest reason or problem of an event, in bytes.
	maxEventText = 1024
)

// maxInbox is how many events wait for the log; the publisher of one more puts them
// there itself.
const maxInbox = 256

// pace is the least time between two wake-ups of all readers, so that a burst of
// events costs them one wake-up, and the machine's other work gets its turn.
const pace = 10 * time.Millisecond

// Hub is where the daemon leaves its events, and readers find them.
//
// There is one log for all readers: each has a place in it, and reads on
// from there at its own pace. A reader therefore costs the hub nothing while it is
// slow; when the log's end overtakes it, it learns how many events it missed.
//
// Events reach the log by way of an inbox, whose lock no reader ever takes: with a
// thousand of them at work, a publisher that waits for their lock also waits for
// all of them to have had their turn on the processor.
//
// A Hub is safe for concurrent use. [Server.Serve] wakes its readers.
type Hub struct {
	wake chan struct{} // holds one token while there is news to tell readers

	inboxMu sync.Mutex
	inbox   []logLine     // published, not yet in the log; at most maxInbox
	next    atomic.Uint64 // the Seq of the event to publish next; set under inboxMu

	mu      sync.RWMutex // taken before inboxMu where both are
	log     []logLine    // the oldest first; log[i] has sequence number first+i
	first   uint64
	bytes   int
	changed chan struct{} // closed, and made anew, when readers are to look again
}

// logLine is an event as it is written to every reader.
type logLine struct {
	at   time.Time
	line []byte // one line of JSON with its newline; never changed
}

// NewHub returns a hub without events.
func NewHub() *Hub {
	h := &Hub{wake: make(chan struct{}, 1), first: 1, changed: make(chan struct{})}
	h.next.Store(h.first)
	return h
}

// Publish appends an event to the log, giving it its Seq; an event without a Time
// happened now. It takes as long with a thousand readers as with none: it waits
// for none of them to take something, and for their lock only when they kept the
// inbox from being emptied for maxInbox events. Texts over maxEventText are cut. An event that cannot be written, such as one whose detail is
// not that of its type, is replaced by one of type daemon that says so: the hub
// serves the engine, and must not stop it.
func (h *Hub) Publish(e Event) {
	if e.Time.IsZero() {
		e.Time = At(time.Now())
	}
	e = e.bounded()

	h.inboxMu.Lock()
	e.Seq = h.next.Load()
	h.next.Store(e.Seq + 1)
	h.inbox = append(h.inbox, logLine{e.Time.Time, encode(e)})
	full := len(h.inbox) >= maxInbox
	h.inboxMu.Unlock()

	if full {
		h.settle()
	}
	select {
	case h.wake <- struct{}{}:
	default: // a wake-up is due already, and will tell of this event too
	}
}

// seq is the sequence number that the next event will get.
func (h *Hub) seq() uint64 { return h.next.Load() }

// settle moves what was published so far to the log.
func (h *Hub) settle() {
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
func (h *Hub) append(l logLine) {
	h.log = append(h.log, l)
	h.bytes += len(l.line)
	drop := 0
	for len(h.log)-drop > MaxEvents || h.bytes > MaxLogBytes && len(h.log)-drop > 1 {
		h.bytes -= len(h.log[drop].line)
		h.log[drop] = logLine{} // the array lives on for a while; its lines need not
		drop++
	}
	h.log = h.log[drop:]
	h.first += uint64(drop)
}

// encode returns the event as a line of NDJSON.
func encode(e Event) []byte {
	line, err := json.Marshal(e)
	if err != nil {
		line, _ = json.Marshal(Event{Time: e.Time, Type: EventDaemon, Seq: e.Seq, Detail: &Detail{
			Action: "lost", Object: "event", Reason: cut(err.Error())}})
	}
	return append(line, '\n')
}

// bounded returns the event with its texts cut to what one may hold. What the
// publisher has of it stays as it is.
func (e Event) bounded() Event {
	if e.Health != nil {
		h := *e.Health
		h.Reason = cut(h.Reason)
		e.Health = &h
	}
	if e.Switch != nil {
		s := *e.Switch
		s.Reason = cut(s.Reason)
		e.Switch = &s
	}
	if e.Detail != nil {
		d := *e.Detail
		d.Object, d.Reason, d.Problems = cut(d.Object), cut(d.Reason), boundedProblems(d.Problems)
		e.Detail = &d
	}
	return e
}

func boundedProblems(problems []string) []string {
	var out []string
	for i, p := range problems {
		if i == MaxEventProblems {
			return append(out, fmt.Sprintf("and %d more", len(problems)-i))
		}
		out = append(out, cut(p))
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	return s[:maxEventText] + "..." // a rune cut in two becomes U+FFFD in JSON
}

// run tells readers of what is published, until ctx is done.
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

// broadcast has every reader that waits look again.
func (h *Hub) broadcast() {
	h.settle()
	h.mu.Lock()
	old := h.changed
	h.changed = make(chan struct{})
	h.mu.Unlock()
	close(old) // wakes each reader in turn: not under the lock, which they need
}
