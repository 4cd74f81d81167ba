package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The timers of RFC 3261, 17.1.2, of a request over UDP that is no INVITE.
const (
	sipT1 = 500 * time.Millisecond // before the first repetition; each time twice as long
	sipT2 = 4 * time.Second        // at most
	sipF  = 64 * sipT1             // when the request has failed
)

// sipInterval is the time from an answer to the next request. Phones that are behind NAT
// register every minute, and then are out of reach for up to that after a change of
// uplink.
const sipInterval = time.Second

// startSIP has a phone register again and again, and its registrar ask for its options at
// the address from which it registered last.
func startSIP(s *stage) error {
	server, err := s.openPackets()
	if err != nil {
		return err
	}
	client, err := s.dialPackets()
	if err != nil {
		return err
	}
	var binding atomic.Pointer[netip.AddrPort]
	registrar := &sipAgent{
		stage: s, conn: server, track: s.track(sipInterval),
		send: func(b []byte) {
			if to := binding.Load(); to != nil {
				_, _ = server.WriteToUDPAddrPort(b, *to) // it is repeated
			}
		},
		registered: func(from netip.AddrPort) { binding.Store(&from) },
	}
	phone := &sipAgent{
		stage: s, conn: client, track: s.track(sipInterval),
		send:       func(b []byte) { _, _ = client.Write(b) },
		registered: func(netip.AddrPort) {},
	}
	s.run(registrar.receive)
	s.run(phone.receive)
	s.run(func() { phone.ask("REGISTER") })
	s.run(func() { registrar.ask("OPTIONS") })
	return nil
}

// sipAgent is one end of a SIP session, with one transaction at a time.
type sipAgent struct {
	stage      *stage
	conn       *net.UDPConn
	track      *track
	send       func([]byte)
	registered func(from netip.AddrPort)

	mu       sync.Mutex
	number   int           // of the present request
	answered chan struct{} // closed when it is answered
}

// ask makes one request after the other.
func (a *sipAgent) ask(method string) {
	a.stage.each(sipInterval, func() bool {
		seq := a.track.sent()
		answered := make(chan struct{})
		a.mu.Lock()
		a.number, a.answered = int(seq), answered
		a.mu.Unlock()
		if a.transact(sipRequest(method, a.stage.at, int(seq)), answered) {
			a.track.arrived(seq)
		}
		return true
	})
}

// transact sends a request, and again, until it is answered or has failed.
func (a *sipAgent) transact(request []byte, answered <-chan struct{}) bool {
	failed := time.Now().Add(sipF)
	for wait := sipT1; time.Now().Before(failed); wait = min(2*wait, sipT2) {
		a.send(request)
		select {
		case <-answered:
			return true
		case <-time.After(wait):
		case <-a.stage.ctx.Done():
			return false
		}
	}
	return false
}

// receive answers requests and takes answers, until the socket is closed.
func (a *sipAgent) receive() {
	buf := make([]byte, 1500)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error: requests are repeated
		}
		line, headers, _ := bytes.Cut(buf[:n], []byte("\r\n"))
		number, method, ok := cseqOf(headers)
		switch {
		case !ok:
		case bytes.HasPrefix(line, []byte("SIP/2.0 200 ")):
			a.settle(number)
		case method == "REGISTER":
			a.registered(from)
			a.reply(headers, from)
		default:
			a.reply(headers, from)
		}
	}
}

func (a *sipAgent) settle(number int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if number == a.number && a.answered != nil {
		close(a.answered)
		a.answered = nil
	}
}

// reply answers to where a request came from (RFC 3581).
func (a *sipAgent) reply(headers []byte, to netip.AddrPort) {
	answer := append([]byte("SIP/2.0 200 OK\r\n"), headers...)
	if a.conn.RemoteAddr() != nil {
		_, _ = a.conn.Write(answer)
		return
	}
	_, _ = a.conn.WriteToUDPAddrPort(answer, to)
}

func sipRequest(method string, at netip.AddrPort, number int) []byte {
	return fmt.Appendf(nil, "%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP phone.invalid;rport;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:phone@%s>;tag=1\r\nTo: <sip:phone@%s>\r\nCall-ID: 1@phone.invalid\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, at, number, at.Addr(), at.Addr(), number, method)
}

// cseqOf returns the number and the method of a message.
func cseqOf(headers []byte) (number int, method string, ok bool) {
	for line := range strings.Lines(string(headers)) {
		if value, found := strings.CutPrefix(line, "CSeq: "); found {
			digits, method, _ := strings.Cut(strings.TrimSpace(value), " ")
			number, err := strconv.Atoi(digits)
			return number, method, err == nil
		}
	}
	return 0, "", false
}
