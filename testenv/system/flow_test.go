package system

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// echoPort answers in the internet, innerPort behind a port forward on the LAN.
const (
	echoPort  = 7100
	innerPort = 7101
)

// flow is one UDP socket or TCP connection that sends a numbered request each
// askEvery, and whose packets a capture recognises by its port, which is the client's
// and which no other flow has.
type flow struct {
	origin *origin
	family failover.Family
	proto  string
	conn   net.Conn
	port   uint16

	reader   sync.WaitGroup
	sent     atomic.Uint64
	answered atomic.Uint64         // the highest number
	reading  atomic.Pointer[error] // by what it has ended
	writing  atomic.Pointer[error]
}

const askEvery = 100 * time.Millisecond

func (f *flow) String() string { return fmt.Sprintf("%s %s %s", f.origin.name, f.family, f.proto) }

// lastPort is the latest flow's port. The kernel chooses none of these, and source NAT
// leaves them as they are.
var lastPort atomic.Uint32

const firstFlowPort, lastFlowPort = 20000, 29999

// open opens a flow from an address of a namespace, or any where it is the zero Addr.
func open(ns *netns.NS, o *origin, proto string, from, to netip.AddrPort) (*flow, error) {
	f := &flow{origin: o, proto: proto, family: failover.FamilyOf(to.Addr())}
	f.port = uint16(firstFlowPort + lastPort.Add(1)%(lastFlowPort-firstFlowPort))
	from = netip.AddrPortFrom(from.Addr(), f.port)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.Addr().AsSlice(), Port: int(f.port)}}
	if proto == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: from.Addr().AsSlice(), Port: int(f.port)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := ns.Do(func() (err error) {
		f.conn, err = d.DialContext(ctx, proto, to.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	f.reader.Go(f.read)
	return f, nil
}

// read reads answers until the flow ends. What ICMP says does not end UDP.
func (f *flow) read() {
	var buf [8]byte
	for {
		_, err := io.ReadFull(f.conn, buf[:])
		switch {
		case err == nil:
			if n := binary.BigEndian.Uint64(buf[:]); n > f.answered.Load() {
				f.answered.Store(n)
			}
		case f.proto == "tcp" || errors.Is(err, net.ErrClosed):
			f.reading.Store(&err)
			return
		}
	}
}

// ask sends a request. What ICMP says does not end UDP.
func (f *flow) ask() {
	if f.hasEnded() != nil {
		return
	}
	_, err := f.conn.Write(binary.BigEndian.AppendUint64(nil, f.sent.Add(1)))
	if err != nil && f.proto == "tcp" {
		f.writing.Store(&err)
	}
}

// hasEnded returns by what the connection has ended; nil while it lives. The kernel
// reports a reset once: if the writer has it, the reader has an end of file.
func (f *flow) hasEnded() error {
	if err := f.writing.Load(); err != nil {
		return *err
	}
	if err := f.reading.Load(); err != nil && *err != io.EOF {
		return *err
	}
	return nil
}

func (f *flow) close() {
	f.conn.Close()
	f.reader.Wait()
}
