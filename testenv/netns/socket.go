package netns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen is net.Listen inside the namespace.
func (ns *NS) Listen(network, address string) (l net.Listener, err error) {
	err = ns.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket is net.ListenPacket inside the namespace.
func (ns *NS) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = ns.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// ListenTransparent listens for TCP inside the namespace, for a proxy also for what is
// sent to addresses of others (IP_TRANSPARENT).
func (ns *NS) ListenTransparent(address string, proxy bool) (l net.Listener, err error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var refused error
		err := raw.Control(func(fd uintptr) {
			if proxy {
				refused = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1))
			}
		})
		return cmp.Or(err, refused)
	}}
	err = ns.Do(func() error {
		l, err = config.Listen(context.Background(), "tcp", address)
		return err
	})
	return l, err
}

// The source ports of dials, used in turn. The kernel chooses at random: among a few
// hundred flows a port is soon reused, and a router then takes the new flow for the
// old one that it still remembers.
const (
	firstPort = 10000
	lastPort  = 59999
	portTries = 200 // successive ports that may be in use
)

// freshPort returns the port whose last use is longest ago.
func (ns *NS) freshPort() int {
	return firstPort + int(ns.ports.Add(1)-1)%(lastPort-firstPort+1)
}

// Origin is what a dialled socket is bound to, and its packets' mark. The zero value
// leaves both to the kernel.
type Origin struct {
	Addr netip.Addr
	Mark int
}

// bind returns the address to bind to for a port; unspecified is that of the family
// for none.
func (o Origin) bind(unspecified netip.Addr, port int) netip.AddrPort {
	if o.Addr.IsValid() {
		unspecified = o.Addr
	}
	return netip.AddrPortFrom(unspecified, uint16(port))
}

// prepare sets the socket's mark.
func (o Origin) prepare(fd int) error {
	if o.Mark == 0 {
		return nil
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, o.Mark))
}

// DialUDP opens a connected UDP socket inside the namespace. Its source port was
// not used by the last 50,000 dials.
func (ns *NS) DialUDP(to netip.AddrPort) (c *net.UDPConn, err error) {
	return ns.DialUDPFrom(Origin{}, to)
}

// DialUDPFrom is DialUDP with an origin.
func (ns *NS) DialUDPFrom(o Origin, to netip.AddrPort) (c *net.UDPConn, err error) {
	err = ns.Do(func() error {
		for range portTries {
			d := net.Dialer{
				LocalAddr: &net.UDPAddr{IP: o.Addr.AsSlice(), Port: ns.freshPort()},
				Control: func(_, _ string, raw syscall.RawConn) error {
					var refused error
					err := raw.Control(func(fd uintptr) { refused = o.prepare(int(fd)) })
					return cmp.Or(err, refused)
				},
			}
			var dialled net.Conn
			if dialled, err = d.Dial("udp", to.String()); err == nil {
				c = dialled.(*net.UDPConn)
			}
			if !errors.Is(err, unix.EADDRINUSE) {
				return err
			}
		}
		return err
	})
	return c, err
}

// DialTCP opens a TCP connection inside the namespace, from a source port chosen as
// by DialUDP. Only the socket is made by the namespace's worker; the handshake is
// awaited here, so many dials, also to servers that never answer, can be in progress.
// ctx bounds it.
func (ns *NS) DialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	return ns.DialTCPFrom(ctx, Origin{}, to)
}

// DialTCPFrom is DialTCP with an origin.
func (ns *NS) DialTCPFrom(ctx context.Context, o Origin, to netip.AddrPort) (*net.TCPConn, error) {
	c, err := ns.dialTCP(ctx, o, to)
	if err != nil {
		return nil, fmt.Errorf("netns: dial tcp %s: %w", to, err)
	}
	return c, nil
}

func (ns *NS) dialTCP(ctx context.Context, o Origin, to netip.AddrPort) (*net.TCPConn, error) {
	f, err := ns.streamSocket(o, to)
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn duplicates the descriptor
	if err := connect(ctx, f, sockaddr(to)); err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// streamSocket opens a non-blocking TCP socket inside the namespace. os.NewFile
// registers it with the runtime's poller.
func (ns *NS) streamSocket(o Origin, to netip.AddrPort) (f *os.File, err error) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	err = ns.Do(func() error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		if err := o.prepare(fd); err != nil {
			unix.Close(fd)
			return err
		}
		if err := ns.bindFresh(fd, family, o); err != nil {
			unix.Close(fd)
			return os.NewSyscallError("bind", err)
		}
		f = os.NewFile(uintptr(fd), "tcp")
		return nil
	})
	return f, err
}

func (ns *NS) bindFresh(fd, family int, o Origin) (err error) {
	for range portTries {
		wildcard := netip.IPv6Unspecified()
		if family == unix.AF_INET {
			wildcard = netip.IPv4Unspecified()
		}
		local := sockaddr(o.bind(wildcard, ns.freshPort()))
		if err = unix.Bind(fd, local); err != unix.EADDRINUSE {
			return err
		}
	}
	return err
}

// connect waits for the handshake like the runtime's own dialer.
func connect(ctx context.Context, f *os.File, to unix.Sockaddr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(longAgo) })
	defer stop()
	var result error
	started := false
	err = raw.Write(func(fd uintptr) (done bool) {
		if !started {
			started = true
			result = unix.Connect(int(fd), to)
		} else {
			result = connected(int(fd))
		}
		return result != unix.EINPROGRESS
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", result)
}

// connected returns the state of a handshake in progress. The poller also wakes for
// sockets that are not connected yet: then it returns EINPROGRESS.
func connected(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if errno != 0 {
		return unix.Errno(errno)
	}
	if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
		return unix.EINPROGRESS
	} else if err != nil {
		return err
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// longAgo, as a deadline, ends an operation at once.
var longAgo = time.Unix(1, 0)
