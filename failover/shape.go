package failover

import (
	"cmp"
	"net/netip"
)

// Shape is what a default route says about the packets that take it, beside where
// they go. The engine does not look at it: it is learnt with a gateway, and goes
// into every route of ours by that gateway. The zero value says nothing.
type Shape struct {
	// Metrics are the route's metrics by their numbers in the kernel (RTAX_MTU and so
	// on, see rtnetlink(7)), in the kernel's units. 0: not told. Metrics[1] has the
	// bits of those that are locked.
	Metrics [18]uint32
	// Congestion names the algorithm of TCP's congestion control; empty: not told.
	Congestion string
	// Source is the preferred source address; invalid: not told.
	Source netip.Addr
	// Realm is the IPv4 route's realm, of the source in the upper half; 0: none.
	Realm uint32
}

// The numbers of metrics that are named in code. All others are carried as they are.
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
)

// Override is what a configuration says of an uplink's [Shape] in one family.
type Override struct {
	// Shape has the values. A Congestion or a Source that is set is told.
	Shape Shape
	// Told has the bits of the metrics that are told, also where they are 0.
	Told uint32
}

// Tell sets a metric.
func (o *Override) Tell(metric int, value uint32) {
	o.Shape.Metrics[metric] = value
	o.Told |= 1 << metric
}

// Overridden returns the shape with what a configuration tells in place of what was
// learnt. A metric that was locked stays locked; rto_min has no effect otherwise, so
// it always is.
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

// least are the metrics of which a shared route has the least that any of its hops
// has: too much of them loses packets, too little costs some speed.
const least = 1<<MetricMTU | 1<<MetricWindow | 1<<MetricSSThresh | 1<<MetricCwnd |
	1<<MetricAdvMSS | 1<<MetricInitCwnd | 1<<MetricInitRwnd

// Shared returns the shape of one route by several uplinks, of which the kernel keeps
// one for all hops: the least of the sizes that are told, and of all else what both
// agree on.
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
	s.Metrics[MetricLock] = 0
	for n, v := range s.Metrics {
		if v != 0 {
			s.Metrics[MetricLock] |= locked & (1 << n)
		}
	}
	if s.Congestion != o.Congestion {
		s.Congestion = ""
	}
	if s.Source != o.Source {
		s.Source = netip.Addr{}
	}
	if s.Realm != o.Realm {
		s.Realm = 0
	}
	return s
}
