package traffic

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Break is the end of one connection of a tcp-stream, and what followed.
type Break struct {
	At        time.Time // when the application received the error
	Err       string
	Reset     time.Time   // when the reset arrived at the client's machine; zero: none
	Segments  []time.Time // the client's last segments, in order, at most maxSegments
	Dials     int         // attempts since, including the one that succeeded
	Redialled time.Time   // when the next connection was established; zero: not yet

	flow *flow
}

// LastSent is when the client's last segment before the break left; zero: unknown.
func (b Break) LastSent() time.Time {
	if len(b.Segments) == 0 {
		return time.Time{}
	}
	return b.Segments[len(b.Segments)-1]
}

// ResetDelay is the time from the first segment sent after an instant to the client's
// reset. It reports false if there was no such segment or no reset.
func (b Break) ResetDelay(after time.Time) (time.Duration, bool) {
	for _, at := range b.Segments {
		if !at.Before(after) && !b.Reset.IsZero() {
			return b.Reset.Sub(at), true
		}
	}
	return 0, false
}

const (
	maxBreaks = 4096                  // later ones are not kept
	dialPause = 10 * time.Millisecond // between attempts, where the first fails at once
)

// tcpStream sends all requests over one connection and replaces it when it breaks. For
// kinds that only listen it asks once, and a request is what the server is then to say.
type tcpStream struct {
	c      *Client
	tap    *tap
	cancel context.CancelFunc
	task   sync.WaitGroup
	buf    [messageLen]byte // of send

	mu     sync.Mutex
	conn   *net.TCPConn // nil: being dialled
	refuse error        // why conn accepted no more; nil while it does
	breaks []Break
}

func newTCPStream(c *Client) (*tcpStream, error) {
	tap, err := openTap(c.ns, c.To)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &tcpStream{c: c, tap: tap, cancel: cancel}
	s.task.Go(func() { s.run(ctx) })
	return s, nil
}

// run keeps a connection open until close.
func (s *tcpStream) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn := s.dial(ctx)
		if conn == nil {
			continue
		}
		first := s.c.log.nextSeq()
		s.use(conn)
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		err := s.read(ctx, conn)
		stop()
		if refused := s.use(nil); refused != nil {
			err = refused
		}
		conn.Close()
		s.c.log.failRange(first, s.c.log.nextSeq(), "the connection broke: "+err.Error())
		if ctx.Err() == nil {
			s.noteBreak(conn, err)
		}
	}
}

// dial makes one attempt; nil if it failed.
func (s *tcpStream) dial(ctx context.Context) *net.TCPConn {
	limited, cancel := context.WithTimeout(ctx, s.c.opts.Timeout)
	defer cancel()
	_ = s.tap.follow(0) // or it goes on with the filter it has
	conn, err := s.c.ns.DialTCP(limited, s.c.To)
	if err == nil {
		err = s.ask(conn)
	}
	s.noteDial(err == nil)
	if err == nil {
		_ = s.tap.follow(uint16(conn.LocalAddr().(*net.TCPAddr).Port))
		return conn
	}
	select {
	case <-time.After(dialPause):
	case <-ctx.Done():
	}
	return nil
}

func (s *tcpStream) listens() bool { return s.c.Kind == TCPListen || s.c.Kind == TCPDownload }

// ask has the server speak, where the client only listens.
func (s *tcpStream) ask(conn *net.TCPConn) error {
	if !s.listens() {
		return nil
	}
	// The server keeps the pace, so a request that this machine is late with is not the
	// one to begin with: every later one would be as late.
	first := s.c.log.dueSeq(time.Now(), s.c.opts.Rate)
	m := message{kind: kindListen, stream: s.c.stream, seq: first, pause: time.Duration(float64(time.Second) / s.c.opts.Rate)}
	if s.c.Kind == TCPDownload {
		m.kind = kindDownload
	}
	var buf [messageLen]byte
	m.put(buf[:])
	err := push(conn, buf[:])
	if err != nil {
		conn.Close()
	}
	return err
}

// use makes a connection the one for further requests, and returns why the previous
// one accepted no more of them; nil if it did.
func (s *tcpStream) use(conn *net.TCPConn) (refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused = s.refuse
	s.conn, s.refuse = conn, nil
	return refused
}

// read reads answers until the connection ends, and returns why it ended.
func (s *tcpStream) read(ctx context.Context, conn net.Conn) error {
	buf := make([]byte, messageLen)
	from := bufio.NewReader(conn)
	for {
		if _, err := io.ReadFull(from, buf); err != nil {
			return err
		}
		if m, ok := parse(buf); ok && m.stream == s.c.stream {
			s.untilBegun(ctx, m.seq)
			s.c.log.answered(m, time.Now())
		}
	}
}

// untilBegun waits for a request that is answered before it has begun: a server that
// speaks by itself keeps its pace while this client is late.
func (s *tcpStream) untilBegun(ctx context.Context, seq uint64) {
	for s.c.log.nextSeq() <= seq && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

func (s *tcpStream) send(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.log.sent(seq, time.Now())
	if s.conn == nil {
		s.c.log.failed(seq, "not connected")
		return
	}
	if s.listens() {
		return
	}
	message{kind: kindRequest, stream: s.c.stream, seq: seq}.put(s.buf[:])
	if s.refuse == nil {
		s.refuse = push(s.conn, s.buf[:])
	}
	if s.refuse != nil {
		s.c.log.failed(seq, s.refuse.Error())
		s.conn.Close() // read returns, and run dials again
	}
}

// push hands bytes to the kernel without waiting. A connection whose buffers are full
// counts as broken: a deadline would also pass while this machine pauses.
func push(conn *net.TCPConn, b []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	closed := raw.Write(func(fd uintptr) bool {
		n, err = unix.Write(int(fd), b)
		return true
	})
	switch {
	case closed != nil:
		return closed
	case err != nil:
		return os.NewSyscallError("write", err)
	case n < len(b):
		return io.ErrShortWrite
	}
	return nil
}

func (s *tcpStream) noteBreak(conn net.Conn, err error) {
	b := Break{At: time.Now(), Err: err.Error(), flow: s.tap.of(conn.LocalAddr())}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.breaks) < maxBreaks {
		s.breaks = append(s.breaks, b)
	}
}

func (s *tcpStream) noteDial(succeeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.breaks) == 0 {
		return
	}
	b := &s.breaks[len(s.breaks)-1]
	if !b.Redialled.IsZero() {
		return // there was no room for its successors
	}
	b.Dials++
	if succeeded {
		b.Redialled = time.Now()
	}
}

func (s *tcpStream) breaksSoFar() []Break {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.breaks)
	for i := range all {
		all[i].Segments, all[i].Reset = s.tap.history(all[i].flow)
	}
	return all
}

func (s *tcpStream) close() {
	s.cancel()
	s.task.Wait()
	s.tap.close()
}
