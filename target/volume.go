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
	// Rough estimates of what HTTP and TLS add to a connection.
	httpText = 700
	tlsBytes = 5_500
)

// ipHeader is the size of an IP header without options, by family.
var ipHeader = [2]int{failover.IPv4: 20, failover.IPv6: 40}

// WireBytes estimates the bytes of one probe of a target and its answer in a
// family. It is exact for icmp and the gateway, and rough where the size of a
// server's answer matters.
func WireBytes(t Target, f failover.Family) int {
	ip := ipHeader[f]
	connection := 2*(ip+tcpSYN) + 4*(ip+tcpSegment)
	const dataSegments = 4
	request := connection + dataSegments*(ip+tcpSegment) + httpText
	switch t.Method {
	case TCP:
		return connection
	case HTTP:
		return request
	case HTTPS:
		return request + dataSegments*(ip+tcpSegment) + tlsBytes
	case DNS:
		return 2*(ip+udpHeader+dnsMessage+len(t.Name)+2) + dnsAnswer
	case ICMP, Gateway:
		return 2 * (ip + icmpHeader + icmpPayload)
	}
	panic("target: unknown method " + string(t.Method))
}
