package routing

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Do makes one change. It is no error if the route or rule to delete is gone. EEXIST
// for an added route is an error: another program uses the slot. A rule that exists is
// added once more, and the next plan deletes it.
func (k *Netlink) Do(op Op) error {
	switch op.Action {
	case ReplaceRoute:
		return k.changeRoute(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, op.Route)
	case AddRoute:
		return k.changeRoute(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, op.Route)
	case DeleteRoute:
		return unless(k.changeRoute(unix.RTM_DELROUTE, 0, op.Route), unix.ESRCH)
	case AddRule:
		// Not exclusively: the kernel takes a rule for another one that matches more, or
		// that is the inverse of it, and would refuse to add it.
		return k.changeRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE, op.Rule)
	case DeleteRule:
		return unless(k.changeRule(unix.RTM_DELRULE, 0, op.Rule), unix.ENOENT)
	}
	panic(fmt.Sprintf("routing: unknown action %d", op.Action))
}

// unless returns err, or nil if it is the harmless one.
func unless(err error, harmless unix.Errno) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// changeRoute sends one message about a route. It is encoded here, since the library
// knows too few of a route's metrics.
func (k *Netlink) changeRoute(kind, flags int, r Route) error {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: k.changes}
	req.AddRawData(encodeRoute(r, kind == unix.RTM_DELROUTE))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// changeRule sends one message about a rule. It is encoded here: a [Selector] may be
// another program's, and the library leaves out what a rule suppresses where its table is
// above 255, so that it would take all traffic.
func (k *Netlink) changeRule(kind, flags int, r Rule) error {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: k.changes}
	req.AddRawData(encodeRule(r))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// encodeRule returns the payload of RTM_NEWRULE or RTM_DELRULE.
func encodeRule(r Rule) []byte {
	s := r.Selector
	if len(s) < selectorHead {
		s = Selector([]byte{0, 0, 0, byte(max(r.From.Bits(), 0))})
	}
	action := byte(nl.FR_ACT_TO_TBL)
	switch {
	case r.Other: // priority and protocol identify it; the rest is not known
		action = nl.FR_ACT_UNSPEC
	case r.Goto != 0:
		action = nl.FR_ACT_GOTO
	case r.Unreachable:
		action = nl.FR_ACT_UNREACHABLE
	}
	b := []byte{afOf(r.Family), s[2], s[3], s[0], unix.RT_TABLE_UNSPEC, 0, 0, action}
	b = binary.NativeEndian.AppendUint32(b, uint32(s[1]))
	b = append(b, s[selectorHead:]...)
	number := func(kind uint16, n uint32) { b = appendAttr(b, kind, binary.NativeEndian.AppendUint32(nil, n)) }
	number(nl.FRA_PRIORITY, r.Priority)
	b = appendAttr(b, nl.FRA_PROTOCOL, []byte{lane.Protocol})
	if r.From.IsValid() {
		b = appendAttr(b, nl.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Mask != 0 {
		number(nl.FRA_FWMARK, r.Mark)
		number(nl.FRA_FWMASK, r.Mask)
	}
	if r.OIF != "" {
		b = appendAttr(b, nl.FRA_OIFNAME, append([]byte(r.OIF), 0))
	}
	if action == nl.FR_ACT_GOTO {
		number(nl.FRA_GOTO, r.Goto)
	}
	if r.Table != 0 {
		number(nl.FRA_TABLE, uint32(r.Table))
	}
	if action != nl.FR_ACT_TO_TBL {
		return b
	}
	if r.Suppress >= 0 {
		number(nl.FRA_SUPPRESS_PREFIXLEN, uint32(r.Suppress))
	}
	if r.SuppressGroup != 0 {
		number(nl.FRA_SUPPRESS_IFGROUP, r.SuppressGroup-1)
	}
	return b
}

// encodeRoute returns the payload of RTM_NEWROUTE or, to be deleted, RTM_DELROUTE. What
// a route is deleted by is its slot and its hops.
func encodeRoute(r Route, deleted bool) []byte {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	switch {
	case deleted:
		scope = unix.RT_SCOPE_NOWHERE // any
	case r.Family == failover.IPv4 && len(r.Hops) == 1 && !r.Hops[0].Gateway.IsValid():
		scope = unix.RT_SCOPE_LINK
	}
	b := []byte{afOf(r.Family), byte(r.Dst.Bits()), byte(max(r.Src.Bits(), 0)), r.TOS, unix.RT_TABLE_UNSPEC, r.Protocol, scope, byte(r.Type)}
	var flags uint32
	if len(r.Hops) == 1 && r.Hops[0].OnLink {
		flags = unix.RTNH_F_ONLINK
	}
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = appendAttr(b, unix.RTA_DST, r.Dst.Addr().AsSlice())
	if r.Src.IsValid() {
		b = appendAttr(b, unix.RTA_SRC, r.Src.Addr().AsSlice())
	}
	b = appendAttr(b, unix.RTA_TABLE, binary.NativeEndian.AppendUint32(nil, uint32(r.Table)))
	if r.Metric != 0 {
		b = appendAttr(b, unix.RTA_PRIORITY, binary.NativeEndian.AppendUint32(nil, r.Metric))
	}
	switch len(r.Hops) {
	case 0:
	case 1:
		b = appendAttr(b, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(r.Hops[0].Index)))
		b = append(b, r.Hops[0].attrs(r.Family)...)
	default:
		b = appendAttr(b, unix.RTA_MULTIPATH, encodeHops(r.Family, r.Hops))
	}
	if deleted {
		return b
	}
	if r.Shape.Source.IsValid() {
		b = appendAttr(b, unix.RTA_PREFSRC, r.Shape.Source.AsSlice())
	}
	return appendMetrics(b, r.Shape)
}

// attrs are a hop's attributes beside the device.
func (h Hop) attrs(f failover.Family) (b []byte) {
	switch {
	case !h.Gateway.IsValid():
	case h.Gateway.Is6() && f == failover.IPv4: // struct rtvia
		via := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
		b = appendAttr(b, unix.RTA_VIA, append(via, h.Gateway.AsSlice()...))
	default:
		b = appendAttr(b, unix.RTA_GATEWAY, h.Gateway.AsSlice())
	}
	if h.Realm != 0 {
		b = appendAttr(b, unix.RTA_FLOW, binary.NativeEndian.AppendUint32(nil, h.Realm))
	}
	if h.Encap.Type != 0 {
		b = appendAttr(b, unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, h.Encap.Type))
		b = appendAttr(b, unix.RTA_ENCAP|unix.NLA_F_NESTED, []byte(h.Encap.Data))
	}
	return b
}

// encodeHops returns the value of RTA_MULTIPATH, a sequence of struct rtnexthop.
func encodeHops(f failover.Family, hops []Hop) (b []byte) {
	for _, h := range hops {
		var flags byte
		if h.OnLink {
			flags = unix.RTNH_F_ONLINK
		}
		attrs := h.attrs(f)
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtNexthop+len(attrs)))
		b = append(b, flags, byte(h.Weight-1))
		b = binary.NativeEndian.AppendUint32(b, uint32(h.Index))
		b = append(b, attrs...)
	}
	return b
}
