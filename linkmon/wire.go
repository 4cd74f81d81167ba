package linkmon

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// This file decodes the messages of rtnetlink (rtnetlink(7), linux/rtnetlink.h).
// Only what the watch needs is decoded, because it reads often: of a table with a
// hundred thousand routes, for instance, only the defaults become values. Each
// decoder returns false for a message that is too short for its type.

// device is a network interface.
type device struct {
	index int
	// flags are IFF_… of linux/if.h, of which IFF_LOWER_UP is the carrier.
	flags uint32
	name  string
	// altNames are further names, in the kernel's order.
	altNames []string
	// mac is the present hardware address, permMAC the permanent one.
	mac, permMAC string
	// parent is the device below a VLAN, macvlan and the like, master the bridge
	// or bond above; 0 where there is none.
	parent, master int
	// mtu is the largest packet that it carries.
	mtu int
	// kind is the kernel's word for a virtual device, such as "vlan"; empty for others.
	kind string
}

// tunnels are the kinds of devices that lead through another interface to a far end,
// as VPNs do.
var tunnels = [...]string{
	"tun", "wireguard", "amneziawg", "ovpn", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan",
	"ipip", "ip6tnl", "sit", "vti", "vti6", "xfrm", "vxlan", "geneve",
}

func (d device) tunnel() bool { return slices.Contains(tunnels[:], d.kind) }

// isPort reports whether a device belongs to a bridge, bond or team, so that what
// comes in by it is received by that one: an address elsewhere is none of its own.
func (s state) isPort(d device) bool {
	return d.master != 0 && slices.ContainsFunc(s.devices, func(m device) bool {
		return m.index == d.master && (m.kind == "bridge" || m.kind == "bond" || m.kind == "team" || m.kind == "openvswitch")
	})
}

// vrfOf returns the name of the VRF that a device, or the bridge or bond above it, belongs
// to; empty for none.
func (s state) vrfOf(d device) string {
	for range len(s.devices) { // masters make no ring, but readings may
		i := slices.IndexFunc(s.devices, func(m device) bool { return d.master != 0 && m.index == d.master })
		switch {
		case i < 0:
			return ""
		case s.devices[i].kind == "vrf":
			return s.devices[i].name
		}
		d = s.devices[i]
	}
	return ""
}

func (d device) adminUp() bool { return d.flags&unix.IFF_UP != 0 }

func (d device) carrier() bool { return d.flags&unix.IFF_LOWER_UP != 0 }

// address is one address of an interface.
type address struct {
	index  int
	prefix netip.Prefix
	scope  uint8
	// flags are IFA_F_… of linux/if_addr.h.
	flags uint32
}

// route is one default route, of any table.
type route struct {
	ipv6     bool
	table    uint32
	protocol uint8
	kind     uint8 // RTN_UNICAST and so on
	tos      uint8
	metric   uint32
	// source is the one that an IPv6 route is for, invalid for any.
	source netip.Prefix
	// preference of the router that announced it, RFC 4191: 1 high, 0 medium, 3 low.
	preference uint8
	// shape is the same for all hops, except for the realm.
	shape failover.Shape
	// object is the number of the nexthop object that the route uses; 0 for none.
	object uint32
	// unknown has the numbers of metrics that this version does not know.
	unknown []uint16
	hops    []hop
}

// hop is one next hop of a route.
type hop struct {
	index int
	// gateway is invalid where the route names none. It may be an IPv6 address in
	// an IPv4 route (RFC 5549).
	gateway netip.Addr
	// weight is the share of a route with several hops, from 1.
	weight int
	// realm of an IPv4 route, 0 for none.
	realm uint32
	// encap is the tunnel header that packets are put into (RTA_ENCAP).
	encap failover.Encap
	// unknown has the numbers of attributes that this version does not know.
	unknown []uint16
}

// neighbor is one entry of the neighbour table.
type neighbor struct {
	index int
	state uint16 // NUD_…
	ip    netip.Addr
}

// typeMask removes the nested and byte-order bits from an attribute's type.
const typeMask = 0x3fff

// attributes iterates over the attributes in b, up to the first malformed one.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) & typeMask
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			if !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(aligned(size), len(b)):]
		}
	}
}

// aligned rounds up to the four bytes of RTA_ALIGN.
func aligned(n int) int { return (n + 3) &^ 3 }

// number decodes a 32-bit attribute; 0 where it is shorter.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// text decodes a string attribute, which ends with a zero byte.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// ip decodes an address attribute; invalid where the length fits no family.
func ip(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// decodeDevice decodes the payload of RTM_NEWLINK and RTM_DELLINK. Messages of a
// bridge about its ports have the same type and are rejected.
func decodeDevice(b []byte) (device, bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return device{}, false
	}
	d := device{
		index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
		flags: binary.NativeEndian.Uint32(b[8:]),
	}
	for kind, value := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			d.name = text(value)
		case unix.IFLA_MTU:
			d.mtu = int(number(value))
		case unix.IFLA_ADDRESS:
			d.mac = string(value)
		case unix.IFLA_PERM_ADDRESS:
			d.permMAC = string(value)
		case unix.IFLA_LINK:
			d.parent = int(number(value))
		case unix.IFLA_MASTER:
			d.master = int(number(value))
		case unix.IFLA_LINKINFO:
			for kind, value := range attributes(value) {
				if kind == unix.IFLA_INFO_KIND {
					d.kind = text(value)
				}
			}
		case unix.IFLA_PROP_LIST:
			d.altNames = decodeAltNames(value)
		}
	}
	return d, true
}

func decodeAltNames(b []byte) (names []string) {
	for kind, value := range attributes(b) {
		if kind == unix.IFLA_ALT_IFNAME {
			names = append(names, text(value))
		}
	}
	return names
}

// decodeAddress decodes the payload of RTM_NEWADDR and RTM_DELADDR.
func decodeAddress(b []byte) (address, bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	a := address{
		flags: uint32(b[2]),
		scope: b[3],
		index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
	}
	var local, other netip.Addr
	for kind, value := range attributes(b[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local = ip(value)
		case unix.IFA_ADDRESS:
			other = ip(value)
		case unix.IFA_FLAGS: // all 32 bits; the header has eight of them
			a.flags = number(value)
		}
	}
	bits := int(b[1])
	switch {
	case !local.IsValid():
		local = other
	case other.IsValid() && other != local:
		bits = local.BitLen() // the length is that of the peer's network
	}
	a.prefix = netip.PrefixFrom(local, bits)
	return a, a.prefix.IsValid()
}

// routeHead is the fixed part of a route's message, with its true table.
type routeHead struct {
	family, length, sourceLength, tos, protocol, kind uint8

	table uint32
}

// decodeRouteHead decodes what decides whether a route matters.
func decodeRouteHead(b []byte) (routeHead, bool) {
	if len(b) < unix.SizeofRtMsg {
		return routeHead{}, false
	}
	h := routeHead{family: b[0], length: b[1], sourceLength: b[2], tos: b[3], table: uint32(b[4]), protocol: b[5], kind: b[7]}
	if h.family != unix.AF_INET && h.family != unix.AF_INET6 {
		return routeHead{}, false
	}
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_TABLE { // tables above 255 do not fit into the header
			h.table = number(value)
		}
	}
	return h, true
}

// decodeDefault decodes the payload of RTM_NEWROUTE. It also returns false for a
// route that is no default.
func decodeDefault(b []byte) (route, bool) {
	h, ok := decodeRouteHead(b)
	if !ok || h.length != 0 {
		return route{}, false
	}
	r := route{ipv6: h.family == unix.AF_INET6, table: h.table, protocol: h.protocol, kind: h.kind, tos: h.tos}
	single := hop{weight: 1}
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_OIF:
			single.index = int(number(value))
		case unix.RTA_PRIORITY:
			r.metric = number(value)
		case unix.RTA_SRC:
			r.source = netip.PrefixFrom(ip(value), int(h.sourceLength))
		case unix.RTA_PREFSRC:
			r.shape.Source = ip(value)
		case unix.RTA_METRICS:
			r.addMetrics(value)
		case unix.RTA_PREF:
			if len(value) > 0 {
				r.preference = value[0]
			}
		case rtaNHID:
			r.object = number(value)
		case unix.RTA_MULTIPATH:
			r.hops = decodeHops(value)
		default:
			single.add(kind, value)
		}
	}
	if single.index != 0 && len(r.hops) == 0 {
		r.hops = []hop{single}
	}
	return r, true
}

// addMetrics decodes RTA_METRICS.
func (r *route) addMetrics(b []byte) {
	for kind, value := range attributes(b) {
		switch {
		case kind == unix.RTAX_CC_ALGO:
			r.shape.Congestion = text(value)
		case int(kind) < len(r.shape.Metrics):
			r.shape.Metrics[kind] = number(value)
		default:
			r.unknown = append(r.unknown, kind)
		}
	}
}

// harmless are the attributes of a route that no packet feels, or that are decoded
// elsewhere: what kernels say of routes up to Linux 6.18.
var harmless = [...]uint16{
	unix.RTA_DST, unix.RTA_IIF, unix.RTA_CACHEINFO, unix.RTA_TABLE, unix.RTA_MFC_STATS, unix.RTA_EXPIRES, unix.RTA_PAD,
}

// add decodes an attribute that a route of one hop and each hop of several may have.
func (h *hop) add(kind uint16, value []byte) {
	switch kind {
	case unix.RTA_GATEWAY:
		h.gateway = ip(value)
	case unix.RTA_VIA:
		h.gateway = via(value)
	case unix.RTA_FLOW:
		h.realm = number(value)
	case unix.RTA_ENCAP_TYPE:
		if len(value) >= 2 {
			h.encap.Type = binary.NativeEndian.Uint16(value)
		}
	case unix.RTA_ENCAP:
		h.encap.Data = string(value)
	default:
		if !slices.Contains(harmless[:], kind) {
			h.unknown = append(h.unknown, kind)
		}
	}
}

// via decodes a next hop of another family: two bytes of family, then the address.
func via(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	return ip(b[2:])
}

// decodeHops decodes RTA_MULTIPATH: a sequence of struct rtnexthop, each with
// attributes.
func decodeHops(b []byte) (hops []hop) {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return hops
		}
		h := hop{index: int(int32(binary.NativeEndian.Uint32(b[4:]))), weight: int(b[3]) + 1}
		for kind, value := range attributes(b[unix.SizeofRtNexthop:size]) {
			h.add(kind, value)
		}
		hops = append(hops, h)
		b = b[min(aligned(size), len(b)):]
	}
	return hops
}

// decodeNeighbor decodes the payload of RTM_NEWNEIGH.
func decodeNeighbor(b []byte) (neighbor, bool) {
	if len(b) < unix.SizeofNdMsg || (b[0] != unix.AF_INET && b[0] != unix.AF_INET6) {
		return neighbor{}, false
	}
	n := neighbor{
		index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
		state: binary.NativeEndian.Uint16(b[8:]),
	}
	for kind, value := range attributes(b[unix.SizeofNdMsg:]) {
		if kind == unix.NDA_DST {
			n.ip = ip(value)
		}
	}
	return n, n.ip.IsValid()
}
