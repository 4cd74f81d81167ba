package control

import (
	"context"
	"fmt"
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
	ctx, head := r.Context(), s.hub.seq()
	out := &stream{control: http.NewResponseController(w), w: w, stall: s.limits.stall}
	if q.follow {
		out.flush() // the client sees at once that its request was accepted
	} else {
		done, cancel := context.WithCancel(ctx)
		cancel() // what there is, and no more
		ctx = done
	}
	for b := range s.hub.Follow(ctx, 0) {
		if q.follow && ctx.Err() != nil {
			out.stall = s.limits.stop
		}
		if out.write(q.wanted(b, head)); out.err != nil {
			return
		}
	}
	if q.follow {
		out.stall = s.limits.stop
	}
	out.deadline() // for the end of the body: that of the last batch may have passed
}

// wanted returns the lines of a batch that the query asks for. Of the events before
// number head, which were there when the client came, it wants those from since on.
// It wants all later ones, whatever the wall clock says.
func (q eventsQuery) wanted(b Batch, head uint64) [][]byte {
	var lines [][]byte
	if b.Missed > 0 {
		lines = append(lines, missedLine(b.Missed))
	}
	since := At(q.since)
	for _, l := range b.Lines {
		if l.Event.Seq >= head || !l.Event.Time.Before(since.Time) {
			lines = append(lines, l.JSON)
		}
	}
	return lines
}

// missedLine says in the stream itself that the log no longer has n events.
func missedLine(n uint64) []byte {
	return encode(Event{Time: At(time.Now()), Detail: DaemonDetail{
		Action: "skipped",
		Reason: fmt.Sprintf("too slow: %d events missed", n),
		Missed: n,
	}}).JSON
}

// stream writes lines to one client, with a new deadline for each batch.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	err     error // the first failure: the client has left, or receives nothing
}

func (o *stream) write(lines [][]byte) {
	if len(lines) == 0 {
		return
	}
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
