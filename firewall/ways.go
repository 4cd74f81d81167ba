package firewall

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// way is where the kernel sends packets: by a device, for a destination network.
type way struct {
	index int // 0 where it sends them nowhere
	// to is the destination of the route; everything, for a default route.
	to netip.Prefix
	// local: to is this machine's own address, or a network of such, on the device holder.
	local  bool
	holder int
	table  uint32
	ours   bool // the route is one of Swerve's
}

func (w way) known() bool { return w.index != 0 && w.to.IsValid() }

// inner reports whether what is there can be one of ours: this machine, or a network
// with a route of its own.
func (w way) inner() bool { return w.local || w.known() && w.to.Bits() > 0 }

// Bounds of the ways that are asked for: those that are remembered, and those that
// are asked at all. What is beyond is unknown; a pass over the flows of a busy
// machine must end.
const (
	waysKept  = 4096
	waysAsked = 32768
)

// ways asks the kernel by which ways it sends packets, and remembers the answers.
type ways struct {
	handle  *rtnl.Handle
	socket  *nl.SocketHandle  // for questions
	uplinks map[int]lane.Lane // by the index of their devices
	known   map[question]way
	asked   *int
	// marks are those that rules of others match; ports: there are rules that match
	// protocols or ports.
	marks []uint32
	ports bool
	// proxies are the rules for transparent proxies, read when they are needed.
	proxies *[]proxy
}

// mostMarks bounds the marks that are tried.
const mostMarks = 16

// question is what a way depends on: where a packet goes and, for a forwarded one,
// where it comes from; its protocol and ports where rules match them, and its mark. out is
// the device that the packet's socket is bound to.
type question struct {
	to, from netip.Addr
	device   int
	out      int
	protocol byte
	ports    [2]uint16
	mark     uint32
}

func newWays(g Goal) (ways, error) {
	h, err := rtnl.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return ways{}, fmt.Errorf("open netlink: %w", err)
	}
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group: a plain socket
	if err != nil {
		h.Close()
		return ways{}, fmt.Errorf("open netlink: %w", err)
	}
	timeout := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	if err := socket.SetReceiveTimeout(&timeout); err != nil {
		h.Close()
		socket.Close()
		return ways{}, fmt.Errorf("open netlink: %w", err)
	}
	w := ways{handle: h, socket: &nl.SocketHandle{Socket: socket}, uplinks: map[int]lane.Lane{}, known: map[question]way{}, asked: new(int), proxies: new([]proxy)}
	for _, u := range g.sorted().Uplinks {
		if u.Interface == "" {
			continue
		}
		if link, err := h.LinkByName(u.Interface); err == nil { // an absent device carries nothing
			w.uplinks[link.Attrs().Index] = u.Lane
		}
	}
	rules, err := h.RuleList(rtnl.FAMILY_ALL)
	if err != nil {
		return w, nil // without the rules of others no mark and no port matters
	}
	for _, r := range rules {
		if r.Protocol == lane.Protocol {
			continue
		}
		w.ports = w.ports || r.IPProto != 0 || r.Sport != nil || r.Dport != nil
		if r.Mark&^g.Layout.MarkMask != 0 && len(w.marks) < mostMarks && !slices.Contains(w.marks, r.Mark) {
			w.marks = append(w.marks, r.Mark)
		}
	}
	return w, nil
}

func (w ways) close() {
	w.handle.Close()
	w.socket.Socket.Close()
}

// plain returns the way of packets to an address.
func (w ways) plain(to netip.Addr) way { return w.ask(question{to: to}) }

// of returns the way of a flow's packets that come in by a device, or from this
// machine for none, those of its original direction or those of the other one. sure reports whether it is the same
// with any mark that a rule of another program matches.
func (w ways) of(f flow, source netip.Addr, device int, to netip.Addr) (found way, sure bool) {
	q := question{to: to, from: source, device: device}
	if w.ports {
		q.protocol, q.ports = f.protocol, f.ports
		if !slices.Contains([]byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}, q.protocol) {
			q.protocol = icmpOf(f.family) // the kernel takes no others, and UDP for none
		}
		if source != f.src {
			q.ports = [2]uint16{f.ports[1], f.ports[0]}
		}
	}
	found, sure = w.ask(q), true
	for _, q.mark = range w.marks {
		sure = sure && w.ask(q).index == found.index
	}
	return found, sure
}

func (w ways) ask(q question) way {
	if answer, ok := w.known[q]; ok {
		return answer
	}
	if *w.asked == waysAsked {
		return way{}
	}
	*w.asked++
	if len(w.known) == waysKept {
		clear(w.known)
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: w.socket}
	q.in(req)
	var answer way
	if messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE); err == nil && len(messages) > 0 {
		answer = wayOf(messages[0], q.to)
	}
	w.known[q] = answer
	return answer
}

// in adds the question to a request. The library's own knows no protocols and ports.
func (q question) in(req *nl.NetlinkRequest) {
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Dst_len: uint8(q.to.BitLen()), Flags: fibMatch | unix.RTM_F_LOOKUP_TABLE}}
	if q.to.Is4() {
		head.Family = unix.AF_INET
	}
	req.AddData(head)
	add := func(kind int, value []byte) { req.AddData(nl.NewRtAttr(kind, value)) }
	number := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	add(unix.RTA_DST, q.to.AsSlice())
	if q.from.IsValid() {
		head.Src_len = uint8(q.from.BitLen())
		add(unix.RTA_SRC, q.from.AsSlice())
	}
	if q.device != 0 {
		add(unix.RTA_IIF, number(uint32(q.device)))
	}
	if q.out != 0 {
		add(unix.RTA_OIF, number(uint32(q.out)))
	}
	if q.mark != 0 {
		add(unix.RTA_MARK, number(q.mark))
	}
	switch q.protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		add(rtaSport, binary.BigEndian.AppendUint16(nil, q.ports[0]))
		add(rtaDport, binary.BigEndian.AppendUint16(nil, q.ports[1]))
		fallthrough
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		add(rtaIPProto, []byte{q.protocol})
	}
}

// ownNetworks returns the public networks of which every address is this machine's: local
// routes that somebody has added, for sockets that bind to any address there.
func (w ways) ownNetworks() (out []netip.Prefix) {
	for _, family := range []int{rtnl.FAMILY_V4, rtnl.FAMILY_V6} {
		local := &rtnl.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
		routes, err := w.handle.RouteListFiltered(family, local, rtnl.RT_FILTER_TABLE|rtnl.RT_FILTER_TYPE)
		if err != nil {
			continue // without the family
		}
		for _, r := range routes {
			p, ok := prefixOf(r.Dst)
			if ok && p.Bits() > 1 && !p.IsSingleIP() && failover.IsPublic(p.Addr()) && len(out) < MostNative {
				out = append(out, p)
			}
		}
	}
	return out
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}

func icmpOf(f failover.Family) byte {
	if f == failover.IPv6 {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

// Attributes and a flag of linux/rtnetlink.h.
const (
	rtaIPProto, rtaSport, rtaDport = 27, 28, 29

	fibMatch = 0x2000 // RTM_F_FIB_MATCH
)

// wayOf reads the message of the route that matched an address. One without a length
// is a default route.
func wayOf(b []byte, to netip.Addr) way {
	if len(b) < unix.SizeofRtMsg || b[7] != unix.RTN_UNICAST && b[7] != unix.RTN_LOCAL {
		return way{to: netip.PrefixFrom(to, 0).Masked()}
	}
	out := way{
		to: netip.PrefixFrom(to, int(b[1])).Masked(), local: b[7] == unix.RTN_LOCAL,
		table: uint32(b[4]), ours: b[5] == lane.Protocol,
	}
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtMsg:])
	if err != nil {
		return way{}
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4:
			out.index = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) == 4:
			out.table = binary.NativeEndian.Uint32(a.Value)
		case a.Attr.Type == unix.RTA_MULTIPATH && len(a.Value) >= unix.SizeofRtNexthop:
			out.index = int(binary.NativeEndian.Uint32(a.Value[4:])) // of the first hop
		}
	}
	if out.local {
		out.index, out.holder = 0, out.index
	}
	return out
}
