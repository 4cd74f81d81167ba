package firewall

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/testenv/netns"
)

// serveUDP answers each packet to an address with its content, and the address
// that it came from.
func serveUDP(t *testing.T, ns *netns.NS, addr string) {
	t.Helper()
	c, err := ns.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(fmt.Appendf(buf[:n], " %s", from.(*net.UDPAddr).AddrPort().Addr().Unmap()), from)
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
}

// askUDP sends a packet and returns the sender's address as the server sees it.
// Packets that are not answered within 250 ms are sent again, up to 40 times;
// answers to earlier questions are ignored.
func askUDP(t *testing.T, c net.Conn) string {
	t.Helper()
	question := fmt.Sprint(time.Now().UnixNano())
	for range 40 {
		if _, err := c.Write([]byte(question)); err != nil {
			time.Sleep(20 * time.Millisecond) // a refused send counts as a lost one
			continue
		}
		if from := answerTo(c, question); from != "" {
			return from
		}
	}
	t.Errorf("no answer to %s", c.LocalAddr())
	return ""
}

func answerTo(c net.Conn, question string) string {
	buf := make([]byte, 100)
	c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
	for {
		n, err := c.Read(buf)
		if err != nil {
			return ""
		}
		if from, ok := strings.CutPrefix(string(buf[:n]), question+" "); ok {
			return from
		}
	}
}

func dialUDP(t *testing.T, ns *netns.NS, to string) net.Conn {
	t.Helper()
	c, err := ns.DialUDP(netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// tcpServer answers each line with the address that the connection came from.
type tcpServer struct {
	listener net.Listener

	mu    sync.Mutex
	ended []string // connections that ended, with the reason
}

func serveTCP(t *testing.T, ns *netns.NS, addr string) *tcpServer {
	t.Helper()
	ln, err := ns.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &tcpServer{listener: ln}
	var done sync.WaitGroup
	var conns []net.Conn
	done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			conns = append(conns, c)
			s.mu.Unlock()
			done.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		s.mu.Unlock()
		done.Wait()
	})
	return s
}

func (s *tcpServer) serve(c net.Conn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		fmt.Fprintln(c, from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, fmt.Sprintf("%s: %v", from, lines.Err()))
}

func (s *tcpServer) endings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func dialTCP(t *testing.T, ns *netns.NS, to string) *net.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	c, err := ns.DialTCP(ctx, netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askTCP sends a line and returns the answer.
func askTCP(c net.Conn) (string, error) {
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		return "", err
	}
	return heard(c)
}

// heard returns the next line.
func heard(c net.Conn) (string, error) {
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func at(addr string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)).String()
}
