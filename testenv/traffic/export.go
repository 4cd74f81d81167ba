package traffic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// exported is a client's log as JSON. Times are milliseconds since base; what did
// not happen is null.
type exported struct {
	Kind     Kind              `json:"kind"`
	To       netip.AddrPort    `json:"to"`
	Base     time.Time         `json:"base"`
	Requests []exportedRequest `json:"requests"`
	Breaks   []exportedBreak   `json:"breaks,omitempty"`
}

type exportedRequest struct {
	Seq      uint64   `json:"seq"`
	Due      *float64 `json:"due_ms"`
	Sent     *float64 `json:"sent_ms"`
	Answered *float64 `json:"answered_ms"`
	Via      string   `json:"via,omitempty"`
	Err      string   `json:"error,omitempty"`
}

type exportedBreak struct {
	At        *float64 `json:"at_ms"`
	Err       string   `json:"error"`
	LastSent  *float64 `json:"last_sent_ms"`
	Reset     *float64 `json:"reset_ms"`
	Dials     int      `json:"dials"`
	Redialled *float64 `json:"redialled_ms"`
}

// WriteJSON writes the log as JSON, with times in milliseconds since base.
func (c *Client) WriteJSON(w io.Writer, base time.Time) error {
	since := func(at time.Time) *float64 {
		if at.IsZero() {
			return nil
		}
		ms := float64(at.Sub(base)) / float64(time.Millisecond)
		return &ms
	}
	e := exported{Kind: c.Kind, To: c.To, Base: base.Round(0), Requests: []exportedRequest{}}
	for _, r := range c.Log() {
		x := exportedRequest{Seq: r.Seq, Due: since(r.Due), Sent: since(r.Sent), Answered: since(r.Answered), Err: r.Err}
		if r.Via.IsValid() {
			x.Via = r.Via.String()
		}
		e.Requests = append(e.Requests, x)
	}
	for _, b := range c.Breaks() {
		e.Breaks = append(e.Breaks, exportedBreak{
			At: since(b.At), Err: b.Err, LastSent: since(b.LastSent()),
			Reset: since(b.Reset), Dials: b.Dials, Redialled: since(b.Redialled),
		})
	}
	if err := json.NewEncoder(w).Encode(e); err != nil {
		return fmt.Errorf("traffic: write the log of %s: %w", c.Kind, err)
	}
	return nil
}
