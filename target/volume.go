package target

import "swerve/failover"

// Sizes on the wire, in bytes, of what probes send and receive: from the IP
// header on, without the link's own framing.
const (
	icmpHeader = 8
	// icmpPayload is the least that pro-bing sends: a time and a tracker.
	icmpPayload = 24
	udpHeader   = 8
	// dnsMessage: header, type and class, without the name; dnsAnswer is one
	// address record more.
	dnsMessage = 12 + 4
	dnsAnswer  = 16
	tcpSegment = 32 // with timestamps (RFC 7323)
	tcpSYN     = 40 // with the usual options
	// What HTTP and TLS add to a connection, as a rule of thumb.
	httpText = 700
	tlsBytes = 5_500
)

// ipHeader is the size of a header without options, by family.
var ipHeader = [2]int{failover.IPv4: 20, failover.IPv6: 40}

// WireBytes estimates what one probe of a target and its answer take in a
// family: exact for icmp, a rule of thumb for what a server's answer decides.
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
