package target

import "swerve/failover"

// Sizes, in bytes, of what probes send and receive: from the IP header on, without
// the framing of the link.
const (
	icmpHeader = 8
	// icmpPayload is the minimum that pro-bing sends: a timestamp and a tracker.
	icmpPayload = 24
	udpHeader   = 8
	// dnsMessage is the header, type and class, without the name; dnsAnswer is an
	// additional address record.
	dnsMessage = 12 + 4
	dnsAnswer  = 16
	tcpSegment = 32 // with timestamps (RFC 7323)
	tcpSYN     = 40 // with the usual options
	// httpRequest is a request without its path. httpAnswer is a guess of what comes
	// back: a header, and a page of some KiB, since a server sends on until it sees the
	// reset.
	httpRequest = 90
	httpAnswer  = 2_000
	// tlsHello is what a client sends in a handshake; tlsAnswer is a guess of a server's
	// part of it, nearly all of it certificates.
	tlsHello  = 450
	tlsAnswer = 4_500
	// tlsRecord is what TLS adds to each direction of the exchange.
	tlsRecord = 2 * 22
)

// ipHeader is the size of an IP header without options, by family.
var ipHeader = [2]int{failover.IPv4: 20, failover.IPv6: 40}

// WireBytes estimates the bytes of one probe of a target and its answer in a
// family. It is exact for icmp, the gateway and tcp, and a guess where the size of a
// server's answer matters.
func WireBytes(t Target, f failover.Family) int {
	ip := ipHeader[f]
	segment := ip + tcpSegment
	// SYN and its answer; then the acknowledgement, and the reset that ends it.
	connection := 2*(ip+tcpSYN) + 2*segment
	// The request, its acknowledgement, and the answer in two segments.
	exchange := 4*segment + httpRequest + len(t.Path) + httpAnswer
	switch t.Method {
	case TCP:
		return connection
	case HTTP:
		return connection + exchange
	case HTTPS:
		// The hello, the server's part in four segments, acknowledged by two, and the end.
		return connection + exchange + 8*segment + tlsHello + tlsAnswer + tlsRecord
	case DNS:
		return 2*(ip+udpHeader+dnsMessage+len(t.Name)+2) + dnsAnswer
	case ICMP, Gateway:
		return 2 * (ip + icmpHeader + icmpPayload)
	}
	panic("target: unknown method " + string(t.Method))
}
