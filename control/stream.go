package control

import (
	"context"
	"net/http"
	"time"
)

func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	q, err := parseEventsQuery(r.URL.RawQuery, time.Now())
	if err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		refuseRequest(w, http.StatusServiceUnavailable, "too many clients follow the events", "close some")
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &stream{w: w, control: http.NewResponseController(w), stall: s.limits.stall}
	cursor := s.hub.cursor(q.since)
	if !q.follow {
		out.drain(cursor)
		return
	}
	out.follow(r.Context(), cursor)
	out.stall = s.limits.stop
	out.drain(cursor)
}

// stream writes lines to one reader, giving it a new deadline for each batch.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	err     error // the first failure: the reader is gone, or takes nothing
}

// follow writes what there is and what comes, until ctx is done or the reader is.
func (o *stream) follow(ctx context.Context, c *cursor) {
	o.flush() // the reader shall see at once that it is heard
	for o.err == nil {
		lines, changed := c.read(nil)
		if len(lines) > 0 {
			o.write(lines)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// drain writes what there is.
func (o *stream) drain(c *cursor) {
	o.deadline()
	end := c.end()
	for o.err == nil && c.next < end {
		lines, _ := c.read(nil)
		o.write(lines)
	}
}

func (o *stream) write(lines [][]byte) {
	o.deadline()
	for _, l := range lines {
		if _, err := o.w.Write(l); err != nil {
			o.err = err
			return
		}
	}
	o.flush()
}

func (o *stream) deadline() { o.control.SetWriteDeadline(time.Now().Add(o.stall)) }

func (o *stream) flush() {
	if err := o.control.Flush(); err != nil {
		o.err = err
	}
}
