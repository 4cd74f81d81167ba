package routing

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// metricWords are the keywords of ip(8) for a route's metrics. Those with lock may
// be preceded by the keyword lock. rto_min is always locked, without the keyword.
var metricWords = [...]struct {
	name string
	lock bool
}{
	unix.RTAX_MTU:                {"mtu", true},
	unix.RTAX_WINDOW:             {"window", true},
	unix.RTAX_RTT:                {"rtt", true},
	unix.RTAX_RTTVAR:             {"rttvar", true},
	unix.RTAX_SSTHRESH:           {"ssthresh", true},
	unix.RTAX_CWND:               {"cwnd", true},
	unix.RTAX_ADVMSS:             {"advmss", true},
	unix.RTAX_REORDERING:         {"reordering", true},
	unix.RTAX_HOPLIMIT:           {"hoplimit", true},
	unix.RTAX_INITCWND:           {"initcwnd", true},
	unix.RTAX_FEATURES:           {"features", false},
	unix.RTAX_RTO_MIN:            {"rto_min", false},
	unix.RTAX_INITRWND:           {"initrwnd", true},
	unix.RTAX_QUICKACK:           {"quickack", false},
	unix.RTAX_CC_ALGO:            {"congctl", true},
	unix.RTAX_FASTOPEN_NO_COOKIE: {"fastopen_no_cookie", false},
}

// shapeText returns a route's shape in the syntax of ip(8), with a leading space;
// empty for a shape that sets nothing.
func shapeText(s failover.Shape) string {
	var b strings.Builder
	if s.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", s.Source)
	}
	for n, word := range metricWords {
		value := metricText(s, n)
		if value == "" {
			continue
		}
		b.WriteString(" " + word.name)
		if word.lock && s.Metrics[unix.RTAX_LOCK]&(1<<n) != 0 {
			b.WriteString(" lock")
		}
		b.WriteString(" " + value)
	}
	return b.String()
}

// Unshared returns the attributes that a route by both of two uplinks cannot have
// because their values differ, in the keywords of ip(8).
func Unshared(a, b failover.Shape) []string {
	var words []string
	if a.Source != b.Source {
		words = append(words, "src")
	}
	both := a.Shared(b)
	for n, word := range metricWords {
		if word.name != "" && metricText(a, n) != metricText(b, n) && metricText(both, n) == "" {
			words = append(words, word.name)
		}
	}
	return words
}

// metricText returns a metric's value, or "" if it is not set.
func metricText(s failover.Shape, n int) string {
	value := s.Metrics[n]
	switch {
	case n == unix.RTAX_CC_ALGO:
		return s.Congestion
	case n == unix.RTAX_LOCK || value == 0:
		return ""
	case n == unix.RTAX_FEATURES:
		return featureText(value)
	case n == unix.RTAX_RTO_MIN:
		return fmt.Sprintf("%dms", value)
	case n == unix.RTAX_RTT && value%8 == 0: // in eighths of a millisecond
		return fmt.Sprintf("%dms", value/8)
	case n == unix.RTAX_RTTVAR && value%4 == 0: // in quarters
		return fmt.Sprintf("%dms", value/4)
	}
	return fmt.Sprint(value)
}

// featureText returns the names of the features that ip(8) has keywords for.
func featureText(bits uint32) string {
	var words []string
	if bits&1 != 0 {
		words = append(words, "ecn")
	}
	if bits&(1<<4) != 0 {
		words = append(words, "tcp_usec_ts")
	}
	return strings.Join(words, " ")
}

// realmText returns a realm as ip(8) writes it: of the source, if there is one, and
// of the destination.
func realmText(realm uint32) string {
	if from := realm >> 16; from != 0 {
		return fmt.Sprintf("%d/%d", from, realm&0xffff)
	}
	return fmt.Sprint(realm & 0xffff)
}

// decodeMetrics reads RTA_METRICS. An unknown metric makes the route differ from
// every wanted one.
func decodeMetrics(b []byte, s *failover.Shape) error {
	return eachAttr(b, func(kind uint16, value []byte) (err error) {
		switch {
		case kind == unix.RTAX_CC_ALGO:
			s.Congestion = unix.ByteSliceToString(value)
		case int(kind) < len(s.Metrics):
			s.Metrics[kind], err = decodeUint32(value)
		}
		return err
	})
}

// appendMetrics appends RTA_METRICS, if there are any.
func appendMetrics(b []byte, s failover.Shape) []byte {
	var all []byte
	for n, value := range s.Metrics {
		if value != 0 {
			all = appendAttr(all, uint16(n), binary.NativeEndian.AppendUint32(nil, value))
		}
	}
	if s.Congestion != "" {
		all = appendAttr(all, unix.RTAX_CC_ALGO, append([]byte(s.Congestion), 0))
	}
	if all == nil {
		return b
	}
	return appendAttr(b, unix.RTA_METRICS|unix.NLA_F_NESTED, all)
}

// appendAttr appends an attribute, padded to four bytes.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}
