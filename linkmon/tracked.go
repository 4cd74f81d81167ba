package linkmon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tracking tells whether the SYN of a connection has left. Where a packet filter of this
// machine drops it the kernel says nothing, as it does for datagrams, and sends it anew; but
// the connection has then no entry in conntrack, which a packet gets as it leaves. That
// holds where such entries are seen at all: not for what others exempt from tracking, or put
// into a zone of its own. So the entry of a connection that was answered is looked for
// first. A nil tracking knows nothing.
type tracking struct {
	mu   sync.Mutex
	seen map[trackedWay]bool
}

// trackedWay is a device in a family, with the mark of its probes.
type trackedWay struct {
	device string
	six    bool
	mark   uint32
}

// nfgenmsgSize is the size of the header before the attributes, linux/netfilter/nfnetlink.h.
const nfgenmsgSize = 4

// mostTracked bounds the ways that are known; where there are more they begin anew.
const mostTracked = 1024

func newTracking() *tracking { return &tracking{seen: map[trackedWay]bool{}} }

func wayOf(r request) trackedWay { return trackedWay{r.device, r.to.Is6(), r.mark} }

func (t *tracking) knows(way trackedWay) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[way]
}

// learn looks for the entry of a connection that was answered, until there was one.
func (t *tracking) learn(fd int, r request) {
	if t == nil || r.mark == 0 || t.knows(wayOf(r)) {
		return
	}
	if found, err := isTracked(fd, r); err != nil || !found {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seen) >= mostTracked {
		clear(t.seen)
	}
	t.seen[wayOf(r)] = true
}

// dropped returns an error if the SYN of a connection has not left, where that is known
// for certain.
func (t *tracking) dropped(fd int, r request) error {
	if t == nil || !r.certain || !t.knows(wayOf(r)) {
		return nil
	}
	if found, err := isTracked(fd, r); err != nil || found {
		return nil
	}
	return fmt.Errorf("send to %s: %w", r.to, unix.EPERM)
}

// isTracked reports whether conntrack has an entry of a TCP socket's connection.
func isTracked(fd int, r request) (bool, error) {
	port, err := localPort(fd)
	if err != nil {
		return false, err
	}
	question := trackedQuestion(netip.AddrPortFrom(r.source, port), netip.AddrPortFrom(r.to, r.target.Port))
	const ctnetlinkGet = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_GET
	request := nl.NewNetlinkRequest(ctnetlinkGet, unix.NLM_F_ACK)
	request.AddRawData(question)
	// The kernel flags its one answer as one of several, so the acknowledgement is the end.
	// It begins with the ends in the direction of the first packet that was seen: that has to
	// be ours, and not one of a server whose client was exempt.
	found := false
	err = request.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(answer []byte) bool {
		found = found || len(answer) > nfgenmsgSize && bytes.HasPrefix(answer[nfgenmsgSize:], question[nfgenmsgSize:])
		return true
	})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return found, err
}

// trackedQuestion encodes the ends of a connection as its entry has them.
func trackedQuestion(from, to netip.AddrPort) []byte {
	family, source, destination := byte(unix.AF_INET), uint16(nl.CTA_IP_V4_SRC), uint16(nl.CTA_IP_V4_DST)
	if to.Addr().Is6() {
		family, source, destination = unix.AF_INET6, nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	port := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	addresses := appendAttribute(appendAttribute(nil, source, from.Addr().AsSlice()), destination, to.Addr().AsSlice())
	protocol := appendAttribute(nil, nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_TCP})
	protocol = appendAttribute(appendAttribute(protocol, nl.CTA_PROTO_SRC_PORT, port(from.Port())), nl.CTA_PROTO_DST_PORT, port(to.Port()))
	tuple := appendAttribute(nil, nl.CTA_TUPLE_IP|unix.NLA_F_NESTED, addresses)
	tuple = appendAttribute(tuple, nl.CTA_TUPLE_PROTO|unix.NLA_F_NESTED, protocol)
	return appendAttribute([]byte{family, 0, 0, 0}, nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, tuple)
}

func localPort(fd int) (uint16, error) {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, unix.EAFNOSUPPORT
}
