package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

const (
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3
)

// flowFinder looks up single conntrack entries. Its zero value is ready for use. It
// keeps its connection open, so it must be closed: see [Kernel].
type flowFinder struct{ sockets map[int]*nl.SocketHandle }

func (f *flowFinder) open() error {
	if f.sockets != nil {
		return nil
	}
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER) // to no group: for requests
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	f.sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}
	return nil
}

func (f *flowFinder) close() {
	if f.sockets != nil {
		f.sockets[unix.NETLINK_NETFILTER].Close()
		f.sockets = nil
	}
}

// flowOf returns a socket's flow according to conntrack, and whether there is one.
func (f *flowFinder) flowOf(s socket) (of flow, found bool, err error) {
	tuple, err := flowTuple(s)
	if err == nil {
		err = f.open()
	}
	if err != nil {
		return flow{}, false, err
	}
	// The kernel flags its single answer as a part of several, so the
	// acknowledgement marks the end.
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMessageGet, unix.NLM_F_ACK)
	req.Sockets = f.sockets
	req.AddRawData(tuple)
	err = req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(answer []byte) bool {
		if entry, err := decodeFlow(answer); err == nil {
			of, found = entry, true
		}
		return true
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		f.close() // an answer may still arrive
		return flow{}, false, fmt.Errorf("find the flow from %s to %s: %w", s.local, s.remote, err)
	}
	return of, found, nil
}

// accepted reports whether the flow shows that it was the other end that began it.
func (s socket) accepted(f flow) bool {
	return !f.resumed && (f.src != s.local || f.ports[0] != s.port)
}

// flowTuple returns the message that identifies the flow of a TCP socket.
func flowTuple(s socket) ([]byte, error) {
	family, src, dst := failover.IPv4, uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if s.local.Is6() {
		family, src, dst = failover.IPv6, ctaIPv6Src, ctaIPv6Dst
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Nested(ctaTupleOrig, func(t *netlink.AttributeEncoder) error {
		t.Nested(ctaTupleIP, func(ip *netlink.AttributeEncoder) error {
			ip.Bytes(src, s.local.AsSlice())
			ip.Bytes(dst, s.remote.Addr().AsSlice())
			return nil
		})
		t.Nested(ctaTupleProto, func(p *netlink.AttributeEncoder) error {
			p.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
			p.Uint16(ctaProtoSrcPort, s.port)
			p.Uint16(ctaProtoDstPort, s.remote.Port())
			return nil
		})
		return nil
	})
	data, err := ae.Encode()
	return append(nfgenmsg(addressFamily(family), 0), data...), err
}

// addressIn decodes an address in a socket's id. An IPv4-mapped IPv6 address is
// returned as IPv4.
func addressIn(family byte, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16])).Unmap()
}
