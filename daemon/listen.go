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

// noRoom are the errors of a machine that has no room for a socket at the moment:
// failover does not wait for that. Others are mistakes, such as a path that cannot be.
var noRoom = []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.ENOMEM, unix.ENOBUFS, unix.EMFILE, unix.ENFILE}

// apiSocket is the control socket, which may have to wait for room.
type apiSocket struct {
	path, group string
	problems    *problems
	listener    *control.Listener // nil: not made yet
}

// open makes the socket. Without room for it there is none for now, which is a problem
// and no error.
func (s *apiSocket) open() error {
	listener, err := control.Listen(s.path, s.group)
	if err != nil {
		s.listener = nil
		if !slices.ContainsFunc(noRoom, func(e error) bool { return errors.Is(err, e) }) {
			return err
		}
		s.problems.set(s.path, "control-socket", control.Warning, err, "make room there: it is tried again every few seconds")
		return nil
	}
	s.listener = listener
	s.problems.set(s.path, "control-socket", control.Warning, nil, "")
	s.problems.replace("listener", listener.Problems())
	return nil
}

// close closes the socket, if there is one.
func (s *apiSocket) close() {
	if s.listener != nil {
		s.listener.Close()
	}
}

// await returns the socket once it is made; nil if ctx ends before.
func (s *apiSocket) await(ctx context.Context) (*control.Listener, error) {
	for s.listener == nil {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(socketAgain):
		}
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	return s.listener, nil
}
