package control

import (
	"context"
	"net"
	"sync"
)

// boundedListener accepts at most as many connections at once as slots has room
// for. A few more, as many as spare has room for, are accepted only to be answered
// that there is no room; all others are closed at once, which costs nothing.
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

// slotConn returns its slot when it is closed.
type slotConn struct {
	*net.UnixConn
	release func()
	tooMany bool // accepted only to be answered that there is no room
}

func newSlotConn(conn *net.UnixConn, slots chan struct{}, tooMany bool) *slotConn {
	conn.SetWriteBuffer(sendBuffer)
	return &slotConn{conn, sync.OnceFunc(func() { <-slots }), tooMany}
}

// Close implements net.Conn. It returns the slot first, so that a client that has
// seen the connection end finds room.
func (c *slotConn) Close() error {
	c.release()
	return c.UnixConn.Close()
}

type tooManyKey struct{}

// connContext adds to the context of requests what is known of their connection.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*slotConn); ok && c.tooMany {
		ctx = context.WithValue(ctx, tooManyKey{}, true)
	}
	return withPeer(ctx, conn)
}
