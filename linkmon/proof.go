package linkmon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	echo "golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Proof asks whether an address of this machine is reached by an uplink: echo requests
// from it by the uplink, to whose answers only the uplink's device counts.
type Proof struct {
	// Uplink, whose Device has the number Index, and the packet mark of its lane.
	Uplink, Device string
	Mark           uint32
	// Source is an IPv6 address of this machine, on another device.
	Source netip.Addr
	// Targets are asked at once; one answer is enough.
	Targets []netip.Addr
	// Wait for answers.
	Wait time.Duration
}

// maxProofs bounds the proofs under way.
const maxProofs = 8

// Prove starts a proof, without waiting for it, and calls report from another goroutine
// once it has ended: sent is false where no request could be sent, which says nothing of
// the uplink. It returns false, and does nothing, where too many are under way.
func (m *Monitor) Prove(p Proof, report func(sent, answered bool)) bool {
	select {
	case m.prober.proofs <- struct{}{}:
	default:
		return false
	}
	if m.prober.begin(p.Uplink) != nil {
		<-m.prober.proofs
		return false
	}
	go func() {
		defer m.prober.end(p.Uplink)
		sent, answered := p.run(m.prober.ctx)
		<-m.prober.proofs
		report(sent, answered)
	}()
	return true
}

// run sends the requests, and waits for the first answer. The socket is bound to the
// device: it neither sends by another one nor receives from it.
func (p Proof) run(ctx context.Context) (sent, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, p.Wait)
	defer cancel()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = p.bind(int(fd)) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := config.ListenPacket(ctx, "ip6:ipv6-icmp", p.Source.String())
	if err != nil {
		return false, false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var data [16]byte
	rand.Read(data[:])
	id := int(binary.BigEndian.Uint16(data[:]))
	for i, to := range p.Targets {
		request := echo.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &echo.Echo{ID: id, Seq: i, Data: data[:]}}
		b, err := request.Marshal(nil) // the kernel adds the checksum
		if err != nil {
			continue
		}
		_, err = conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()})
		sent = sent || err == nil
	}
	return sent, sent && p.hears(conn, data[:])
}

// bind binds a socket to the device and the lane, and has it receive answers alone.
func (p Proof) bind(fd int) error {
	if err := unix.BindToDevice(fd, p.Device); err != nil {
		return fmt.Errorf("bind to %s: %w", p.Device, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.Mark)); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	var answers ipv6.ICMPFilter
	answers.SetAll(true)
	answers.Accept(ipv6.ICMPTypeEchoReply)
	filter := unix.ICMPv6Filter{}
	for kind := range 256 {
		if answers.WillBlock(ipv6.ICMPType(kind)) {
			filter.Data[kind>>5] |= 1 << (kind & 31)
		}
	}
	return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
}

// hears waits for an answer of one of the targets that has what was sent.
func (p Proof) hears(conn net.PacketConn, data []byte) bool {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return false
		}
		a, ok := from.(*net.IPAddr)
		if !ok {
			continue
		}
		by, _ := netip.AddrFromSlice(a.IP)
		message, err := echo.ParseMessage(unix.IPPROTO_ICMPV6, buf[:n])
		if err != nil || !slices.Contains(p.Targets, by) {
			continue
		}
		if answer, ok := message.Body.(*echo.Echo); ok && message.Type == ipv6.ICMPTypeEchoReply && string(answer.Data) == string(data) {
			return true
		}
	}
}
