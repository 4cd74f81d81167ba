package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

const (
	maxSegments = 256 // the latest, kept per flow
	maxFlows    = 64  // the latest, watched
)

// tap watches the TCP segments between a client's namespace and a server: TCP_INFO has
// the time of the last one to a few milliseconds only, and nothing about resets.
type tap struct {
	file   *os.File
	server netip.AddrPort
	task   sync.WaitGroup

	mu    sync.Mutex
	flows map[uint16]*flow // by the client's port
	order []uint16         // in the order of their start
}

type flow struct {
	segments []time.Time // the client's
	reset    time.Time   // the server's
}

func openTap(ns *netns.NS, server netip.AddrPort) (*tap, error) {
	filter, err := tcpWith(server, 0)
	if err != nil {
		return nil, err
	}
	fd, err := packet.Open(ns, packet.Options{Cooked: true, Filter: filter})
	if err != nil {
		return nil, err
	}
	t := &tap{file: os.NewFile(uintptr(fd), "tap"), server: server, flows: map[uint16]*flow{}}
	conn, err := t.file.SyscallConn()
	if err != nil {
		t.file.Close()
		return nil, err
	}
	t.task.Go(func() { t.run(conn, server.Addr().Is4()) })
	return t, nil
}

func (t *tap) close() {
	t.file.Close()
	t.task.Wait()
}

// follow has the tap watch one port of the client's, or with 0 whoever asks the server:
// among many clients each tap would see the segments of all.
func (t *tap) follow(port uint16) error {
	filter, err := tcpWith(t.server, port)
	if err != nil {
		return err
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	closed := conn.Control(func(fd uintptr) { err = packet.SetFilter(int(fd), filter) })
	return errors.Join(closed, err)
}

// The offsets of fields after the network header; packets have no options.
const (
	ip4Len, ip6Len     = 20, 40
	ip4Proto, ip6Proto = 9, 6
	tcpFlags           = 13
	flagRST            = 0x04
)

// only skips the drop after it where the loaded value is as wanted.
func only(value uint32) bpf.JumpIf {
	return bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1}
}

var drop = bpf.RetConstant{Val: 0}

// tcpWith assembles a filter for the TCP segments of a family between a server's port and
// a client's, or any client's with 0.
func tcpWith(server netip.AddrPort, client uint16) ([]unix.SockFilter, error) {
	version, header, proto := uint32(0x40), uint32(ip4Len), uint32(ip4Proto)
	if server.Addr().Is6() {
		version, header, proto = 0x60, ip6Len, ip6Proto
	}
	source, destination := bpf.LoadAbsolute{Off: header, Size: 2}, bpf.LoadAbsolute{Off: header + 2, Size: 2}
	instructions := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		only(version),
		drop,
		bpf.LoadAbsolute{Off: proto, Size: 1},
		only(unix.IPPROTO_TCP),
		drop,
	}
	for _, port := range []uint16{server.Port(), client} {
		if port != 0 { // at either end
			instructions = append(instructions, source, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 3},
				destination, only(uint32(port)), drop)
		}
	}
	program, err := bpf.Assemble(append(instructions, bpf.RetConstant{Val: ip6Len + 20}))
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	var filter []unix.SockFilter
	for _, i := range program {
		filter = append(filter, unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	return filter, nil
}

// run records segments until close.
func (t *tap) run(conn syscall.RawConn, ip4 bool) {
	header := ip6Len
	if ip4 {
		header = ip4Len
	}
	var buf [128]byte
	var control [packet.ControlLen]byte
	for {
		var n, nc int
		var from unix.Sockaddr
		var err error
		closed := conn.Read(func(fd uintptr) bool {
			n, nc, _, from, err = unix.Recvmsg(int(fd), buf[:], control[:], 0)
			return err != unix.EAGAIN
		})
		if closed != nil {
			return
		}
		l, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || n < header+tcpFlags+1 {
			continue
		}
		t.record(l.Pkttype == unix.PACKET_OUTGOING, buf[header:n], packet.Arrival(control[:nc], time.Now()))
	}
}

// record records a segment to or from the server.
func (t *tap) record(outgoing bool, tcp []byte, at time.Time) {
	port := binary.BigEndian.Uint16(tcp[2:])
	if outgoing {
		port = binary.BigEndian.Uint16(tcp[0:])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[port]
	if f == nil {
		f = t.begin(port)
	}
	switch {
	case outgoing:
		if len(f.segments) == maxSegments {
			f.segments = append(f.segments[:0], f.segments[maxSegments/2:]...)
		}
		f.segments = append(f.segments, at)
	case tcp[tcpFlags]&flagRST != 0 && f.reset.IsZero():
		f.reset = at
	}
}

// begin adds a flow and drops the oldest if there are too many. The caller holds mu.
func (t *tap) begin(port uint16) *flow {
	if len(t.order) == maxFlows {
		delete(t.flows, t.order[0])
		t.order = t.order[1:]
	}
	t.order = append(t.order, port)
	f := &flow{}
	t.flows[port] = f
	return f
}

// of returns the flow of a connection by its local address. It may still grow: the
// tap can be behind the application, which learns of a reset from the same kernel.
func (t *tap) of(local net.Addr) *flow {
	port := uint16(local.(*net.TCPAddr).Port)
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.flows[port]; f != nil {
		return f
	}
	return t.begin(port)
}

// history returns a copy of what was recorded of a flow.
func (t *tap) history(f *flow) (segments []time.Time, reset time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(f.segments), f.reset
}
