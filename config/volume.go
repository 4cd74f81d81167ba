package config

import (
	"time"

	"swerve/failover"
)

// month is what volumes are counted for: 30 days.
const month = 30 * day

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

// wireBytes estimates what one probe of a target and its answer take in a
// family: exact for icmp, a rule of thumb for what a server's answer decides.
func wireBytes(t failover.Target, f failover.Family) int {
	ip := ipHeader[f]
	connection := 2*(ip+tcpSYN) + 4*(ip+tcpSegment)
	const dataSegments = 4
	request := connection + dataSegments*(ip+tcpSegment) + httpText
	switch t.Method {
	case failover.MethodTCP:
		return connection
	case failover.MethodHTTP:
		return request
	case failover.MethodHTTPS:
		return request + dataSegments*(ip+tcpSegment) + tlsBytes
	case failover.MethodDNS:
		return 2*(ip+udpHeader+dnsMessage+len(t.Name)+2) + dnsAnswer
	case failover.MethodICMP, failover.MethodGateway:
		return 2 * (ip + icmpHeader + icmpPayload)
	}
	panic("config: unknown method " + string(t.Method))
}

// ProbeVolume estimates the bytes that an uplink's probes and their answers take
// in a month of 30 days, both families and both directions together, when each
// target is probed each interval. Bursts are not in it.
func (u Uplink) ProbeVolume(interval time.Duration) float64 {
	round := 0
	for _, f := range failover.Families {
		for _, t := range u.TargetsIn(f) {
			round += wireBytes(t, f)
		}
	}
	return float64(round) * float64(month) / float64(interval)
}
