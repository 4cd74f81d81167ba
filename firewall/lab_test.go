package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// lab is a LAN client, a gateway with two uplinks, and an internet that both uplinks
// lead to. The gateway's routes and rules are added with ip(8), as package routing
// would add them.
//
//	client --lan0-- gw --wan0 (lane 1)-- ispA-- net
//	                 \---wan1 (lane 2)-- ispB--/
type lab struct {
	t               *testing.T
	client, gw, net *netns.NS
	kernel          *Kernel
	goal            Goal
}

// plan has the addresses of one family: the gateway's on each uplink, its neighbours'
// there, those of a host in the internet and of the client.
type plan struct {
	flag, family           string
	a, b, nextA, nextB     string
	host, client, lan, any string
	bits                   int
}

var plans = [2]plan{
	{
		"-4", "ip", "203.0.113.2", "198.51.100.2", "203.0.113.1", "198.51.100.1",
		"192.0.2.2", "192.168.1.10", "192.168.1.1", "0.0.0.0/0", 24,
	},
	{
		"-6", "ip6", "2001:db8:1::2", "2001:db8:2::2", "2001:db8:1::1", "2001:db8:2::1",
		"2001:db8:99::2", "fd00:1::10", "fd00:1::1", "::/0", 64,
	},
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, client: netns.New(t), gw: netns.New(t), net: netns.New(t), kernel: newKernel(t), goal: twoUplinks()}
	l.veth(l.client, "eth0", l.gw, "lan0")
	l.veth(l.gw, "wan0", l.net, "ispA")
	l.veth(l.gw, "wan1", l.net, "ispB")
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		l.must(l.gw.SetSysctl(key, "1"))
	}
	for _, dev := range []string{"wan0", "wan1"} {
		for _, f := range []string{"ipv4", "ipv6"} {
			l.must(l.gw.SetSysctl("net/"+f+"/conf/"+dev+"/ignore_routes_with_linkdown", "1"))
		}
	}
	for _, p := range plans {
		l.address(l.client, "eth0", p.client, p.bits)
		l.address(l.gw, "lan0", p.lan, p.bits)
		l.address(l.gw, "wan0", p.a, p.bits)
		l.address(l.gw, "wan1", p.b, p.bits)
		l.address(l.net, "ispA", p.nextA, p.bits)
		l.address(l.net, "ispB", p.nextB, p.bits)
		l.address(l.net, "lo", p.host, 8*len(netip.MustParseAddr(p.host).AsSlice()))
		run(t, l.client, "ip", p.flag, "route", "add", "default", "via", p.lan)
	}
	l.rules()
	l.prefer("wan0", "wan1")
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) veth(a *netns.NS, nameA string, b *netns.NS, nameB string) {
	l.t.Helper()
	l.must(netns.Veth(a, nameA, b, nameB))
	l.must(a.SetUp(nameA))
	l.must(b.SetUp(nameB))
}

func (l *lab) address(ns *netns.NS, link, addr string, bits int) {
	l.t.Helper()
	args := []string{"addr", "add", netip.PrefixFrom(netip.MustParseAddr(addr), bits).String(), "dev", link}
	if strings.Contains(addr, ":") {
		args = append(args, "nodad") // usable at once, however busy the machine is
	}
	run(l.t, ns, "ip", args...)
}

// rules adds the gateway's rules and the routes of the uplinks' own tables.
func (l *lab) rules() {
	l.t.Helper()
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf(`
			rule add pref 5300 lookup main suppress_prefixlength 1
			rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301
			rule add pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302
			rule add pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364
			rule add pref 5451 from %[1]s fwmark 0/0xffffffff lookup 5301
			rule add pref 5452 from %[2]s fwmark 0/0xffffffff lookup 5302
			rule add pref 5551 oif wan0 lookup 5301
			rule add pref 5552 oif wan1 lookup 5302
			rule add pref 5651 oif wan0 unreachable
			rule add pref 5652 oif wan1 unreachable
			rule add pref 32765 lookup 5364
			route replace default table 5301 metric 1 via %[3]s dev wan0 onlink
			route replace default table 5302 metric 1 via %[4]s dev wan1 onlink
		`, p.a, p.b, p.nextA, p.nextB))
	}
}

// prefer sets the default policy's ladder, best uplink first.
func (l *lab) prefer(first, second string) {
	l.t.Helper()
	for _, p := range plans {
		next := map[string]string{"wan0": p.nextA, "wan1": p.nextB}
		l.batch(p.flag, fmt.Sprintf(`
			route replace default table 5364 metric 1 via %s dev %s onlink
			route replace default table 5364 metric 2 via %s dev %s onlink
		`, next[first], first, next[second], second))
	}
}

func (l *lab) batch(flag, lines string) {
	l.t.Helper()
	cmd := l.gw.Command("ip", flag, "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	out := new(strings.Builder)
	cmd.Stderr = out
	l.must(l.gw.Start(cmd))
	if err := cmd.Wait(); err != nil {
		l.t.Fatalf("ip -batch: %v: %s", err, out)
	}
}

// apply applies the lab's goal to the gateway.
func (l *lab) apply() {
	l.t.Helper()
	inside(l.t, l.gw, func() error { return l.kernel.Apply(Ruleset(l.goal)) })
}

// move changes the lab's goal, and moves the gateway's table to it as a verdict does.
func (l *lab) move(change func(*Goal)) {
	l.t.Helper()
	before := Ruleset(l.goal)
	change(&l.goal)
	inside(l.t, l.gw, func() error { return l.kernel.Move(before, Ruleset(l.goal)) })
}

// lose is a verdict: uplink wan0 is lost to the default policy in both families. The
// order is that of the daemon.
func (l *lab) lose() {
	l.t.Helper()
	l.prefer("wan1", "wan0")
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf("rule del pref 5451 from %s fwmark 0/0xffffffff lookup 5301", p.a))
	}
	l.batch("-6", "rule del pref 5651 oif wan0 unreachable\nrule add pref 5651 oif wan0 fwmark 0x01000000/0x7f000000 unreachable")
	l.move(func(g *Goal) { g.Lost = [2][]Pair{{{1, 64}}, {{1, 64}}} })
	inside(l.t, l.gw, func() error { return l.kernel.Grace([]string{"wan1"}) })
	for _, f := range failover.Families {
		l.deleteFlows(f, 1, 64)
		inside(l.t, l.gw, func() error {
			_, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(plans[f].a), Spared{})
			return err
		})
	}
}

func (l *lab) deleteFlows(f failover.Family, uplink, policy lane.Lane) {
	l.t.Helper()
	inside(l.t, l.gw, func() error {
		return l.kernel.DeleteFlows(l.goal.Layout, Pair{uplink, policy}, f)
	})
}

// regain is the failback: routes first, then the pairs; nothing is deleted.
func (l *lab) regain() {
	l.t.Helper()
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf("rule add pref 5451 from %s fwmark 0/0xffffffff lookup 5301", p.a))
	}
	l.batch("-6", "rule add pref 5651 oif wan0 unreachable\nrule del pref 5651 oif wan0 fwmark 0x01000000/0x7f000000 unreachable")
	l.prefer("wan0", "wan1")
	l.move(func(g *Goal) { g.Lost = [2][]Pair{} })
}

// watchWrong counts, in the internet, packets that came by one ISP with the
// gateway's address of the other, or with a source of the LAN.
func (l *lab) watchWrong() {
	l.t.Helper()
	loadText(l.t, l.net, `table inet witness {
		counter wrong { }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			iifname "ispA" ip saddr { 198.51.100.2, 192.168.1.0/24 } counter name wrong
			iifname "ispB" ip saddr { 203.0.113.2, 192.168.1.0/24 } counter name wrong
			iifname "ispA" ip6 saddr { 2001:db8:2::2, fd00:1::/64 } counter name wrong
			iifname "ispB" ip6 saddr { 2001:db8:1::/48, fd00:1::/64 } counter name wrong
		}
	}`)
}

func (l *lab) noneWrong() {
	l.t.Helper()
	out := run(l.t, l.net, "nft", "list", "counter", "inet", "witness", "wrong")
	if !strings.Contains(out, "packets 0 ") {
		l.t.Errorf("packets left with an address that does not belong there: %s", out)
	}
}

func (l *lab) counters() (c Counters) {
	l.t.Helper()
	inside(l.t, l.gw, func() (err error) {
		c, err = l.kernel.Counters()
		return err
	})
	return c
}

// flows returns the gateway's conntrack table as conntrack(8) lists it.
func (l *lab) flows(args ...string) string {
	l.t.Helper()
	both := ""
	for _, family := range []string{"ipv4", "ipv6"} {
		both += run(l.t, l.gw, "conntrack", append([]string{"-L", "-f", family}, args...)...)
	}
	return both
}

// until waits for a condition, and fails the test if it does not come true.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
