package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// answered returns the error of an answer that is not 200.
func (c *Client) answered(action string, resp *http.Response) error {
	var f failure
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := json.Unmarshal(bytes.TrimSpace(body), &f); err != nil || f.Error == "" {
		f = failure{Error: "it answered " + resp.Status, Remedy: "use a client and a daemon of the same version"}
	}
	e := c.fail(action, errors.New(f.Error), f.Remedy)
	e.Problems = f.Problems
	if f.Action != "" {
		e.Action, e.Object = f.Action, f.Object
	}
	if resp.StatusCode == http.StatusUnprocessableEntity {
		e.Cause = &refusal{f.Error}
	}
	return e
}

// refusal is ErrRefused with the daemon's text.
type refusal struct{ text string }

func (r *refusal) Error() string        { return r.text }
func (r *refusal) Is(target error) bool { return target == ErrRefused }

const startRemedy = "start it with `systemctl start swerve` (if it does not stay, swerve check says why), or name its socket with --socket"

// group returns how to become a member of the socket's group, as far as the socket tells
// which that is.
func (c *Client) group() string {
	info, err := os.Stat(c.socket)
	if err != nil {
		return ""
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Gid == 0 || info.Mode()&0o060 == 0 {
		return ""
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(s.Gid)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (adduser YOU %s, then log in again)", g.Name)
}

// unreachable returns the error of a request that got no answer.
func (c *Client) unreachable(action string, err error) error {
	err = bare(err)
	switch {
	case errors.Is(err, context.Canceled):
		return c.fail(action, err, "")
	case errors.Is(err, fs.ErrPermission):
		return c.fail(action, err, "run it as root, or as a member of the socket's group"+c.group())
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return c.fail(action, fmt.Errorf("%w in time", ErrNoDaemon), "check with `systemctl status swerve` whether it hangs")
	case errors.Is(err, fs.ErrNotExist):
		return c.fail(action, fmt.Errorf("%w: there is no such socket", ErrNoDaemon), startRemedy)
	case errors.Is(err, errBadPath):
		return c.fail(action, err, "name the daemon's socket with --socket")
	case errors.Is(err, syscall.EPROTOTYPE), strings.Contains(err.Error(), "malformed HTTP"):
		return c.fail(action, fmt.Errorf("what listens there is not a Swerve daemon: %w", err), "name its socket with --socket")
	}
	return c.fail(action, fmt.Errorf("%w: %w", ErrNoDaemon, err), startRemedy)
}

// bare returns a failure without what the layers below add to it: the socket again,
// and a URL that means nothing to the user.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		err = o.Err
	}
	if s, ok := errors.AsType[*os.SyscallError](err); ok {
		err = s.Err
	}
	return err
}

func (c *Client) fail(action string, cause error, remedy string) *Error {
	return &Error{Action: action, Object: c.socket, Cause: cause, Remedy: remedy}
}
