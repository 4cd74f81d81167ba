package routing

import (
	"strings"
	"testing"

	"swerve/failover"
)

// ip(8) prints a route with every attribute as it was requested, and a second plan
// is empty.
func TestShapedRoutes(t *testing.T) {
	l := newLab(t)
	shapeUplinks(&l.goal)
	l.apply(Desired(l.goal))
	const metrics = "mtu lock 1400 window 103 rtt 100ms rttvar 101ms ssthresh 106 cwnd 107 advmss 108 reordering 109 " +
		"hoplimit lock 110 initcwnd 111 features ecn rto_min lock 113ms initrwnd 114 quickack 1 congctl lock reno fastopen_no_cookie 1"
	for family, want := range map[string]string{
		"-4": "default via 203.0.113.1 dev wan0 proto 83 src 203.0.113.2 metric 1 realms 3/7 onlink " + metrics,
		"-6": "default via 2001:db8:1::1 dev wan0 proto 83 src 2001:db8:1::2 metric 1 onlink " + metrics,
	} {
		got := strings.Join(strings.Fields(l.sh("ip "+family+" route show table 5301")), " ")
		for _, word := range strings.Fields(want) {
			if !strings.Contains(" "+got+" ", " "+word+" ") {
				t.Errorf("ip %s shows %q, which lacks %q of %q", family, got, word, want)
			}
		}
	}
}

// A shared route has the least of the sizes, and otherwise the values on which both
// agree.
func TestSharedShape(t *testing.T) {
	var a, b failover.Shape
	a.Metrics[failover.MetricMTU], a.Metrics[failover.MetricHopLimit] = 1400, 64
	a.Metrics[failover.MetricLock] = 1<<failover.MetricMTU | 1<<failover.MetricHopLimit
	b.Metrics[failover.MetricMTU], b.Metrics[failover.MetricAdvMSS] = 1300, 1200
	a.Congestion, b.Congestion = "bbr", "bbr"
	want := failover.Shape{Congestion: "bbr"}
	want.Metrics[failover.MetricMTU], want.Metrics[failover.MetricAdvMSS] = 1300, 1200
	want.Metrics[failover.MetricLock] = 1 << failover.MetricMTU
	if got := a.Shared(b); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if a.Shared(b) != b.Shared(a) || a.Shared(a) != a {
		t.Errorf("the order makes a difference")
	}
}

// An altname longer than a device name is used in no rule.
func TestLongAltname(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].Interface, l.goal.Uplinks[0].Index = "modem-usb-stick-left", 0
	l.apply(Desired(l.goal))
	if out := l.ours(); strings.Contains(out, "modem") || !strings.Contains(out, "oif wan1") {
		t.Errorf("rules and routes:\n%s", out)
	}
}
