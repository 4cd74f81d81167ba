package control

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a connection, as the kernel recorded it
// when the connection was made (SO_PEERCRED, unix(7)).
type Peer struct {
	PID      int32
	UID, GID uint32
}

type peerKey struct{}

// PeerOf returns the client on whose behalf a call of [Backend] is made, for
// logging: whoever may open the socket may do all that it offers.
func PeerOf(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p, err := ReadPeer(conn)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// ReadPeer returns the process at the other end of a unix socket connection.
func ReadPeer(conn net.Conn) (Peer, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("control: %T has no peer credentials", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return Peer{}, fmt.Errorf("control: read the peer's credentials: %w", err)
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// listenPrivate listens on a socket whose file has mode 0600.
func listenPrivate(addr *net.UnixAddr) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		if err := raw.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), privateMode) }); err != nil {
			return err
		}
		return chmodErr
	}}
	ln, err := lc.Listen(context.Background(), "unix", addr.Name)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}
