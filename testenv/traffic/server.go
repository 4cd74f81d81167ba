package traffic

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

// Server answers the clients and records which addresses they come from.
type Server struct {
	tasks     sync.WaitGroup
	packets   []*net.UDPConn
	listeners []net.Listener

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]bool
	streams map[uint64]*received
}

const (
	maxConns   = 16384 // further TCP connections are closed at once
	maxStreams = 1024  // further clients are answered, not recorded
)

// Serve starts a server on Port of each address, inside a namespace that has them.
func Serve(ns *netns.NS, addrs ...netip.Addr) (*Server, error) {
	s := &Server{conns: map[net.Conn]bool{}, streams: map[uint64]*received{}}
	for _, a := range addrs {
		at := netip.AddrPortFrom(a, Port).String()
		pc, err := ns.ListenPacket("udp", at)
		if err != nil {
			s.Close()
			return nil, err
		}
		udp := pc.(*net.UDPConn)
		enlargeBuffer(udp)
		s.packets = append(s.packets, udp)
		s.tasks.Go(func() { s.answerPackets(udp) })
		l, err := ns.Listen("tcp", at)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		s.tasks.Go(func() { s.accept(l) })
	}
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() {
	for _, pc := range s.packets {
		pc.Close()
	}
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

// answerPackets serves UDP until the socket is closed.
func (s *Server) answerPackets(pc *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := pc.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, ok := parse(buf[:n])
		if !ok {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		s.record(m, from.Addr(), time.Now())
		if m.kind == kindRequest {
			m.from = from
			m.put(buf)
			_, _ = pc.WriteToUDPAddrPort(buf[:messageLen], from) // a lost answer, like any lost packet
		}
	}
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !s.keep(c) {
			c.Close()
			continue
		}
		s.tasks.Go(func() {
			defer s.drop(c)
			s.answerStream(c)
		})
	}
}

func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) drop(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// answerStream serves one TCP connection until it ends.
func (s *Server) answerStream(c net.Conn) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	buf := make([]byte, messageLen)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		m, ok := parse(buf)
		if !ok {
			return
		}
		s.record(m, from.Addr(), time.Now())
		m.from = from
		if m.kind == kindListen || m.kind == kindDownload {
			s.speak(c, m)
			return
		}
		m.put(buf)
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// fillers is how many messages without a meaning follow each of a download.
const fillers = 63

// speak sends one message after the other to a client that only listens, until the
// connection ends. The first waits, so that the client has begun the request before.
func (s *Server) speak(c net.Conn, m message) {
	pause, begin := max(m.pause, time.Millisecond), time.Now()
	size := messageLen
	if m.kind == kindDownload {
		size += fillers * messageLen
	}
	buf := make([]byte, size)
	m.kind = kindRequest
	for n := 0; ; n++ {
		time.Sleep(time.Until(begin.Add(time.Duration(n+2) * pause)))
		m.put(buf)
		if _, err := c.Write(buf); err != nil {
			return
		}
		s.record(m, m.from.Addr(), time.Now())
		m.seq++
	}
}

func (s *Server) record(m message, from netip.Addr, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.streams[m.stream]
	if r == nil {
		if len(s.streams) >= maxStreams {
			return
		}
		r = &received{}
		s.streams[m.stream] = r
	}
	r.record(m.seq, from, at)
}

// Received returns what was recorded of a client's stream so far.
func (s *Server) Received(stream uint64) Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.streams[stream]; r != nil {
		return r.report()
	}
	return Received{}
}

// readBuffer holds what arrives while this process does not run: half a second of
// 10,000 packets a second.
const readBuffer = 8 << 20

// enlargeBuffer gives a socket a large buffer, or leaves the usual one if the machine refuses.
func enlargeBuffer(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = packet.Buffer(int(fd), readBuffer)
	})
}
