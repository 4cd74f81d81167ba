package firewall

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// The helpers of this file read like the text that they produce. Every match loads
// a value into register 1 and compares it there. Marks, states and interface names
// are in the machine's byte order; fields of packets are big-endian.

// field is a value of a packet or its flow; those that are compared have 32 bits.
type field struct {
	text string
	load []expr.Any
}

// ctMark is the flow's mark under a mask, packetMark that of the packet.
func ctMark(mask uint32) field {
	return field{
		text: fmt.Sprintf("ct mark & 0x%08x", mask),
		load: []expr.Any{&expr.Ct{Register: 1, Key: expr.CtKeyMARK}, masked(mask)},
	}
}

func packetMark(mask uint32) field {
	return field{
		text: fmt.Sprintf("meta mark & 0x%08x", mask),
		load: []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, masked(mask)},
	}
}

func (f field) is(value uint32) piece {
	return f.compare(fmt.Sprintf("== 0x%08x", value), expr.CmpOpEq, value)
}

func (f field) isNot(value uint32) piece {
	return f.compare(fmt.Sprintf("!= 0x%08x", value), expr.CmpOpNeq, value)
}

func (f field) compare(text string, op expr.CmpOp, value uint32) piece {
	return piece{
		text:  f.text + " " + text,
		exprs: append(slices.Clone(f.load), &expr.Cmp{Op: op, Register: 1, Data: native32(value)}),
	}
}

// vmap applies the verdict that the named map has for the value, if any.
func (f field) vmap(name string) piece {
	return piece{
		text: f.text + " vmap @" + name,
		exprs: append(slices.Clone(f.load),
			&expr.Lookup{SourceRegister: 1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: name}),
	}
}

func masked(mask uint32) expr.Any { return bitwise(mask, 0) }

// bitwise is (register & mask) ^ xor.
func bitwise(mask, xor uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(mask), Xor: native32(xor)}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// markOf returns the mark of a map's key.
func markOf(key string) (mark uint32, ok bool) {
	if len(key) != 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32([]byte(key)), true
}

// nfproto matches packets of a family.
func nfproto(f failover.Family) piece {
	number := [2]byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}[f]
	return piece{text: "meta nfproto " + f.String(), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}}
}

// whereFamilies matches the families that are set; ok is false where none is.
func whereFamilies(set [2]bool) (p piece, ok bool) {
	switch {
	case set[failover.IPv4] && set[failover.IPv6]:
		return piece{}, true // matches everything, without text
	case set[failover.IPv4]:
		return nfproto(failover.IPv4), true
	case set[failover.IPv6]:
		return nfproto(failover.IPv6), true
	}
	return piece{}, false
}

// arrivesVmap and leavesVmap apply the verdict that the named map has for the device
// by which the packet came in, or leaves.
func arrivesVmap(name string) piece {
	return field{"iifname", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}}.vmap(name)
}

func leavesVmap(name string) piece {
	return field{"oifname", []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}}.vmap(name)
}

// arrivesBy matches packets that come in by a device.
func arrivesBy(device string) piece {
	return piece{text: fmt.Sprintf("iifname %q", device), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(device)},
	}}
}

// leavesBy matches packets that leave by a device.
func leavesBy(device string) piece {
	return piece{text: fmt.Sprintf("oifname %q", device), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(device)},
	}}
}

// ifname returns an interface name as a key: padded with zeros to its full length.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// The state of a flow, as conntrack sees this packet.
var (
	ctStateNew         = ctBits("ct state new", expr.CtKeySTATE, expr.CtStateBitNEW, expr.CmpOpNeq)
	ctStateEstablished = ctBits("ct state established", expr.CtKeySTATE, expr.CtStateBitESTABLISHED, expr.CmpOpNeq)
	ctStateRelated     = ctBits("ct state related", expr.CtKeySTATE, expr.CtStateBitRELATED, expr.CmpOpNeq)
	ctStateInvalid     = ctBits("ct state invalid", expr.CtKeySTATE, expr.CtStateBitINVALID, expr.CmpOpNeq)
	// IPS_SRC_NAT: the flow's source was rewritten.
	// ctLasts matches entries that do not end in a moment, as that of a connection does that
	// was reset, in ten seconds.
	ctLasts = piece{text: "ct expiration > 10s", exprs: []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeyEXPIRATION},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpGt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, 10_000)},
	}}
	// IPS_CONFIRMED: not the flow's first packet.
	ctStatusFirst  = ctBits("ct status ! confirmed", expr.CtKeySTATUS, 1<<3, expr.CmpOpEq)
	ctStatusSNAT   = ctBits("ct status snat", expr.CtKeySTATUS, 1<<4, expr.CmpOpNeq)
	ctStatusDNAT   = ctBits("ct status dnat", expr.CtKeySTATUS, 1<<5, expr.CmpOpNeq)
	ctStatusNoSNAT = ctBits("ct status ! snat", expr.CtKeySTATUS, 1<<4, expr.CmpOpEq)
	// The first packet of a flow, until all hooks have let it pass.
	ctStatusUnconfirmed = ctBits("ct status ! confirmed", expr.CtKeySTATUS, 1<<3, expr.CmpOpEq)

	ctOriginal = ctDirection("original", 0)
	ctReply    = ctDirection("reply", 1)
)

func ctBits(text string, key expr.CtKey, bits uint32, op expr.CmpOp) piece {
	return piece{text: text, exprs: []expr.Any{
		&expr.Ct{Register: 1, Key: key}, masked(bits), &expr.Cmp{Op: op, Register: 1, Data: native32(0)},
	}}
}

func ctDirection(text string, value byte) piece {
	return piece{text: "ct direction " + text, exprs: []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeyDIRECTION},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}},
	}}
}

// Bits of a TCP segment's flags.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

var (
	// Packets with any mark at all.
	anyPacketMark = piece{text: "meta mark != 0x00000000", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native32(0)},
	}}
	// Packets that did not come in by a device: this machine's own.
	ownPacket = piece{text: "iif 0", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native32(0)},
	}}
	tcp    = protocol("meta l4proto tcp", expr.CmpOpEq, unix.IPPROTO_TCP)
	notTCP = protocol("meta l4proto != tcp", expr.CmpOpNeq, unix.IPPROTO_TCP)
	udp    = protocol("meta l4proto udp", expr.CmpOpEq, unix.IPPROTO_UDP)
	// A segment from the middle of a flow: neither SYN nor RST.
	midFlow = tcpFlags("(syn | rst) == 0", flagSYN|flagRST, 0)
	// A segment that begins a flow.
	beginning = tcpFlags("(syn | rst) == syn", flagSYN|flagRST, flagSYN)
	// A segment that begins a connection, as its client sends it.
	begins = tcpFlags("(fin | syn | rst | ack) == syn", flagFIN|flagSYN|flagRST|flagACK, flagSYN)
	// Any other segment.
	notBegins = tcpFlagsNot("(fin | syn | rst | ack) != syn", flagFIN|flagSYN|flagRST|flagACK, flagSYN)
	// bareReset is a server's answer to a segment of a connection that it does not know.
	bareReset = tcpFlags("(rst | ack) == rst", flagRST|flagACK, flagRST)
	// Packets that IPsec has decrypted.
	decrypted = piece{text: "meta ipsec exists", exprs: []expr.Any{
		&expr.Meta{Key: metaSecpath, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
	}}
	// Echo requests, by their type (RFC 792, RFC 4443), the header's first byte.
	echoRequest4 = ofType("icmp type echo-request", unix.IPPROTO_ICMP, 8)
	echoRequest6 = ofType("icmpv6 type echo-request", unix.IPPROTO_ICMPV6, 128)
	// Echo replies.
	echoReply4 = ofType("icmp type echo-reply", unix.IPPROTO_ICMP, 0)
	echoReply6 = ofType("icmpv6 type echo-reply", unix.IPPROTO_ICMPV6, 129)
	// Packets whose source is not an address of this machine.
	foreignSource = piece{text: "fib saddr type != local", exprs: []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagSADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native32(unix.RTN_LOCAL)},
	}}
	// Packets whose destination is not an address of this machine.
	foreignDestination = piece{text: "fib daddr type != local", exprs: []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native32(unix.RTN_LOCAL)},
	}}
	// Whether the packet will still be transformed, as by IPsec.
	ipsecExists   = rtIPsec("exists", 1)
	ipsecMissing  = rtIPsec("missing", 0)
	leavesInGrace = leavesIn(graceSet)
	leavesOnHold  = leavesIn(holdSet)
	arrivesLapsed = arrivesIn(lapsedSet)
	arrivesOnHold = arrivesIn(holdSet)
)

// arrivesIn matches packets that come in by a device in a set.
func arrivesIn(set string) piece {
	return piece{text: "iifname @" + set, exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: set},
	}}
}

// leavesIn matches packets that leave by a device in a set.
func leavesIn(set string) piece {
	return piece{text: "oifname @" + set, exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: set},
	}}
}

func protocol(text string, op expr.CmpOp, number byte) piece {
	return piece{text: text, exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{number}},
	}}
}

// tcpFlags matches a value of some flags, which are in byte 13 of the
// header, RFC 9293. TCP must have been matched before.
func tcpFlags(text string, mask, value byte) piece {
	return piece{text: "tcp flags & " + text, exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}},
	}}
}

// tcpFlagsNot matches any other value of them.
func tcpFlagsNot(text string, mask, value byte) piece {
	p := tcpFlags(text, mask, value)
	p.exprs[len(p.exprs)-1] = &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{value}}
	return p
}

// ofType matches messages of a kind of ICMP by their type.
func ofType(text string, protocol, number byte) piece {
	return piece{text: text, exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}}
}

func rtIPsec(text string, value byte) piece {
	const rtXFRM = 4 // NFT_RT_XFRM, linux/netfilter/nf_tables.h
	return piece{text: "rt ipsec " + text, exprs: []expr.Any{
		&expr.Rt{Register: 1, Key: rtXFRM},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}},
	}}
}

// metaSecpath is NFT_META_SECPATH, linux/netfilter/nf_tables.h.
const metaSecpath expr.MetaKey = 25
