package traffic

import (
	"errors"
	"net"
	"sync"
	"time"
)

// udpStream sends all requests from one socket.
type udpStream struct {
	c    *Client
	conn *net.UDPConn
	buf  [messageLen]byte // of send
	task sync.WaitGroup
}

func newUDPStream(c *Client) (*udpStream, error) {
	conn, err := c.ns.DialUDP(c.To)
	if err != nil {
		return nil, err
	}
	enlargeBuffer(conn)
	s := &udpStream{c: c, conn: conn}
	s.task.Go(s.read)
	return s, nil
}

func (s *udpStream) send(seq uint64) {
	message{kind: kindRequest, stream: s.c.stream, seq: seq}.put(s.buf[:])
	s.c.log.sent(seq, time.Now())
	if _, err := s.conn.Write(s.buf[:]); err != nil {
		s.c.log.failed(seq, err.Error())
	}
}

// read reads answers until the socket is closed. Errors before that are ICMP errors:
// the stream continues.
func (s *udpStream) read() {
	buf := make([]byte, 2048)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if m, ok := parse(buf[:n]); ok && m.stream == s.c.stream {
			s.c.log.answered(m, time.Now())
		}
	}
}

func (s *udpStream) close() {
	s.conn.Close()
	s.task.Wait()
}
