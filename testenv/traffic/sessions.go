package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// sessions sends each request over a connection of its own.
type sessions struct {
	c     *Client
	begin func(seq uint64) (finish func() error, err error)
	room  chan struct{} // a token for each open session
	tasks sync.WaitGroup
}

// maxSessions is how many may be open at a time. A further request fails with an error
// that reports this.
const maxSessions = 4096

func newUDPSessions(c *Client) *sessions {
	return &sessions{c: c, begin: c.beginUDP, room: make(chan struct{}, maxSessions)}
}

func newTCPSessions(c *Client) *sessions {
	return &sessions{c: c, begin: c.beginTCP, room: make(chan struct{}, maxSessions)}
}

func (s *sessions) send(seq uint64) {
	select {
	case s.room <- struct{}{}:
	default:
		s.c.log.failed(seq, fmt.Sprintf("%d sessions are open", maxSessions))
		return
	}
	finish, err := s.begin(seq)
	if err != nil {
		s.c.log.failed(seq, err.Error())
		<-s.room
		return
	}
	s.tasks.Go(func() {
		if err := finish(); err != nil {
			s.c.log.failed(seq, err.Error())
		}
		<-s.room
	})
}

func (s *sessions) close() { s.tasks.Wait() }

// beginUDP sends one request from a fresh socket; the returned function waits for the
// answer.
func (c *Client) beginUDP(seq uint64) (finish func() error, err error) {
	conn, err := c.ns.DialUDP(c.To)
	if err != nil {
		return nil, err
	}
	if err := c.ask(conn, seq, time.Now()); err != nil {
		conn.Close()
		return nil, err
	}
	return func() error { defer conn.Close(); return c.await(conn, seq) }, nil
}

// beginTCP dials a new connection; the request is counted from its dial.
func (c *Client) beginTCP(seq uint64) (finish func() error, err error) {
	now := time.Now()
	c.log.sent(seq, now)
	return func() error {
		ctx, cancel := context.WithDeadline(context.Background(), now.Add(c.opts.Timeout))
		defer cancel()
		conn, err := c.ns.DialTCP(ctx, c.To)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := c.ask(conn, seq, now); err != nil {
			return err
		}
		return c.await(conn, seq)
	}, nil
}

// ask sends a request that began at an instant. The answer has to arrive within the
// timeout.
func (c *Client) ask(conn net.Conn, seq uint64, began time.Time) error {
	buf := make([]byte, messageLen)
	message{kind: kindRequest, stream: c.stream, seq: seq}.put(buf)
	if err := conn.SetDeadline(began.Add(c.opts.Timeout)); err != nil {
		return err
	}
	c.log.sent(seq, began)
	_, err := conn.Write(buf)
	return err
}

// await waits for the answer to a request.
func (c *Client) await(conn net.Conn, seq uint64) error {
	buf := make([]byte, messageLen)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	m, ok := parse(buf)
	if !ok || m.stream != c.stream || m.seq != seq {
		return errors.New("the answer belongs to another request")
	}
	c.log.answered(m, time.Now())
	return nil
}
