package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Question is a packet whose way the kernel is asked for.
type Question struct {
	To netip.Addr
	// From is its source; invalid where the kernel is to choose it.
	From netip.Addr
	// In is the index of the device by which it comes in, 0 for one of this machine's own;
	// Out that of the device that its socket is bound to, or 0.
	In, Out int
	Mark    uint32
	// Protocol and Ports (source, destination) are used only where rules match them; 0
	// where unknown.
	Protocol uint8
	Ports    [2]uint16
	// DSCP is the packet's code point, RFC 2474.
	DSCP uint8
}

// Way is where the kernel sends a packet.
type Way struct {
	// Device is the index of the device that it leaves by; 0 where it is for this machine.
	Device  int
	Gateway netip.Addr
	// Source is the one that the kernel would choose.
	Source netip.Addr
	// To is the destination of the route that decides, in Table, with Metric; Ours: it is
	// one of Swerve's.
	To     netip.Prefix
	Table  int
	Metric uint32
	Ours   bool
	// Local: it is for this machine itself.
	Local bool
	// Refused is the error with which the kernel answers its sender, nil if it goes
	// somewhere: no route, or one that says so.
	Refused error
}

// Attributes and a flag of linux/rtnetlink.h.
const (
	rtaIPProto, rtaSport, rtaDport = 27, 28, 29
	fibMatch                       = 0x2000 // RTM_F_FIB_MATCH
)

// Lookup asks the kernel of the calling thread's namespace for the way of a packet, as
// ip route get does. An error means that it could not be asked, or that the question
// makes no sense to it: a packet that it would drop for its source, such as by reverse
// path filtering, is one too.
func Lookup(q Question) (Way, error) {
	answer, err := ask(q, 0)
	var w Way
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES):
		w.Refused = err
		return w, nil
	case err != nil:
		return w, fmt.Errorf("routing: look up the way to %s: %w", q.To, err)
	}
	if w, err = wayOf(answer); err != nil {
		return w, fmt.Errorf("routing: look up the way to %s: %w", q.To, err)
	}
	// Which route that is, the kernel says only where it is asked for it.
	if matched, err := ask(q, fibMatch); err == nil {
		if r, ok, err := decodeRoute(matched); err == nil && ok {
			w.To, w.Table, w.Metric, w.Ours = r.Dst, r.Table, r.Metric, r.Protocol == lane.Protocol
		}
	}
	return w, nil
}

// ask sends one question.
func ask(q Question, flags uint32) ([]byte, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Dst_len: uint8(q.To.BitLen()), Tos: q.DSCP << 2, Flags: flags | unix.RTM_F_LOOKUP_TABLE}}
	if failover.FamilyOf(q.To) == failover.IPv4 {
		head.Family = unix.AF_INET
	}
	if q.From.IsValid() {
		head.Src_len = uint8(q.From.BitLen())
	}
	req.AddData(head)
	add := func(kind int, value []byte) { req.AddData(nl.NewRtAttr(kind, value)) }
	number := func(kind int, n uint32) {
		if n != 0 {
			add(kind, binary.NativeEndian.AppendUint32(nil, n))
		}
	}
	add(unix.RTA_DST, q.To.AsSlice())
	if q.From.IsValid() {
		add(unix.RTA_SRC, q.From.AsSlice())
	}
	number(unix.RTA_IIF, uint32(q.In))
	number(unix.RTA_OIF, uint32(q.Out))
	number(unix.RTA_MARK, q.Mark)
	switch q.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		if q.Ports[0] != 0 {
			add(rtaSport, binary.BigEndian.AppendUint16(nil, q.Ports[0]))
		}
		if q.Ports[1] != 0 {
			add(rtaDport, binary.BigEndian.AppendUint16(nil, q.Ports[1]))
		}
		add(rtaIPProto, []byte{q.Protocol})
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6: // the kernel takes no others
		add(rtaIPProto, []byte{q.Protocol})
	}
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errors.New("the kernel does not answer")
	}
	return messages[0], nil
}

// wayOf reads the answer to a question.
func wayOf(b []byte) (Way, error) {
	if len(b) < unix.SizeofRtMsg {
		return Way{}, errors.New("the answer is too short")
	}
	var w Way
	w.Local = b[7] == unix.RTN_LOCAL
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtMsg:])
	if err != nil {
		return w, err
	}
	address := func(v []byte) netip.Addr {
		a, _ := netip.AddrFromSlice(v)
		return a
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4 && !w.Local:
			w.Device = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_GATEWAY:
			w.Gateway = address(a.Value)
		case a.Attr.Type == unix.RTA_VIA && len(a.Value) > 2:
			w.Gateway = address(a.Value[2:])
		case a.Attr.Type == unix.RTA_PREFSRC:
			w.Source = address(a.Value)
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) == 4:
			w.Table = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	switch b[7] {
	case unix.RTN_BLACKHOLE:
		w.Refused = unix.EINVAL
	case unix.RTN_UNREACHABLE:
		w.Refused = unix.EHOSTUNREACH
	case unix.RTN_PROHIBIT:
		w.Refused = unix.EACCES
	}
	return w, nil
}
