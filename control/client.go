package control

import (
	"context"
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
