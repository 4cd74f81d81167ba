package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	rtpInterval  = 20 * time.Millisecond
	rtpHeader    = 12              // RFC 3550, 5.1
	rtpLen       = rtpHeader + 160 // G.711
	rtcpLen      = 32              // a receiver report with one block: RFC 3550, 6.4.2
	rtcpInterval = 5 * time.Second // RFC 3550, 6.2
)

// The second byte of RTP packets and of receiver reports.
const (
	payloadG711    = 0
	receiverReport = 201
)

// startCall has both ends of a call send, the server to where it was last sent from.
func startCall(s *stage) error {
	up, down := s.track(rtpInterval), s.track(rtpInterval)
	phone, err := s.startRTP(up, down)
	if err != nil {
		return err
	}
	s.run(func() {
		s.each(rtpInterval, func() bool { _, _ = phone.Write(rtpPacket(up.sent())); return true })
	})
	return nil
}

// startBroadcast has the server alone send; the client but reports what it receives.
func startBroadcast(s *stage) error {
	phone, err := s.startRTP(nil, s.track(rtpInterval))
	if err != nil {
		return err
	}
	report := make([]byte, rtcpLen)
	report[0], report[1] = 0x81, receiverReport
	s.run(func() {
		s.each(rtcpInterval, func() bool { _, _ = phone.Write(report); return true })
	})
	return nil
}

// startRTP starts a server that sends to where it was last sent from, and returns the
// socket of a client that receives.
func (s *stage) startRTP(up, down *track) (phone *net.UDPConn, err error) {
	server, err := s.openPackets()
	if err != nil {
		return nil, err
	}
	if phone, err = s.dialPackets(); err != nil {
		return nil, err
	}
	var latched atomic.Pointer[netip.AddrPort]
	s.run(func() {
		receiveRTP(server, up, func(from netip.AddrPort) { latched.Store(&from) })
	})
	s.run(func() { receiveRTP(phone, down, func(netip.AddrPort) {}) })
	s.run(func() {
		s.each(rtpInterval, func() bool {
			if to := latched.Load(); to != nil {
				_, _ = server.WriteToUDPAddrPort(rtpPacket(down.sent()), *to) // a lost packet is counted
			}
			return true
		})
	})
	return phone, nil
}

// receiveRTP receives until the socket is closed. Errors before that are ICMP errors: the
// call goes on.
func receiveRTP(c *net.UDPConn, t *track, latch func(netip.AddrPort)) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		latch(from)
		if n == rtpLen && buf[1] == payloadG711 {
			t.arrived(uint32(binary.BigEndian.Uint16(buf[2:])))
		}
	}
}

func rtpPacket(seq uint32) []byte {
	b := make([]byte, rtpLen)
	b[0], b[1] = 0x80, payloadG711
	binary.BigEndian.PutUint16(b[2:], uint16(seq))
	binary.BigEndian.PutUint32(b[4:], seq*160)
	return b
}
