package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"
)

// DefaultSocket is where a daemon listens by default.
const DefaultSocket = "/run/swerve/swerve.sock"

// How long a client waits, and how much it reads.
const (
	answerWithin = 5 * time.Second
	reloadWithin = 75 * time.Second // more than the server gives a reload
	maxAnswer    = 16 << 20
	maxLine      = 1 << 20
)

// Client talks to the daemon on one socket. It connects for each request where it
// has to, so it outlives the daemon's restarts. It is safe for concurrent use.
// All its errors are *Error; those that mean that no daemon answers have
// ErrNoDaemon in their chain.
type Client struct {
	socket   string
	http     *http.Client
	patience time.Duration // for an answer, and for a stream to begin
}

// Dial returns a client of the daemon on the socket at that path. It does not
// connect yet.
func Dial(socket string) *Client {
	dialer := &net.Dialer{Timeout: answerWithin}
	return &Client{socket: socket, patience: answerWithin, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := checkSocketPath(socket); err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       1,
		IdleConnTimeout:    30 * time.Second,
	}}}
}

// Close drops the connections that no call is using.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the current status.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	body, err := c.StatusJSON(ctx)
	if err != nil {
		return nil, err
	}
	status, err := ParseStatus(body)
	if err != nil {
		return nil, c.fail("decode the status from", err, "use a client and a daemon of the same version")
	}
	return status, nil
}

// StatusJSON returns the current status as the daemon wrote it, with fields that
// this version may not know.
func (c *Client) StatusJSON(ctx context.Context) ([]byte, error) {
	const action = "read the status from"
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	return c.call(ctx, action, http.MethodGet, "/v1/status", nil)
}

// Reload makes the daemon read its configuration again and apply it. If the
// configuration is bad, nothing changes, and the error has ErrRefused in its chain
// and carries the Problems.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	const action = "reload the configuration through"
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	var done Reloaded
	body, err := c.call(ctx, action, http.MethodPost, "/v1/reload", nil)
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(body, &done); err != nil {
		return done, c.fail(action, err, "use a client and a daemon of the same version")
	}
	return done, nil
}

// Resume ends what the operator asked of an uplink, and its hold by damping; of all where
// the name is empty. The error for an uplink that does not exist has ErrRefused in its
// chain.
func (c *Client) Resume(ctx context.Context, uplink string) (Resumed, error) {
	const action = "resume an uplink through"
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	var done Resumed
	asked, err := json.Marshal(resumeRequest{uplink})
	if err != nil {
		return done, c.fail(action, err, "")
	}
	body, err := c.call(ctx, action, http.MethodPost, "/v1/resume", bytes.NewReader(asked))
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(body, &done); err != nil {
		return done, c.fail(action, err, "use a client and a daemon of the same version")
	}
	return done, nil
}

// call makes a request and returns the whole answer.
func (c *Client) call(ctx context.Context, action, method, path string, body io.Reader) ([]byte, error) {
	resp, err := c.do(ctx, action, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(action, err)
	}
	return answer, nil
}

// do makes a request; an answer other than 200 is an error.
func (c *Client) do(ctx context.Context, action, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://swerve"+path, body)
	if err != nil {
		return nil, c.fail(action, err, "")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, c.unreachable(action, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.answered(action, resp)
	}
	return resp, nil
}
