package main

import (
	"net"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"swerve/failover"
)

// pingInterval is how often ping(8) would be too slow to show anything.
const pingInterval = 100 * time.Millisecond

// startPing sends echo requests of one flow; the internet's kernel answers them.
func startPing(s *stage) error {
	network, request, protocol := "ip4:icmp", icmp.Type(ipv4.ICMPTypeEcho), 1
	if s.family == failover.IPv6 {
		network, request, protocol = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, 58
	}
	conn, err := s.client.ListenPacket(network, "")
	if err != nil {
		return err
	}
	s.closeAtEnd(conn)
	id, t := int(s.at.Port()), s.track(pingInterval)
	to := &net.IPAddr{IP: s.at.Addr().AsSlice()}
	s.run(func() {
		s.each(pingInterval, func() bool {
			m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: int(t.sent())}}
			b, err := m.Marshal(nil) // the kernel adds ICMPv6's checksum
			if err == nil {
				_, _ = conn.WriteTo(b, to) // a lost packet is counted
			}
			return true
		})
	})
	s.run(func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(protocol, buf[:n])
			if err != nil {
				continue
			}
			reply := m.Type == ipv4.ICMPTypeEchoReply || m.Type == ipv6.ICMPTypeEchoReply
			if echo, ok := m.Body.(*icmp.Echo); ok && reply && echo.ID == id {
				t.arrived(uint32(echo.Seq))
			}
		}
	})
	return nil
}
