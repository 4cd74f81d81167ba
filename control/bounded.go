package control

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// tooMany is what a client gets that is one too many.
const tooMany = `{"error":"too many clients are connected","remedy":"close some, or try again in a moment"}` + "\n"

// boundedListener lets in so many connections at once as slots has room for. A
// client over that is told, not left waiting.
type boundedListener struct {
	*net.UnixListener
	slots chan struct{}
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
			conn.SetWriteBuffer(sendBuffer)
			return &slotConn{UnixConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			refuse(conn)
		}
	}
}

// refuse says that there is no room. A fresh socket's buffer takes it all at once.
func refuse(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(tooMany), tooMany)
	conn.Close()
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	*net.UnixConn
	release func()
}

// Close implements net.Conn.
func (c *slotConn) Close() error {
	err := c.UnixConn.Close()
	c.release()
	return err
}
