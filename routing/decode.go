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

// The decoders below read the messages of a kernel dump. We do not use those of the
// library, since they panic on attributes that are too short, do not return the
// action of a rule, and decode every route completely before the caller can
// discard it: with 10,000 foreign routes that would take longer than all of our
// work.

// errMalformed is the cause wherever a message violates rtnetlink(7).
var errMalformed = errors.New("malformed message from the kernel")

// header is struct rtmsg. The struct fib_rule_hdr of rules has the same layout, with
// the action of the rule in place of kind.
type header struct {
	family, dstLen, srcLen, tos, table, protocol, scope, kind uint8
	flags                                                     uint32
}

const headerLen = unix.SizeofRtMsg

func decodeHeader(b []byte) (header, error) {
	if len(b) < headerLen {
		return header{}, fmt.Errorf("%w: header of %d bytes", errMalformed, len(b))
	}
	return header{b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], binary.NativeEndian.Uint32(b[8:])}, nil
}

// familyOf returns the family of AF_INET or AF_INET6, false for any other.
func familyOf(af uint8) (failover.Family, bool) {
	switch af {
	case unix.AF_INET:
		return failover.IPv4, true
	case unix.AF_INET6:
		return failover.IPv6, true
	}
	return 0, false
}

func afOf(f failover.Family) uint8 {
	if f == failover.IPv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// eachAttr calls fn with each attribute's type and value.
func eachAttr(b []byte, fn func(kind uint16, value []byte) error) error {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return fmt.Errorf("%w: attribute of %d bytes in %d", errMalformed, n, len(b))
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := fn(kind, b[unix.SizeofRtAttr:n]); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func decodeUint32(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: number of %d bytes", errMalformed, len(b))
	}
	return binary.NativeEndian.Uint32(b), nil
}

func decodeAddr(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%w: address of %d bytes", errMalformed, len(b))
	}
	return a, nil
}

func decodePrefix(b []byte, bits uint8) (netip.Prefix, error) {
	a, err := decodeAddr(b)
	if err != nil {
		return netip.Prefix{}, err
	}
	p := netip.PrefixFrom(a, int(bits))
	if !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%w: prefix %s/%d", errMalformed, a, bits)
	}
	return p, nil
}

// decodeRoute reads an RTM_NEWROUTE. ok is false for what is not a route in a table:
// an entry of a cache, or a message of another family.
func decodeRoute(b []byte) (r Route, ok bool, err error) {
	h, err := decodeHeader(b)
	if err != nil {
		return Route{}, false, err
	}
	f, known := familyOf(h.family)
	if !known || h.flags&unix.RTM_F_CLONED != 0 {
		return Route{}, false, nil
	}
	d := routeDecoder{header: h}
	d.route = Route{
		Slot:     Slot{Family: f, Table: int(h.table), Dst: anywhere(f), TOS: h.tos},
		Protocol: h.protocol,
		Type:     Type(h.kind),
	}
	d.single = Hop{OnLink: h.flags&unix.RTNH_F_ONLINK != 0, Weight: 1}
	if err := eachAttr(b[headerLen:], d.attr); err != nil {
		return Route{}, false, err
	}
	return d.done(), true, nil
}

type routeDecoder struct {
	header header
	route  Route
	single Hop
}

func (d *routeDecoder) attr(kind uint16, value []byte) (err error) {
	var n uint32
	switch kind {
	case unix.RTA_DST:
		d.route.Dst, err = decodePrefix(value, d.header.dstLen)
	case unix.RTA_SRC:
		d.route.Src, err = decodePrefix(value, d.header.srcLen)
	case unix.RTA_TABLE:
		n, err = decodeUint32(value)
		d.route.Table = int(n)
	case unix.RTA_PRIORITY:
		d.route.Metric, err = decodeUint32(value)
	case unix.RTA_MULTIPATH:
		d.route.Hops, err = decodeHops(value)
	case rtaNHID:
		d.route.object, err = decodeUint32(value)
	case unix.RTA_METRICS:
		err = decodeMetrics(value, &d.route.Shape)
	case unix.RTA_PREFSRC:
		d.route.Shape.Source, err = decodeAddr(value)
	default:
		err = d.single.attr(kind, value)
	}
	return err
}

// done returns the route with its hops; the single hop of a route without
// RTA_MULTIPATH becomes a list of one. The kernel sends a device for unreachable
// routes too, where it has no meaning.
func (d *routeDecoder) done() Route {
	switch {
	case d.route.Type != Unicast:
		d.route.Hops = nil
	case len(d.route.Hops) == 0:
		d.route.Hops = []Hop{d.single}
	}
	return d.route
}

func (h *Hop) attr(kind uint16, value []byte) (err error) {
	var n uint32
	switch kind {
	case unix.RTA_OIF:
		n, err = decodeUint32(value)
		h.Index = int(n)
	case unix.RTA_GATEWAY:
		h.Gateway, err = decodeAddr(value)
	case unix.RTA_VIA: // struct rtvia: the family, then the address
		if len(value) < 2 {
			return fmt.Errorf("%w: gateway of %d bytes", errMalformed, len(value))
		}
		h.Gateway, err = decodeAddr(value[2:])
	case unix.RTA_FLOW:
		h.Realm, err = decodeUint32(value)
	case unix.RTA_ENCAP_TYPE:
		if len(value) != 2 {
			return fmt.Errorf("%w: type of an encapsulation of %d bytes", errMalformed, len(value))
		}
		h.Encap.Type = binary.NativeEndian.Uint16(value)
	case unix.RTA_ENCAP:
		h.Encap.Data = string(value)
	}
	return err
}

// decodeHops reads RTA_MULTIPATH, a list of struct rtnexthop.
func decodeHops(b []byte) ([]Hop, error) {
	var hops []Hop
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, fmt.Errorf("%w: hop of %d bytes", errMalformed, len(b))
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, fmt.Errorf("%w: hop of %d bytes in %d", errMalformed, n, len(b))
		}
		h := Hop{
			OnLink: b[2]&unix.RTNH_F_ONLINK != 0,
			Weight: int(b[3]) + 1,
			Index:  int(int32(binary.NativeEndian.Uint32(b[4:]))),
		}
		if err := eachAttr(b[unix.SizeofRtNexthop:n], h.attr); err != nil {
			return nil, err
		}
		hops = append(hops, h)
		b = b[min((n+3)&^3, len(b)):]
	}
	return hops, nil
}

// decodeRule reads an RTM_NEWRULE. ok is false for rules of other protocols.
func decodeRule(b []byte) (r Rule, ok bool, err error) {
	d, known, err := openRule(b)
	if err != nil || !known {
		return Rule{}, false, err
	}
	r = d.done()
	if d.selects && !r.Unreachable || r.Goto != 0 {
		selector, err := selectorOf(b)
		r = Rule{
			Family: r.Family, Priority: r.Priority, Selector: selector, Goto: r.Goto, Table: r.Table, Suppress: r.Suppress,
			SuppressGroup: r.SuppressGroup, Other: d.strange,
		}
		if err != nil {
			return Rule{}, false, err
		}
	}
	return r, d.protocol == lane.Protocol, nil
}

// openRule reads the parts of an RTM_NEWRULE. known is false for families other than
// ours.
func openRule(b []byte) (d ruleDecoder, known bool, err error) {
	h, err := decodeHeader(b)
	if err != nil {
		return ruleDecoder{}, false, err
	}
	f, known := familyOf(h.family)
	if !known {
		return ruleDecoder{}, false, nil
	}
	d = ruleDecoder{header: h, rule: Rule{Family: f, Table: int(h.table), Suppress: -1}}
	err = eachAttr(b[headerLen:], d.attr)
	return d, true, err
}

type ruleDecoder struct {
	header   header
	rule     Rule
	protocol uint8
	// selects: the rule matches by what other rules of ours do not; strange: it has
	// a part that none of ours has.
	selects, strange bool
}

func (d *ruleDecoder) attr(kind uint16, value []byte) (err error) {
	var n uint32
	switch kind {
	case nl.FRA_PRIORITY:
		d.rule.Priority, err = decodeUint32(value)
	case nl.FRA_SRC:
		d.rule.From, err = decodePrefix(value, d.header.srcLen)
	case nl.FRA_FWMARK:
		d.rule.Mark, err = decodeUint32(value)
	case nl.FRA_FWMASK:
		d.rule.Mask, err = decodeUint32(value)
	case nl.FRA_OIFNAME:
		d.rule.OIF = unix.ByteSliceToString(value)
	case nl.FRA_GOTO:
		d.rule.Goto, err = decodeUint32(value)
	case nl.FRA_TABLE:
		n, err = decodeUint32(value)
		d.rule.Table = int(n)
	case nl.FRA_SUPPRESS_PREFIXLEN:
		n, err = decodeUint32(value)
		d.rule.Suppress = int(int32(n))
	case nl.FRA_SUPPRESS_IFGROUP:
		n, err = decodeUint32(value)
		if n != fullMask {
			d.rule.SuppressGroup = n + 1
		}
	case nl.FRA_PROTOCOL:
		if len(value) != 1 {
			return fmt.Errorf("%w: protocol of %d bytes", errMalformed, len(value))
		}
		d.protocol = value[0]
	case nl.FRA_FLOW:
		d.strange = true
	case nl.FRA_IIFNAME, nl.FRA_TUN_ID, nl.FRA_L3MDEV, nl.FRA_UID_RANGE,
		nl.FRA_IP_PROTO, nl.FRA_SPORT_RANGE, nl.FRA_DPORT_RANGE:
		// The kernel sends these only where they are set. Unknown attributes are
		// ignored: a later kernel may send some with every rule, and then none of
		// our rules would compare equal.
		d.selects = true
	}
	return err
}

// done returns the rule, with what the rest of the header says of it.
func (d *ruleDecoder) done() Rule {
	h, r := d.header, d.rule
	switch h.kind {
	case nl.FR_ACT_TO_TBL:
		d.strange = d.strange || r.Goto != 0
	case nl.FR_ACT_GOTO:
		d.strange = d.strange || r.Goto == 0
	case nl.FR_ACT_UNREACHABLE:
		r.Unreachable = true
	default:
		d.strange = true
	}
	d.selects = d.selects || h.tos != 0 || h.dstLen != 0 || h.flags&ruleInvert != 0
	r.Other = d.strange || d.selects
	return r
}

// ruleInvert is FIB_RULE_INVERT: the rule applies to what does not match.
const ruleInvert = 2
