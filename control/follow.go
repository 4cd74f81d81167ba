package control

import (
	"context"
	"iter"
)

// maxBatch is how many lines a reader gets at a time.
const maxBatch = 64

// Batch is a piece of the hub's log as one reader gets it, with at least one line.
type Batch struct {
	// Missed is how many events directly before Lines the reader did not get,
	// because it was slower than the log is long.
	Missed uint64
	// Lines are in the order of their numbers, without gaps, at most maxBatch.
	Lines []Line
}

// Follow yields the log from the event with that number on, and then each event as
// it is published. From 0 on, it begins with the oldest event that the log has.
//
// When ctx is done, Follow yields what had been published by then, and ends. With a
// ctx that is done already it therefore yields what there is. A reader that ends its
// loop early leaves nothing behind.
//
// A reader may take any time over a batch. It holds up neither the hub nor other
// readers, and when the log has dropped events that the reader has not had, the next
// batch says how many. In the order of their numbers, a reader gets each event
// exactly once or counted in Missed. Numbers begin at 1, or behind those of the events
// that were restored.
func (h *Hub) Follow(ctx context.Context, from uint64) iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		next := from
		h.emptyInbox()
		for ctx.Err() == nil {
			b, changed := h.read(&next)
			if len(b.Lines) > 0 {
				if !yield(b) {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		h.emptyInbox()
		for end := h.end(); next < end; {
			if b, _ := h.read(&next); !yield(b) {
				return
			}
		}
	}
}

// read returns what the log has from number *next on, and advances *next behind it.
// The channel is closed when there may be more than there was at this call.
func (h *Hub) read(next *uint64) (b Batch, changed <-chan struct{}) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if *next < h.first {
		if *next > 0 {
			b.Missed = h.first - *next
		}
		*next = h.first
	}
	if *next < h.first+uint64(len(h.log)) {
		lines := h.log[*next-h.first:]
		b.Lines = append(b.Lines, lines[:min(len(lines), maxBatch)]...)
		*next += uint64(len(b.Lines))
	}
	return b, h.changed
}

// end is the number after the last event in the log.
func (h *Hub) end() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.first + uint64(len(h.log))
}
