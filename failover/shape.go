package failover

import (
	"cmp"
	"net/netip"
)

// Shape holds the attributes of a default route that affect the packets that use
// it, beside where it leads. The engine does not use it: it is learned with a
// gateway, and copied to every route of ours by that gateway. The zero value sets
// nothing.
type Shape struct {
	// Metrics are the route's metrics by their numbers in the kernel (RTAX_MTU and
	// so on, see rtnetlink(7)), in the kernel's units; 0 means not set. Metrics[1]
	// has the bits of those that are locked.
	Metrics [18]uint32
	// Congestion is the name of the TCP congestion control algorithm; empty if not
	// set.
	Congestion string
	// Source is the preferred source address; invalid if not set.
	Source netip.Addr
	// Encap is the header that packets are put into. It has no part in a comparison of
	// uplinks that share a route, where each has its own.
	Encap Encap
	// Realm is the IPv4 route's realm, with the source's in the upper half; 0 if
	// none.
	Realm uint32
}

// Encap is the encapsulation of a route's packets (a lightweight tunnel, ip-route(8)), as
// the kernel describes it. The zero value is none.
type Encap struct {
	// Type is one of linux/lwtunnel.h, 0 for none.
	Type uint16
	// Data has the attributes that belong to the type, in the kernel's encoding.
	Data string
}

// The numbers of the metrics that the code names. All others are copied unchanged.
const (
	MetricLock     = 1
	MetricMTU      = 2
	MetricWindow   = 3
	MetricSSThresh = 6
	MetricCwnd     = 7
	MetricAdvMSS   = 8
	MetricHopLimit = 10
	MetricInitCwnd = 11
	MetricFeatures = 12
	MetricRTOMin   = 13
	MetricInitRwnd = 14
	MetricQuickAck = 15
	// MetricCongestion has a bit among those of the locked ones; its value is a name.
	MetricCongestion = 16
)

// Override is the configured part of an uplink's [Shape] in one family.
type Override struct {
	// Shape has the values. Congestion and Source override if they are set.
	Shape Shape
	// Told has the bits of the configured metrics, including those that are 0.
	Told uint32
}

// Tell sets a metric.
func (o *Override) Tell(metric int, value uint32) {
	o.Shape.Metrics[metric] = value
	o.Told |= 1 << metric
}

// Overridden returns the shape with the configured values in place of the learned
// ones. A metric that was locked stays locked; rto_min has no effect otherwise, so
// it is always locked.
func (s Shape) Overridden(o Override) Shape {
	for n := range s.Metrics {
		if o.Told&(1<<n) != 0 {
			s.Metrics[n] = o.Shape.Metrics[n]
		}
	}
	if o.Told&(1<<MetricRTOMin) != 0 {
		s.Metrics[MetricLock] |= 1 << MetricRTOMin
	}
	s.Congestion = cmp.Or(o.Shape.Congestion, s.Congestion)
	if o.Shape.Source.IsValid() {
		s.Source = o.Shape.Source
	}
	return s
}

// least are the metrics for which a shared route uses the least value of its hops:
// too large a value loses packets, too small a value costs some speed.
const least = 1<<MetricMTU | 1<<MetricWindow | 1<<MetricSSThresh | 1<<MetricCwnd |
	1<<MetricAdvMSS | 1<<MetricInitCwnd | 1<<MetricInitRwnd

// Shared returns the shape of one route by several uplinks, of which the kernel
// keeps one for all hops: for sizes the least of those set, for everything else the
// value on which both agree.
func (s Shape) Shared(o Shape) Shape {
	locked := s.Metrics[MetricLock] | o.Metrics[MetricLock]
	for n, a := range s.Metrics {
		b := o.Metrics[n]
		switch {
		case a == b:
		case least&(1<<n) == 0:
			s.Metrics[n] = 0
		case a == 0 || b != 0 && b < a:
			s.Metrics[n] = b
		}
	}
	if s.Congestion != o.Congestion {
		s.Congestion = ""
	}
	s.Metrics[MetricLock] = 0
	if s.Congestion != "" {
		s.Metrics[MetricLock] = locked & (1 << MetricCongestion)
	}
	for n, v := range s.Metrics {
		if v != 0 {
			s.Metrics[MetricLock] |= locked & (1 << n)
		}
	}
	if s.Encap != o.Encap {
		s.Encap = Encap{}
	}
	if s.Source != o.Source {
		s.Source = netip.Addr{}
	}
	if s.Realm != o.Realm {
		s.Realm = 0
	}
	return s
}
