package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// Conntrack's netlink messages, linux/netfilter/nfnetlink_conntrack.h.
const (
	ctMessageNew    = 0
	ctMessageGet    = 1
	ctMessageDelete = 2
	ctMessageCount  = 5

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoinfo  = 4
	ctaTimeout    = 7
	ctaMark       = 8
	ctaID         = 12
	ctaZone       = 18
	ctaMarkMask   = 21

	ctaStatsEntries = 1

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaIPv6Src    = 3
	ctaIPv6Dst    = 4
	ctaProtoNum   = 1
	ctaSourcePort = 2
	ctaDestPort   = 3

	ctaProtoinfoTCP      = 1
	ctaProtoinfoTCPState = 1
	ctaProtoinfoTCPFlags = 4 // of the original direction, struct nf_ct_tcp_flags

	// ctTCPLiberal is IP_CT_TCP_FLAG_BE_LIBERAL: the entry was made amid a connection.
	ctTCPLiberal = 0x08

	// Bits of an entry's status, linux/netfilter/nf_conntrack_common.h.
	ctStatusAnswered = 1 << 1 // IPS_SEEN_REPLY
	ctStatusSrcNAT   = 1 << 4
	ctStatusDstNAT   = 1 << 5
	ctStatusOffload  = 1 << 14 // a flow table forwards it; neither state nor time is told then
)

func ctHeader(kind uint16, flags netlink.HeaderFlags) netlink.Header {
	return netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | kind), Flags: netlink.Request | flags}
}

// addressFamily returns the AF_ number of a family.
func addressFamily(f failover.Family) byte { return [2]byte{unix.AF_INET, unix.AF_INET6}[f] }

// deleteByMark returns the request to delete every entry of the given families whose
// mark has this value under the mask.
//
// Wrong attributes are dangerous: with a mask without a mark, and with much else
// that it does not understand, the kernel deletes *all* entries and reports
// success. So only these two attributes are ever sent, always both, big-endian,
// and never with a value that could match flows without lanes. Version 1 in the
// header makes the kernel respect the family; AF_UNSPEC means both.
func deleteByMark(families []failover.Family, mark, mask uint32) (netlink.Message, error) {
	var family byte
	switch len(families) {
	case 0:
		return netlink.Message{}, errors.New("no family is given")
	case 1:
		family = addressFamily(families[0])
	default:
		family = unix.AF_UNSPEC
	}
	if mark == 0 || mask == 0 || mark&^mask != 0 {
		return netlink.Message{}, fmt.Errorf("mark 0x%08x under mask 0x%08x would match flows that are not ours", mark, mask)
	}
	data, err := selectMark(mark, mask)
	if err != nil {
		return netlink.Message{}, err
	}
	return netlink.Message{
		Header: ctHeader(ctMessageDelete, netlink.Acknowledge),
		Data:   append(nfgenmsg(family, 1), data...),
	}, nil
}

// selectMark returns the attributes by which the kernel lists only entries whose mark
// has this value under the mask.
func selectMark(mark, mask uint32) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Uint32(ctaMark, mark)
	ae.Uint32(ctaMarkMask, mask)
	return ae.Encode()
}

// flowCount returns the number of entries in this network namespace.
func flowCount() (n int, err error) {
	// The kernel flags its single answer as a part of several, so the
	// acknowledgement marks the end.
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMessageCount, unix.NLM_F_ACK)
	req.AddRawData(nfgenmsg(unix.AF_UNSPEC, 0))
	var undecoded error
	err = req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(answer []byte) bool {
		undecoded = eachAttribute(answer, func(ad *netlink.AttributeDecoder) {
			if ad.Type() == ctaStatsEntries {
				n = int(ad.Uint32())
			}
		})
		return true
	})
	if err = errors.Join(err, undecoded); err != nil {
		return 0, fmt.Errorf("count the entries: %w", err)
	}
	return n, nil
}

// remarkFlow returns the request to replace the bits of a mask in one entry's mark.
func remarkFlow(f flow, value, mask uint32) (netlink.Message, error) {
	return f.message(ctMessageNew, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(ctaMark, value)
		ae.Uint32(ctaMarkMask, mask)
	})
}

// deleteFlow returns the request to delete one entry, and no other that has its tuple by
// then. Without a tuple the kernel would delete all of them.
func deleteFlow(f flow) (netlink.Message, error) {
	if len(f.tuple) == 0 {
		return netlink.Message{}, errors.New("an entry without a tuple")
	}
	return f.message(ctMessageDelete, func(ae *netlink.AttributeEncoder) {
		if f.id != 0 {
			ae.Uint32(ctaID, f.id)
		}
	})
}

func (f flow) message(kind uint16, more func(*netlink.AttributeEncoder)) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Bytes(unix.NLA_F_NESTED|ctaTupleOrig, f.tuple)
	if f.zone != 0 {
		ae.Uint16(ctaZone, f.zone)
	}
	more(ae)
	data, err := ae.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	return netlink.Message{
		Header: ctHeader(kind, netlink.Acknowledge),
		Data:   append(nfgenmsg(addressFamily(f.family), 0), data...),
	}, nil
}

// flow is the part of a conntrack entry that we need.
type flow struct {
	family    failover.Family
	tuple     []byte // the original tuple as the kernel wrote it
	zone      uint16
	id        uint32     // 0 if unknown
	src, dst  netip.Addr // of the original direction
	replySrc  netip.Addr
	replyDst  netip.Addr // the translated source of the flow
	protocol  byte
	ports     [2]uint16 // source and destination of the original direction; 0 without ports
	status    uint32
	mark      uint32
	tcpState  byte          // TCP only
	left      time.Duration // until the entry ends, if no packet comes
	hasStatus bool
	// resumed: the entry was made by a segment amid a connection, so that the original
	// direction need not be that of the end that began it.
	resumed bool
}

// tcpEstablished is ESTABLISHED of enum tcp_conntrack.
const tcpEstablished = 3

// established reports whether TCP's handshake is complete and neither end has
// forgotten the connection: ESTABLISHED to LAST_ACK of enum tcp_conntrack.
func (f flow) established() bool {
	return f.protocol == unix.IPPROTO_TCP && (f.tcpState >= tcpEstablished && f.tcpState <= 6 || f.offloaded())
}

// offloaded reports whether a flow table forwards the flow.
func (f flow) offloaded() bool { return f.status&ctStatusOffload != 0 }

// translated reports whether an address of the flow was rewritten, or may have been
// where its status is not known.
func (f flow) translated() bool {
	return !f.hasStatus || f.status&(ctStatusSrcNAT|ctStatusDstNAT) != 0
}

// forwarded reports whether the flow's destination was rewritten, and its source was not.
func (f flow) forwarded() bool {
	return f.hasStatus && f.status&(ctStatusSrcNAT|ctStatusDstNAT) == ctStatusDstNAT
}

// answered reports whether packets of both directions were seen.
func (f flow) answered() bool { return f.status&ctStatusAnswered != 0 }

// errNoFlow: a message from conntrack that is not a complete IPv4 or IPv6 entry.
var errNoFlow = errors.New("not a conntrack entry")

// decodeFlow reads an entry from a message without its netlink header.
func decodeFlow(message []byte) (flow, error) {
	if len(message) < 4 {
		return flow{}, errNoFlow
	}
	var f flow
	switch message[0] {
	case unix.AF_INET:
		f.family = failover.IPv4
	case unix.AF_INET6:
		f.family = failover.IPv6
	default:
		return flow{}, errNoFlow
	}
	if err := eachAttribute(message, f.decode); err != nil {
		return flow{}, fmt.Errorf("%w: %w", errNoFlow, err)
	}
	for _, a := range []netip.Addr{f.src, f.dst, f.replySrc, f.replyDst} {
		if !a.IsValid() || a.Is4() != (f.family == failover.IPv4) {
			return flow{}, errNoFlow
		}
	}
	return f, nil
}

func (f *flow) decode(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case ctaTupleOrig:
		f.tuple = ad.Bytes()
		ad.Nested(func(t *netlink.AttributeDecoder) error { return f.decodeTuple(t, &f.src, &f.dst, &f.ports) })
	case ctaTupleReply:
		ad.Nested(func(t *netlink.AttributeDecoder) error {
			return f.decodeTuple(t, &f.replySrc, &f.replyDst, new([2]uint16))
		})
	case ctaStatus:
		f.status, f.hasStatus = ad.Uint32(), true
	case ctaProtoinfo:
		ad.Nested(f.decodeProtoinfo)
	case ctaTimeout:
		f.left = time.Duration(ad.Uint32()) * time.Second
	case ctaMark:
		f.mark = ad.Uint32()
	case ctaZone:
		f.zone = ad.Uint16()
	case ctaID:
		f.id = ad.Uint32()
	}
}

func (f *flow) decodeTuple(ad *netlink.AttributeDecoder, src, dst *netip.Addr, ports *[2]uint16) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleIP:
			ad.Nested(func(ip *netlink.AttributeDecoder) error { return decodeAddresses(ip, src, dst) })
		case ctaTupleProto:
			ad.Nested(func(p *netlink.AttributeDecoder) error {
				for p.Next() {
					switch b := p.Bytes(); {
					case p.Type() == ctaProtoNum && len(b) == 1:
						f.protocol = b[0]
					case (p.Type() == ctaSourcePort || p.Type() == ctaDestPort) && len(b) == 2:
						ports[p.Type()-ctaSourcePort] = binary.BigEndian.Uint16(b)
					}
				}
				return p.Err()
			})
		}
	}
	return ad.Err()
}

func decodeAddresses(ad *netlink.AttributeDecoder, src, dst *netip.Addr) error {
	for ad.Next() {
		a, _ := netip.AddrFromSlice(ad.Bytes())
		switch ad.Type() {
		case ctaIPv4Src, ctaIPv6Src:
			*src = a
		case ctaIPv4Dst, ctaIPv6Dst:
			*dst = a
		}
	}
	return ad.Err()
}

func (f *flow) decodeProtoinfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() != ctaProtoinfoTCP {
			continue
		}
		ad.Nested(func(tcp *netlink.AttributeDecoder) error {
			for tcp.Next() {
				switch b := tcp.Bytes(); {
				case tcp.Type() == ctaProtoinfoTCPState && len(b) == 1:
					f.tcpState = b[0]
				case tcp.Type() == ctaProtoinfoTCPFlags && len(b) == 2:
					f.resumed = b[0]&ctTCPLiberal != 0
				}
			}
			return tcp.Err()
		})
	}
	return ad.Err()
}
