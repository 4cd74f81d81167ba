package routing

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// A route may put its packets into a tunnel header (a lightweight tunnel). What the
// kernel tells of that is what it takes, so it is copied as it is; only the text
// for ip(8) needs its parts.

// encapNames are the keywords of ip(8) by the type.
var encapNames = [...]string{
	unix.LWTUNNEL_ENCAP_MPLS: "mpls", unix.LWTUNNEL_ENCAP_IP: "ip", unix.LWTUNNEL_ENCAP_ILA: "ila", unix.LWTUNNEL_ENCAP_IP6: "ip6",
	unix.LWTUNNEL_ENCAP_SEG6: "seg6", unix.LWTUNNEL_ENCAP_BPF: "bpf", unix.LWTUNNEL_ENCAP_SEG6_LOCAL: "seg6local",
	unix.LWTUNNEL_ENCAP_RPL: "rpl", unix.LWTUNNEL_ENCAP_IOAM6: "ioam6", unix.LWTUNNEL_ENCAP_XFRM: "xfrm",
}

// The attributes of linux/lwtunnel.h for ip and ip6.
const (
	encapID, encapDst, encapSrc, encapTTL, encapTOS, encapFlags = 1, 2, 3, 4, 5, 6

	// encapLabels is MPLS_IPTUNNEL_DST of linux/mpls_iptunnel.h.
	encapLabels = 1
)

// encapText returns an encapsulation in the syntax of ip(8), with a leading space; empty
// for none. Of kinds with many parts it has the bytes, which no command takes.
func encapText(e failover.Encap) string {
	if e.Type == 0 {
		return ""
	}
	name := fmt.Sprintf("type%d", e.Type)
	if int(e.Type) < len(encapNames) && encapNames[e.Type] != "" {
		name = encapNames[e.Type]
	}
	var b strings.Builder
	b.WriteString(" encap " + name)
	switch e.Type {
	case unix.LWTUNNEL_ENCAP_IP, unix.LWTUNNEL_ENCAP_IP6:
		_ = eachAttr([]byte(e.Data), func(kind uint16, value []byte) error {
			b.WriteString(tunnelWord(e.Type == unix.LWTUNNEL_ENCAP_IP6, kind, value))
			return nil
		})
	case unix.LWTUNNEL_ENCAP_MPLS:
		_ = eachAttr([]byte(e.Data), func(kind uint16, value []byte) error {
			var labels []string
			for ; kind == encapLabels && len(value) >= 4; value = value[4:] {
				labels = append(labels, fmt.Sprint(binary.BigEndian.Uint32(value)>>12))
			}
			if labels != nil {
				b.WriteString(" " + strings.Join(labels, "/"))
			}
			return nil
		})
	default:
		fmt.Fprintf(&b, " (%x)", e.Data)
	}
	return b.String()
}

// tunnelWord returns the words of ip(8) for one attribute of an IP header.
func tunnelWord(ipv6 bool, kind uint16, value []byte) string {
	ttl, tos := "ttl", "tos"
	if ipv6 {
		ttl, tos = "hoplimit", "tc"
	}
	switch {
	case kind == encapID && len(value) == 8:
		return fmt.Sprintf(" id %d", binary.BigEndian.Uint64(value))
	case kind == encapDst || kind == encapSrc:
		a, _ := netip.AddrFromSlice(value)
		return map[uint16]string{encapDst: " dst ", encapSrc: " src "}[kind] + a.String()
	case kind == encapTTL && len(value) == 1:
		return fmt.Sprintf(" %s %d", ttl, value[0])
	case kind == encapTOS && len(value) == 1:
		return fmt.Sprintf(" %s %d", tos, value[0])
	case kind == encapFlags && len(value) == 2:
		var words string
		for n, word := range [...]string{0: " csum", 2: " key", 3: " seq"} {
			if binary.BigEndian.Uint16(value)&(1<<n) != 0 {
				words += word
			}
		}
		return words
	}
	return ""
}
