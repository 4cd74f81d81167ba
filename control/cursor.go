package control

import (
	"fmt"
	"time"
)

// batch is how many lines a reader takes from the log at a time.
const batch = 64

// cursor is a reader's place in a hub's log.
type cursor struct {
	hub *Hub
	// next is the sequence number of the line to read next.
	next uint64
	// Lines before head were there when the reader came; of these it gets those
	// from since on. All later ones are news, whatever the wall clock says.
	head  uint64
	since time.Time
}

// cursor returns a place before the oldest event that is not older than since;
// the zero time means the oldest of all.
func (h *Hub) cursor(since time.Time) *cursor {
	h.settle()
	h.mu.RLock()
	defer h.mu.RUnlock()
	return &cursor{hub: h, next: h.first, head: h.first + uint64(len(h.log)), since: At(since).Time}
}

// read appends the next lines to buf and returns it, with a channel that is closed
// when there may be more than was there at this call. Nothing was appended when
// the reader is up to date.
func (c *cursor) read(buf [][]byte) (lines [][]byte, changed <-chan struct{}) {
	h := c.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c.next < h.first {
		buf = append(buf, missedLine(h.first-c.next))
		c.next = h.first
	}
	end := h.first + uint64(len(h.log))
	for ; c.next < end && len(buf) < batch; c.next++ {
		l := h.log[c.next-h.first]
		if c.next < c.head && l.at.Before(c.since) {
			continue
		}
		buf = append(buf, l.line)
	}
	return buf, h.changed
}

// end is the sequence number after all that was published before this call.
func (c *cursor) end() uint64 {
	c.hub.settle()
	c.hub.mu.RLock()
	defer c.hub.mu.RUnlock()
	return c.hub.first + uint64(len(c.hub.log))
}

// missedLine tells a reader that the log went past it.
func missedLine(n uint64) []byte {
	return encode(Event{Time: At(time.Now()), Type: EventDaemon, Detail: &Detail{
		Action: "skipped",
		Reason: fmt.Sprintf("too slow: %d events missed", n),
		Missed: n,
	}})
}
