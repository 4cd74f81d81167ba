package linkmon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// opener opens the sockets of the methods that use transport protocols. Each bears the
// uplink's mark and is bound to its source and its device: in both families the kernel
// then takes no route by another device, whatever rule or table it is in. Such a socket
// does not receive by other devices either, so answers that come by another one are none.
type opener struct {
	clock    func() failover.Instant
	chooser  *chooser  // nil in tests
	tracking *tracking // likewise
}

// open connects a socket of a kind to the request's target; of TCP the SYN has then been
// sent. An error of the kernel is one for [sendError].
func (o opener) open(r request, kind int) (fd int, err error) {
	if err := o.chooser.unrouted(r); err != nil {
		return -1, err
	}
	family := unix.AF_INET
	if r.to.Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if err = hold(fd, kind, r); err == nil {
		err = unix.Connect(fd, socketAddress(r.to, r.target.Port))
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return -1, sendError(err, r)
	}
	return fd, nil
}

// hold binds a socket to the uplink. A connection ends with a reset, so that it is over on
// both sides at once and a server keeps nothing of it.
func hold(fd, kind int, r request) error {
	if r.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(r.mark)); err != nil {
			return fmt.Errorf("mark a socket: %w", err)
		}
	}
	if err := unix.BindToDevice(fd, r.device); err != nil {
		return fmt.Errorf("bind to %s: %w", r.device, err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return fmt.Errorf("set SO_LINGER: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveRoom); err != nil {
			return fmt.Errorf("set SO_RCVBUF: %w", err)
		}
	}
	if err := unix.Bind(fd, socketAddress(r.source, 0)); err != nil {
		return fmt.Errorf("bind to %s: %w", r.source, err)
	}
	return nil
}

// receiveRoom bounds what a server may send before it sees the reset: a page is not read.
const receiveRoom = 8 << 10

func socketAddress(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
}

// socket is an open socket of a probe. It is a [net.Conn].
type socket struct {
	bounded // reads of file
	file    *os.File
	fd      int
	sent    time.Time // the SYN, or the query
	stop    func() bool
}

// newSocket takes over an open socket, on which all reading and writing ends after a time,
// or with ctx.
func newSocket(ctx context.Context, fd int, wait time.Duration, left int) *socket {
	s := &socket{file: os.NewFile(uintptr(fd), "probe"), fd: fd, sent: time.Now()}
	s.bounded = bounded{r: s.file, left: left}
	s.file.SetDeadline(time.Now().Add(wait))
	s.stop = context.AfterFunc(ctx, func() { s.file.SetDeadline(time.Unix(1, 0)) })
	return s
}

// Close closes the socket: a connection by a reset.
func (s *socket) Close() error {
	s.stop()
	return s.file.Close()
}

// errTooMuch ends what is read of a server that sends without end.
var errTooMuch = errors.New("more than a probe reads")

// bounded reads no more than a number of bytes, and keeps the error of the last reading.
type bounded struct {
	r    io.Reader
	left int
	err  error
}

func (b *bounded) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		b.err = errTooMuch
		return 0, b.err
	}
	n, b.err = b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, b.err
}

func (s *socket) Write(b []byte) (int, error)        { return s.file.Write(b) }
func (s *socket) SetDeadline(t time.Time) error      { return s.file.SetDeadline(t) }
func (s *socket) SetReadDeadline(t time.Time) error  { return s.file.SetReadDeadline(t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }
func (s *socket) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (s *socket) RemoteAddr() net.Addr               { return &net.TCPAddr{} }

// errRefused is a reset of the host that was asked to connect.
var errRefused = errors.New("the connection is refused")

// errAnew: what was answered is not the probe, but a SYN that the kernel has sent since.
var errAnew = errors.New("a later SYN is answered")

// handshake waits for the end of TCP's handshake, and returns nil if it is complete, and
// the answer one to the first SYN. The kernel sends a lost one anew, after a second: the
// probe is lost all the same, or a line that loses packets would look like a slow one.
func (s *socket) handshake() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) (over bool) {
		over, result = connected(int(fd), s.sent)
		return over
	})
	if err != nil {
		return err
	}
	return result
}

// States of TCP in struct tcp_info, linux/tcp_states.h.
const (
	tcpSynSent = 2
	tcpSynRecv = 3
)

// connected reports whether TCP's handshake is over, and how it ended. The error of a
// refused connection is that of a router's or filter's message (ICMP port unreachable) as
// well, which proves nothing of the host: only a reset is a segment that came in.
func connected(fd int, sent time.Time) (over bool, err error) {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, err
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return true, err
	}
	switch e := syscall.Errno(errno); {
	case e == unix.ECONNRESET || e == unix.EPIPE:
		return true, nil // reset after the handshake
	case e == unix.ECONNREFUSED && info.Segs_in > 0:
		return true, errRefused
	case e == unix.ECONNREFUSED:
		return true, fmt.Errorf("refused by a router or a packet filter, not by the host: %w", e)
	case e != 0:
		return true, e
	}
	if info.State == tcpSynSent || info.State == tcpSynRecv {
		return false, nil
	}
	if answersLater(time.Since(sent), info.Total_retrans, time.Duration(info.Rtt)*time.Microsecond) {
		return true, errAnew
	}
	return true, nil
}

// answersLater reports whether the answer that came after a time is one to a later SYN than
// the first: rtt is what the kernel has measured, which it can with TCP's timestamps (RFC
// 7323, 4.1) although it sent more than one. Without them (0) the answer counts.
func answersLater(after time.Duration, sentAnew uint32, rtt time.Duration) bool {
	const half = time.Second / 2 // of the time until a SYN is sent anew (RFC 6298, 2.1)
	return sentAnew > 0 && rtt > 0 && after-rtt > half
}

// timedOut reports whether an error is that the socket's time is over.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// maxCause bounds what is told of a fault, which may have words of the other side's.
const maxCause = 200

// faultOf words an error as a fault.
func faultOf(err error) failover.Fault {
	text := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if path, ok := errors.AsType[*os.PathError](err); ok && path.Err == errno {
			text = errno.Error()
		}
	}
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	_, portal := errors.AsType[*portalError](err)
	return failover.Fault{Cause: text, Portal: portal}
}
