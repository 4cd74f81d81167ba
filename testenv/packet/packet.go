// Package packet opens packet sockets inside namespaces, for the wire, which
// carries frames, and for taps, which watch them. It reports when the kernel received
// a frame, which a busy process reads late.
package packet

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
)

// Options of a socket.
type Options struct {
	Link     string // its frames only; "": those of all links
	Cooked   bool   // frames begin with the network header, not with the Ethernet header
	Incoming bool   // without what the namespace itself sends
	Filter   []unix.SockFilter
}

// buffer holds what arrives while the reader does not run.
const buffer = 8 << 20

// Open opens a non-blocking packet socket inside a namespace. Read it with
// unix.Recvmsg and ControlLen bytes for control messages.
func Open(ns *netns.NS, o Options) (fd int, err error) {
	err = ns.Do(func() error {
		fd, err = open(ns, o)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("packet: open a socket on link %q: %w", o.Link, err)
	}
	return fd, nil
}

func open(ns *netns.NS, o Options) (int, error) {
	address := unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL)}
	if o.Link != "" {
		l, err := ns.Netlink().LinkByName(o.Link)
		if err != nil {
			return -1, err
		}
		address.Ifindex = l.Attrs().Index
	}
	typ := unix.SOCK_RAW
	if o.Cooked {
		typ = unix.SOCK_DGRAM
	}
	// Protocol 0: nothing is received before bind has selected the link.
	fd, err := unix.Socket(unix.AF_PACKET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := configure(fd, o); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Bind(fd, &address); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

func configure(fd int, o Options) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("SO_TIMESTAMPNS", err)
	}
	if _, err := Buffer(fd, buffer); err != nil {
		return err
	}
	if o.Incoming {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return os.NewSyscallError("PACKET_IGNORE_OUTGOING", err)
		}
	}
	if len(o.Filter) > 0 {
		return SetFilter(fd, o.Filter)
	}
	return nil
}

// SetFilter has a socket receive only what a filter takes, from now on.
func SetFilter(fd int, filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program))
}

// bigEndian converts a number to network byte order, which sll_protocol has.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// ControlLen is the size of the control message that Arrival reads.
const ControlLen = 64

// maxAge: a frame that seems older was stamped before the wall clock was set.
const maxAge = 10 * time.Second

// Arrival is the instant at which the kernel received a frame, from the control
// message that came with it, on the monotonic clock of now, the present instant.
func Arrival(control []byte, now time.Time) time.Time {
	const header = unix.SizeofCmsghdr
	if len(control) < header+16 {
		return now
	}
	sec := int64(binary.NativeEndian.Uint64(control[header:]))
	nsec := int64(binary.NativeEndian.Uint64(control[header+8:]))
	age := time.Duration(now.UnixNano() - sec*int64(time.Second) - nsec)
	if age < 0 || age > maxAge {
		return now
	}
	return now.Add(-age)
}
