package control

import (
	"context"
	"net"
	"sync"
)

// boundedListener lets in so many connections at once as slots has room for. A few
// more, for which spare has room, get in to be told that there is no room; others
// are closed at once, which costs nothing.
type boundedListener struct {
	*net.UnixListener
	slots, spare chan struct{}
}

func newBoundedListener(l *net.UnixListener, lim limits) *boundedListener {
	return &boundedListener{l, make(chan struct{}, lim.conns), make(chan struct{}, lim.spare)}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return newSlotConn(conn, l.slots, false), nil
		default:
		}
		select {
		case l.spare <- struct{}{}:
			return newSlotConn(conn, l.spare, true), nil
		default:
			conn.Close()
		}
	}
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	*net.UnixConn
	release func()
	tooMany bool // it is here to be told that there is no room
}

func newSlotConn(conn *net.UnixConn, slots chan struct{}, tooMany bool) *slotConn {
	conn.SetWriteBuffer(sendBuffer)
	return &slotConn{conn, sync.OnceFunc(func() { <-slots }), tooMany}
}

// Close implements net.Conn. The slot goes first, so that a client that sees the
// end finds room.
func (c *slotConn) Close() error {
	c.release()
	return c.UnixConn.Close()
}

type tooManyKey struct{}

// connContext gives every request what is to be known of its connection.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*slotConn); ok && c.tooMany {
		ctx = context.WithValue(ctx, tooManyKey{}, true)
	}
	return withPeer(ctx, conn)
}
