package linkmon

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// shapeText returns a link's shape in one family, for comparison: the metrics by
// number, then the other attributes that are set.
func shapeText(f failover.FamilyLink) string {
	var b strings.Builder
	for n, v := range f.Shape.Metrics {
		if v != 0 {
			fmt.Fprintf(&b, "%d=%d ", n, v)
		}
	}
	b.WriteString(f.Shape.Congestion)
	if f.Shape.Source.IsValid() {
		b.WriteString(" src " + f.Shape.Source.String())
	}
	if f.Shape.Realm != 0 {
		fmt.Fprintf(&b, " realm %d", f.Shape.Realm)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (o *observer) untilShape(uplink string, f failover.Family, want string) {
	o.t.Helper()
	o.untilLink(uplink, fmt.Sprintf("%s shape %q", f, want), func(l failover.Link) bool { return shapeText(l.Family[f]) == want })
}

// Each step has the expected shape, and the command that leads to it.
func TestShapeIsLearnt(t *testing.T) {
	for name, steps := range map[string][]string{
		"follows changes": {
			"2=1400: -4 route add default via 10.0.0.1 dev w0 mtu 1400",
			"2=1300: -4 route change default via 10.0.0.1 dev w0 mtu 1300",
			"1=4 2=1300 8=1200 10=9: -4 route replace default via 10.0.0.1 dev w0 mtu lock 1300 advmss 1200 hoplimit 9",
			": -4 route replace default via 10.0.0.1 dev w0",
		},
		"everything": {
			"1=8192 3=5 8=1000 11=20 13=40 14=30 15=1 reno src 10.0.0.2 realm 7: -4 route add default via 10.0.0.1 dev w0 " +
				"src 10.0.0.2 realm 7 window 5 advmss 1000 initcwnd 20 rto_min 40ms initrwnd 30 quickack 1 congctl reno",
		},
		"of its own hop": {
			"2=1400 realm 5: -4 route add default mtu 1400 nexthop via 10.1.0.1 dev w1 realm 4 nexthop via 10.0.0.1 dev w0 realm 5",
		},
		"nexthop object": {
			": nexthop add id 5 via 10.0.0.1 dev w0",
			"2=1400: -4 route add default nhid 5 mtu 1400",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, _ := wan(t)
			o := observe(t, ns, uplink("a", "w0"))
			for _, step := range steps {
				want, command, _ := strings.Cut(step, ": ")
				runIP(t, ns, command)
				o.catchUp(ns)
				o.untilShape("a", failover.IPv4, want)
			}
		})
	}
}

func TestShapeIsLearntInIPv6(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	runIP(t, ns, "-6 route add default via 2001:db8::1 dev w0 mtu 1400 src 2001:db8::2 hoplimit 12")
	o.untilShape("a", failover.IPv6, "2=1400 10=12 src 2001:db8::2")
}

// A nexthop object is read whatever the value of nexthop_compat_mode, and so is a
// group.
func TestNexthopObjectsWithoutCompatibility(t *testing.T) {
	ns, _ := wan(t)
	if err := ns.SetSysctl("net/ipv4/nexthop_compat_mode", "0"); err != nil {
		t.Fatal(err)
	}
	o := observe(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	runIP(t, ns, "nexthop add id 5 via 10.0.0.1 dev w0")
	runIP(t, ns, "-4 route add default nhid 5 mtu 1400")
	o.untilGateway("a", failover.IPv4, "10.0.0.1 boot")
	o.untilShape("a", failover.IPv4, "2=1400")
	runIP(t, ns, "nexthop replace id 5 via 10.0.0.9 dev w0")
	o.untilGateway("a", failover.IPv4, "10.0.0.9 boot")
	runIP(t, ns, "nexthop add id 6 via 10.1.0.1 dev w1")
	runIP(t, ns, "nexthop add id 7 group 5,3/6,2")
	runIP(t, ns, "-4 route replace default nhid 7")
	o.untilGateway("b", failover.IPv4, "10.1.0.1 boot")
	o.untilGateway("a", failover.IPv4, "10.0.0.9 boot")
	var weights []int
	for _, d := range o.m.Defaults() {
		weights = append(weights, d.Weight)
	}
	if fmt.Sprint(weights) != "[3 2]" {
		t.Errorf("weights %v, want 3 and 2", weights)
	}
	runIP(t, ns, "nexthop add id 8 via inet6 2001:db8::1 dev w0")
	runIP(t, ns, "-4 route replace default nhid 8")
	o.untilGateway("a", failover.IPv4, "2001:db8::1 boot")
}

// Attributes that our routes cannot have are reported.
func TestUncarried(t *testing.T) {
	for name, step := range map[string][2]string{
		"two hops":   {"2 next hops on the interface", "-4 route add default nexthop via 10.0.0.8 dev w0 nexthop via 10.0.0.1 dev w0"},
		"a tunnel":   {"", "-4 route add default encap ip id 100 dst 10.0.0.9 via 10.0.0.1 dev w0"},
		"no problem": {"", "-4 route add default via 10.0.0.1 dev w0 mtu 1400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, _ := wan(t)
			o := observe(t, ns, uplink("a", "w0"))
			runIP(t, ns, step[1])
			o.untilLink("a", step[0], func(l failover.Link) bool {
				text := l.Family[failover.IPv4].Uncarried
				return strings.Contains(text, step[0]) && (step[0] != "" || text == "" && l.Family[failover.IPv4].Gateway.IsValid())
			})
			for _, d := range o.m.Defaults() {
				if d.Encapsulates {
					t.Errorf("default %+v", d)
				}
			}
			if e := o.links["a"].Family[failover.IPv4].Shape.Encap; (e.Type == unix.LWTUNNEL_ENCAP_IP && e.Data != "") != (name == "a tunnel") {
				t.Errorf("encapsulation %+v", e)
			}
		})
	}
	ns, _ := wan(t)
	own := uplink("a", "w0")
	own.Route[failover.IPv4].Shape.Source = addr("10.77.0.1")
	o := observe(t, ns, own)
	runIP(t, ns, "-4 route add default via 10.0.0.1 dev w0")
	o.untilLink("a", "an absent source", func(l failover.Link) bool {
		f := l.Family[failover.IPv4]
		return strings.Contains(f.Uncarried, "10.77.0.1") && !f.Shape.Source.IsValid()
	})
	runIP(t, ns, "addr add 10.77.0.1/32 dev lo")
	o.untilShape("a", failover.IPv4, "src 10.77.0.1")
}

// The configuration overrides what is learned, and what it does not set is learned.
func TestShapeIsOverridden(t *testing.T) {
	ns, _ := wan(t)
	u := uplink("a", "w0")
	u.Gateway[failover.IPv4].Addr = addr("10.0.0.7")
	u.Route[failover.IPv4].Tell(failover.MetricMTU, 1280)
	u.Route[failover.IPv4].Tell(failover.MetricRTOMin, 50)
	u.Route[failover.IPv4].Tell(unix.RTAX_QUICKACK, 0)
	o := observe(t, ns, u)
	o.untilShape("a", failover.IPv4, "1=8192 2=1280 13=50")
	runIP(t, ns, "-4 route add default via 10.0.0.1 dev w0 mtu 1400 advmss 1300 quickack 1")
	o.untilShape("a", failover.IPv4, "1=8192 2=1280 8=1300 13=50")
	runIP(t, ns, "-4 route add default via 10.0.0.7 dev w0 metric 9 advmss 1100")
	o.untilShape("a", failover.IPv4, "1=8192 2=1280 8=1100 13=50")
	o.untilGateway("a", failover.IPv4, "10.0.0.7 config")
}
