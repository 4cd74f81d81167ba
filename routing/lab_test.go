package routing

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// lab is a gateway with two uplinks, both families, and the other ends of their
// cables. It has foreign default routes and rules, as a real machine does.
type lab struct {
	t       testing.TB
	gw, isp *netns.NS
	kernel  *Netlink
	goal    Goal
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, gw: netns.New(t), isp: netns.New(t)}
	// No link-local addresses, which would differ from lab to lab, and no routes by
	// router advertisements.
	l.must(l.gw.SetSysctl("net/ipv6/conf/default/addr_gen_mode", "1"))
	l.must(l.gw.SetSysctl("net/ipv6/conf/default/accept_ra", "0"))
	for _, c := range []struct{ dev, v4, v6 string }{
		{"wan0", "203.0.113.2/24", "2001:db8:1::2/64"},
		{"wan1", "198.51.100.2/24", "2001:db8:2::2/64"},
	} {
		l.must(netns.Veth(l.gw, c.dev, l.isp, c.dev))
		l.must(l.isp.SetUp(c.dev))
		l.must(l.gw.SetUp(c.dev))
		l.must(l.gw.AddAddr(c.dev, netip.MustParsePrefix(c.v4)))
		l.must(l.gw.AddAddr(c.dev, netip.MustParsePrefix(c.v6)))
	}
	l.sh(`ip -4 route add default via 203.0.113.1 dev wan0 proto dhcp metric 100
		ip -4 route add default via 198.51.100.1 dev wan1 proto dhcp metric 101
		ip -6 route add default via 2001:db8:1::1 dev wan0 proto ra metric 1024
		ip -4 route add 10.99.0.0/16 via 203.0.113.9
		ip -4 rule add pref 1000 fwmark 0xca6c lookup 51820
		ip -4 rule add pref 5300 to 10.0.0.0/8 lookup main
		ip -6 rule add pref 32765 lookup main suppress_prefixlength 0`)
	l.must(l.gw.Do(func() (err error) { l.kernel, err = Open(); return err }))
	t.Cleanup(l.kernel.Close)
	l.goal = exampleGoal()
	for n, dev := range []string{"wan0", "wan1"} {
		l.goal.Uplinks[n].Index = l.index(dev)
	}
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// sh runs a script in the gateway and returns its output.
func (l *lab) sh(script string) string {
	l.t.Helper()
	out, err := l.gw.Run("sh", "-ec", script)
	l.must(err)
	return out
}

func (l *lab) index(dev string) (index int) {
	l.t.Helper()
	l.must(l.gw.Do(func() error {
		i, err := net.InterfaceByName(dev)
		if err == nil {
			index = i.Index
		}
		return err
	}))
	return index
}

// everything is the output of ip(8) for all rules and routes. Those of multicast and
// link-local addresses may still be added when a link has just come up, so it waits
// until the output no longer changes.
func (l *lab) everything() string {
	l.t.Helper()
	const script = "ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all"
	last := l.sh(script)
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		now := l.sh(script)
		if now == last {
			return now
		}
		last = now
	}
	l.t.Fatal("routes and rules keep changing")
	return ""
}

// ours are the lines that ip(8) prints for our protocol.
func (l *lab) ours() string {
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		b.WriteString(l.sh("ip " + family + " rule show protocol 83; ip " + family + " route show table all proto 83"))
	}
	return b.String()
}

func (l *lab) apply(want State) Result {
	l.t.Helper()
	res, err := Apply(l.kernel, want)
	if err != nil {
		l.t.Fatalf("%v; the kernel holds\n%s", err, l.ours())
	}
	if again := Plan(want, res.State); len(again) != 0 {
		l.t.Fatalf("after an apply the plan is not empty:\n%s", lines(again))
	}
	return res
}

// eventually waits for a condition.
func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// way is the device by which the gateway sends to a remote address.
func (l *lab) way(f failover.Family, args string) string {
	l.t.Helper()
	to := map[failover.Family]string{failover.IPv4: "-4 route get 192.0.2.99 ", failover.IPv6: "-6 route get 2001:db8:ffff::1 "}[f]
	out, err := l.gw.Run("sh", "-c", "ip "+to+args)
	if err != nil {
		return "unreachable"
	}
	fields := strings.Fields(out)
	for n, w := range fields[:len(fields)-1] {
		if w == "dev" {
			return fields[n+1]
		}
	}
	return out
}
