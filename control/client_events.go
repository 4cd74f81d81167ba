package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Events yields the events since a time, for the zero time all that the daemon has,
// and with follow also those to come. It ends after the last event, with follow when
// ctx is done, and in either case after an error. With follow, a daemon that goes away
// is an error.
func (c *Client) Events(ctx context.Context, since time.Time, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for line, err := range c.EventLines(ctx, since, follow) {
			var e Event
			if err == nil {
				if jsonErr := json.Unmarshal(line, &e); jsonErr != nil {
					err = c.fail("decode an event from", jsonErr, "use a client and a daemon of the same version")
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// EventLines is Events with each event as the daemon wrote it, one line of JSON
// without its newline. A line is only valid until the next.
func (c *Client) EventLines(ctx context.Context, since time.Time, follow bool) iter.Seq2[[]byte, error] {
	const action = "read events from"
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, err := c.open(ctx, action, eventsURL(since, follow))
		if err != nil {
			if !follow || ctx.Err() == nil {
				yield(nil, err)
			}
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxLine)
		lines.Split(wholeLines)
		for lines.Scan() {
			if !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := c.streamEnd(ctx, lines.Err(), follow); err != nil {
			yield(nil, err)
		}
	}
}

// wholeLines splits a stream at newlines and omits a last line without one, which
// the daemon did not finish.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

func eventsURL(since time.Time, follow bool) string {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if follow {
		q.Set("follow", "1")
	}
	return "/v1/events?" + q.Encode()
}

// streamEnd returns the error for the end of a stream; nil where it was due. A stream
// that follows does not end by itself while there is a daemon.
func (c *Client) streamEnd(ctx context.Context, err error, follow bool) error {
	const action = "read events from"
	switch {
	case follow && ctx.Err() != nil:
		return nil
	case errors.Is(err, bufio.ErrTooLong):
		return c.fail(action, err, "use a client and a daemon of the same version")
	case err != nil:
		return c.fail(action, fmt.Errorf("%w any more: %w", ErrNoDaemon, err), startRemedy)
	case follow:
		return c.fail(action, fmt.Errorf("%w any more: it stopped", ErrNoDaemon), startRemedy)
	}
	return nil
}

// open starts a stream; only the wait for its beginning is bounded.
func (c *Client) open(ctx context.Context, action, path string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.patience, func() { cancel(context.DeadlineExceeded) })
	resp, err := c.do(ctx, action, http.MethodGet, path, nil)
	if !timer.Stop() && err == nil {
		resp.Body.Close()
		err = c.unreachable(action, context.DeadlineExceeded)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &cancelBody{resp.Body, func() { cancel(nil) }}
	return resp, nil
}

// cancelBody ends its request's context when it is closed.
type cancelBody struct {
	io.ReadCloser
	cancel func()
}

func (b *cancelBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}
