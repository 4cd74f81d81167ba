package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"swerve/failover"
)

// Bounds of the metrics of routes, as the kernel has them: what is larger it would
// replace by the largest without a word.
const (
	maxRouteMTU    = 65_520       // 65535 less 15
	maxRouteAdvMSS = 65_495       // 65535 less 40
	minAdvMSS      = 88           // TCP_MIN_MSS
	maxWindow      = 65_535 << 14 // the largest window that TCP can scale to
	maxSegments    = 65_535
	maxRTO         = 2 * time.Minute
)

// leastMTU is what every link of a family must carry (RFC 791, RFC 8200).
var leastMTU = [...]int{failover.IPv4: 68, failover.IPv6: 1280}

// routeFields are the keys of route and route6.
func routeFields(f failover.Family) fields[failover.Override] {
	return fields[failover.Override]{
		metric("mtu", failover.MetricMTU, integer(leastMTU[f], maxRouteMTU)),
		metric("advmss", failover.MetricAdvMSS, integer(minAdvMSS, maxRouteAdvMSS)),
		metric("window", failover.MetricWindow, integer(1, maxWindow)),
		metric("initcwnd", failover.MetricInitCwnd, integer(1, maxSegments)),
		metric("initrwnd", failover.MetricInitRwnd, integer(1, maxSegments)),
		metric("hoplimit", failover.MetricHopLimit, integer(1, 255)),
		metric("rto_min", failover.MetricRTOMin, milliseconds(time.Millisecond, maxRTO)),
		set("congctl", func(o *failover.Override) *string { return &o.Shape.Congestion }, congestion),
		metric("quickack", failover.MetricQuickAck, zeroOrOne),
		set("src", func(o *failover.Override) *netip.Addr { return &o.Shape.Source }, source(f)),
	}
}

// metric returns the field of one metric.
func metric(key string, number int, read reader[int]) field[failover.Override] {
	return field[failover.Override]{key: key, read: func(d *decoder, n node, o *failover.Override) {
		if v, ok := read(d, n); ok {
			o.Tell(number, uint32(v))
		}
	}}
}

// milliseconds reads a duration that is a whole number of milliseconds.
func milliseconds(least, most time.Duration) reader[int] {
	read := duration(least, most)
	return func(d *decoder, n node) (int, bool) {
		v, ok := read(d, n)
		if ok && v%time.Millisecond != 0 {
			d.wrong(n, FormatDuration(v)+" is no whole number of milliseconds", "such as 40ms")
			return 0, false
		}
		return int(v / time.Millisecond), ok
	}
}

// zeroOrOne reads a boolean as the kernel has it, written as a word or a number.
func zeroOrOne(d *decoder, n node) (int, bool) {
	if s, ok := single(n); ok && (s == "0" || s == "1") {
		return int(s[0] - '0'), true
	}
	v, ok := boolean(d, n)
	if v {
		return 1, ok
	}
	return 0, ok
}

var congestionWord = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,14}$`)

// congestion reads the name of an algorithm of TCP's congestion control. Whether the
// kernel has it is seen when it is used.
func congestion(d *decoder, n node) (string, bool) {
	const want = "the name of an algorithm, such as cubic or bbr"
	s, ok := d.text(n, want)
	if ok && !congestionWord.MatchString(s) {
		d.wrong(n, show(s)+" is not the name of a congestion control", want)
		return "", false
	}
	return s, ok
}

// source reads an address of this machine.
func source(f failover.Family) reader[netip.Addr] {
	want := fmt.Sprintf("an %s address of this machine", familyName(f))
	return func(d *decoder, n node) (netip.Addr, bool) {
		s, ok := d.text(n, want)
		if !ok {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			d.wrong(n, show(s)+" is not an address", want)
		case failover.FamilyOf(a) != f:
			d.wrong(n, show(s)+" is an "+familyName(failover.FamilyOf(a))+" address", want)
		case a.Zone() != "" || !a.IsGlobalUnicast():
			d.wrong(n, show(s)+" cannot be the source of packets to the internet", want)
		default:
			return a, true
		}
		return netip.Addr{}, false
	}
}
