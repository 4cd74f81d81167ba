package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

const (
	// socketAgain is the time between two attempts to make the control socket.
	socketAgain = 5 * time.Second
	// socketLook is the time between two looks whether its file is still there.
	socketLook = 2 * time.Second
)

// noRoom are the errors of a machine that has no room for a socket at the moment:
// failover does not wait for that. Others are mistakes, such as a path that cannot be.
var noRoom = []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.ENOMEM, unix.ENOBUFS, unix.EMFILE, unix.ENFILE}

// apiSocket is the control socket, which may have to wait for room.
type apiSocket struct {
	path, group string
	problems    *problems
	log         *slog.Logger
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

// serve answers clients until ctx ends, with a server for each socket: where its file is
// removed or replaced, nobody finds the one that listens, and another is made.
func (s *apiSocket) serve(ctx context.Context, server func(*control.Listener) *control.Server) error {
	listener, err := s.await(ctx)
	for listener != nil && err == nil {
		serving, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- server(listener).Serve(serving) }()
		select {
		case next := <-s.replaced(serving, listener):
			end()
			err = <-done
			s.listener, listener = next, next
		case err = <-done:
			end()
			return err
		}
	}
	return err
}

// replaced yields the socket that takes the place of one whose file is gone. One on
// which another process answers is left to it: that is a problem until it ends.
func (s *apiSocket) replaced(ctx context.Context, old *control.Listener) <-chan *control.Listener {
	out := make(chan *control.Listener, 1)
	go func() {
		look := time.NewTicker(socketLook)
		defer look.Stop()
		told := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			if old.Reachable() {
				if told {
					s.problems.set(s.path, "control-socket", control.Warning, nil, "")
				}
				told = false
				continue
			}
			listener, err := control.Listen(s.path, s.group)
			if err == nil {
				s.log.Warn("the control socket was removed or replaced, and is made again", "socket", s.path)
				s.problems.set(s.path, "control-socket", control.Warning, nil, "")
				s.problems.replace("listener", listener.Problems())
				out <- listener
				return
			}
			if !told {
				s.log.Error("the control socket was removed or replaced, and cannot be made again", "err", err)
			}
			told = true
			s.problems.set(s.path, "control-socket", control.Warning, fmt.Errorf("commands do not find this daemon: %w", err),
				"remove what is there, or end the process that listens there: it is tried again every few seconds")
		}
	}()
	return out
}
