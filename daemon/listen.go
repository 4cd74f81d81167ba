package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

// socketAgain is the time between two attempts to make the control socket.
const socketAgain = 5 * time.Second

// makeShift are the errors of a machine that has no room for a socket at the moment:
// failover does not wait for that. Others are mistakes, such as a path that cannot be.
var makeShift = []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.ENOMEM, unix.ENOBUFS, unix.EMFILE, unix.ENFILE}

// door is the control socket.
type door struct {
	path, group string
	problems    *problems
	listener    *control.Listener // nil: not made yet
}

// open makes the socket. Without room for it there is none for now, which is a problem
// and no error.
func (d *door) open() error {
	listener, err := control.Listen(d.path, d.group)
	if err != nil {
		d.listener = nil
		if !slices.ContainsFunc(makeShift, func(e error) bool { return errors.Is(err, e) }) {
			return err
		}
		d.problems.set(d.path, "control-socket", control.Warning, err, "make room there: it is tried again every few seconds")
		return nil
	}
	d.listener = listener
	d.problems.set(d.path, "control-socket", control.Warning, nil, "")
	d.problems.replace("listener", listener.Problems())
	return nil
}

// close closes the socket, if there is one.
func (d *door) close() {
	if d.listener != nil {
		d.listener.Close()
	}
}

// await returns the socket once it is made; nil if ctx ends before.
func (d *door) await(ctx context.Context) (*control.Listener, error) {
	for d.listener == nil {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(socketAgain):
		}
		if err := d.open(); err != nil {
			return nil, err
		}
	}
	return d.listener, nil
}
