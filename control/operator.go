package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Order is what an operator asks of an uplink.
type Order struct {
	Uplink string
	// Policy that a switch is about; empty for all.
	Policy string
	// For is after how long it ends by itself, MinFor to MaxFor; 0 for never.
	For time.Duration
}

// For how long an order may be given, and how long a reload may wait for its
// confirmation.
const (
	MinFor     = time.Second
	MaxFor     = 365 * 24 * time.Hour
	MinConfirm = time.Second
	MaxConfirm = 7 * 24 * time.Hour
)

// Ordered is the answer to a switch or a drain.
type Ordered struct {
	Uplink string `json:"uplink"`
	// Policies that a switch is about; with a drain those that have the uplink.
	Policies List[string] `json:"policies"`
	// Until is when it ends by itself; zero where it does not.
	Until Time `json:"until"`
	// Text says what it does now, as a phrase.
	Text string `json:"text"`
	// Unkept says why a restart of the daemon would forget it; empty where none would.
	Unkept string `json:"unkept,omitempty"`
}

// Resumed is the answer to a resume that succeeded.
type Resumed struct {
	// Uplink is the one that was asked for; empty for all.
	Uplink string `json:"uplink"`
	// Ended are the uplinks that were drained or switched to until then.
	Ended List[string] `json:"ended"`
	// Released are the uplinks that damping held back until then.
	Released List[string] `json:"released"`
	// Waiting are uplinks that do not answer, or have yet to prove themselves, under
	// failback.mode manual: they are returned to once they are up.
	Waiting List[string] `json:"waiting"`
	// Returned are the policies whose new flows go by other uplinks from now on.
	Returned List[string] `json:"returned"`
}

// Reloaded is the answer to a reload that succeeded.
type Reloaded struct {
	// Config is the path of the file that was applied; empty where there is none.
	Config string `json:"config"`
	// Generation is that of the configuration now in force.
	Generation uint64 `json:"generation"`
	// ConfirmUntil is when it is undone unless it is confirmed; zero where it stays.
	ConfirmUntil Time `json:"confirm_until"`
}

// Confirmed is the answer to a confirmation.
type Confirmed struct {
	Config     string `json:"config"`
	Generation uint64 `json:"generation"`
}

// ErrNoPolicy is the cause, by [ErrRefused], of a request about a policy that does not
// exist.
var ErrNoPolicy error = &refusal{"there is no such policy"}

// Refuse returns a cause, by [ErrRefused], in words.
func Refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// ParseFor reads a time such as 90s, 1h30m or 2d within bounds.
func ParseFor(s string, least, most time.Duration) (time.Duration, error) {
	d, ok := parseSpan(strings.TrimSpace(s))
	switch {
	case !ok && !hugeSpan.MatchString(s):
		return 0, fmt.Errorf("%s is no time such as 30s, 2m, 1h30m or 2d", quote(s))
	case !ok, d > most:
		return 0, fmt.Errorf("%s is too long; at most %s", quote(s), words(most))
	case d < least:
		return 0, fmt.Errorf("%s is too short; at least %s", quote(s), words(least))
	}
	return d, nil
}

// words is a bound in its greatest unit.
func words(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// seconds reads a field in seconds; 0 where it is absent.
func seconds(field string, s *float64, least, most time.Duration) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	if math.IsNaN(*s) || *s < least.Seconds() || *s > most.Seconds() {
		return 0, fmt.Errorf("%s is %s, not %.0f to %.0f seconds", field, plain(*s), least.Seconds(), most.Seconds())
	}
	return time.Duration(*s * float64(time.Second)), nil
}

// plain writes a number without an exponent, unless it is very long.
func plain(v float64) string {
	if math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// switchRequest is the body of POST /v1/switch, drainRequest that of POST /v1/drain,
// resumeRequest that of POST /v1/resume, and reloadRequest that of POST /v1/reload.
type switchRequest struct {
	Uplink string `json:"uplink"`
	// Policy is nil for all that have the uplink.
	Policy *string `json:"policy,omitempty"`
	// ForS is after how many seconds it ends by itself; nil for never.
	ForS *float64 `json:"for_s,omitempty"`
}

type drainRequest struct {
	Uplink string   `json:"uplink"`
	ForS   *float64 `json:"for_s,omitempty"`
}

type resumeRequest struct {
	// Uplink to resume; nil for all.
	Uplink *string `json:"uplink,omitempty"`
}

type reloadRequest struct {
	// ConfirmS is within how many seconds it is to be confirmed; nil for not at all.
	ConfirmS *float64 `json:"confirm_s,omitempty"`
}

type confirmRequest struct{}

// act serves a request whose body is one object: read makes of it what is asked, and do
// carries it out. remedy says what to send.
func act[B, R any](s *Server, w http.ResponseWriter, r *http.Request, what, remedy string, do func(context.Context, B) (R, error)) {
	asked, err := asked[B](what, r)
	if err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), remedy)
		return
	}
	done, err := do(r.Context(), asked)
	s.snapshot.forget()
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, done)
}

// asked reads a request that has a body and no query.
func asked[B any](what string, r *http.Request) (B, error) {
	if _, err := parseQuery(r.URL.RawQuery); err != nil {
		var none B
		return none, err
	}
	return parseBody[B](what, r.Body)
}

// badRequest is an error of what a client sent (400).
type badRequest struct{ err error }

func (b *badRequest) Error() string { return b.err.Error() }

func (s *Server) serveSwitch(w http.ResponseWriter, r *http.Request) {
	act(s, w, r, "switch", `send {"uplink":"NAME"}, with "policy" and "for_s" where wanted`, func(ctx context.Context, b switchRequest) (Ordered, error) {
		length, err := seconds("for_s", b.ForS, MinFor, MaxFor)
		policy, wrong := nameOrAll("policy", b.Policy)
		if err = firstError(nameMissing(b.Uplink), wrong, err); err != nil {
			return Ordered{}, &badRequest{err}
		}
		return s.backend.Switch(ctx, Order{Uplink: b.Uplink, Policy: policy, For: length})
	})
}

func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	act(s, w, r, "drain", `send {"uplink":"NAME"}, with "for_s" where wanted`, func(ctx context.Context, b drainRequest) (Ordered, error) {
		length, err := seconds("for_s", b.ForS, MinFor, MaxFor)
		if err = firstError(nameMissing(b.Uplink), err); err != nil {
			return Ordered{}, &badRequest{err}
		}
		return s.backend.Drain(ctx, Order{Uplink: b.Uplink, For: length})
	})
}

func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) {
	act(s, w, r, "resume", `send {"uplink":"NAME"}, or no body for all`, func(ctx context.Context, b resumeRequest) (Resumed, error) {
		uplink, err := nameOrAll("uplink", b.Uplink)
		if err != nil {
			return Resumed{}, &badRequest{err}
		}
		return s.backend.Resume(ctx, uplink)
	})
}

func (s *Server) serveConfirm(w http.ResponseWriter, r *http.Request) {
	act(s, w, r, "confirm", "send no body, or {}", func(ctx context.Context, _ confirmRequest) (Confirmed, error) {
		return s.backend.Confirm(ctx)
	})
}

func nameMissing(uplink string) error {
	if uplink == "" {
		return errors.New("uplink is missing, or empty")
	}
	return nil
}

// nameOrAll reads a name that may be left out, which is empty then: an empty one is more
// likely a variable that was never set.
func nameOrAll(field string, name *string) (string, error) {
	switch {
	case name == nil:
		return "", nil
	case *name == "":
		return "", fmt.Errorf("%s is empty; leave it out for all", field)
	}
	return *name, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Switch puts an uplink first while it is viable. The error for an uplink or a policy that
// does not exist, or that do not belong together, has ErrRefused in its chain.
func (c *Client) Switch(ctx context.Context, o Order) (Ordered, error) {
	return post[Ordered](ctx, c, "switch to an uplink through", "/v1/switch", switchRequest{o.Uplink, ifGiven(o.Policy), inSeconds(o.For)})
}

// Drain keeps new flows off an uplink, and moves none. Its errors are as those of Switch.
func (c *Client) Drain(ctx context.Context, o Order) (Ordered, error) {
	return post[Ordered](ctx, c, "drain an uplink through", "/v1/drain", drainRequest{o.Uplink, inSeconds(o.For)})
}

// Resume ends what the operator asked of an uplink, and its hold by damping; of all where
// the name is empty. The error for an uplink that does not exist has ErrRefused in its
// chain.
func (c *Client) Resume(ctx context.Context, uplink string) (Resumed, error) {
	return post[Resumed](ctx, c, "resume an uplink through", "/v1/resume", resumeRequest{ifGiven(uplink)})
}

// Confirm keeps the configuration that a reload has put in force for a time. Where none
// waits, the error has ErrRefused in its chain.
func (c *Client) Confirm(ctx context.Context) (Confirmed, error) {
	return post[Confirmed](ctx, c, "confirm the configuration through", "/v1/confirm", confirmRequest{})
}

// Reload makes the daemon read its configuration again and apply it; within confirm, if
// that is not 0, it is to be confirmed. If the configuration is bad, nothing changes, and
// the error has ErrRefused in its chain and carries the Problems.
func (c *Client) Reload(ctx context.Context, confirm time.Duration) (Reloaded, error) {
	patient := *c
	patient.patience = reloadWithin
	return post[Reloaded](ctx, &patient, "reload the configuration through", "/v1/reload", reloadRequest{inSeconds(confirm)})
}

// ifGiven is nil for an empty name.
func ifGiven(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}

func inSeconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return new(d.Seconds())
}

// post sends a request with a body, and reads its answer.
func post[R any](ctx context.Context, c *Client, action, path string, body any) (R, error) {
	var done R
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	asked, err := json.Marshal(body)
	if err != nil {
		return done, c.fail(action, err, "")
	}
	answer, err := c.call(ctx, action, http.MethodPost, path, strings.NewReader(string(asked)))
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return done, c.fail(action, err, "use a client and a daemon of the same version")
	}
	return done, nil
}
