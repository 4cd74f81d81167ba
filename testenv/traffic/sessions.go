package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// sessions asks each request on a connection of its own.
type sessions struct {
	c     *Client
	ask   func(seq uint64) error
	room  chan struct{} // a place for each session that is open at a time
	tasks sync.WaitGroup
}

// maxSessions is how many may be open at a time. A request that finds no room
// fails, and says so.
const maxSessions = 4096

func newSessions(c *Client, ask func(seq uint64) error) *sessions {
	return &sessions{c: c, ask: ask, room: make(chan struct{}, maxSessions)}
}

func (s *sessions) send(seq uint64) {
	select {
	case s.room <- struct{}{}:
	default:
		s.c.log.failed(seq, fmt.Sprintf("%d sessions are open", maxSessions))
		return
	}
	s.tasks.Go(func() {
		if err := s.ask(seq); err != nil {
			s.c.log.failed(seq, err.Error())
		}
		<-s.room
	})
}

func (s *sessions) close() { s.tasks.Wait() }

// askUDP sends one request from a fresh socket.
func (c *Client) askUDP(seq uint64) error {
	conn, err := c.ns.DialUDP(c.To)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.log.sent(seq, time.Now())
	return c.exchange(conn, seq)
}

// askTCP sends one request over a fresh connection; it counts from the dial.
func (c *Client) askTCP(seq uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
	defer cancel()
	c.log.sent(seq, time.Now())
	conn, err := c.ns.DialTCP(ctx, c.To)
	if err != nil {
		return err
	}
	defer conn.Close()
	return c.exchange(conn, seq)
}

// exchange sends a request and waits for its answer.
func (c *Client) exchange(conn net.Conn, seq uint64) error {
	buf := make([]byte, messageLen)
	message{kind: kindRequest, stream: c.stream, seq: seq}.put(buf)
	if err := conn.SetDeadline(time.Now().Add(c.opts.Timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	m, ok := parse(buf)
	if !ok || m.stream != c.stream || m.seq != seq {
		return fmt.Errorf("the answer is not to this request")
	}
	c.log.answered(m, time.Now())
	return nil
}
