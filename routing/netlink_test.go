package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// steps are successive goals, as in the lifetime of an uplink.
func steps(base func() Goal) []struct {
	name string
	goal Goal
} {
	change := func(fn func(*Goal)) Goal {
		g := base()
		fn(&g)
		return g
	}
	shared := Ladder{Rungs: []Rung{{{1, 3}, {2, 1}}, {{2, 1}}}, Block: true}
	return []struct {
		name string
		goal Goal
	}{
		{"start", base()},
		{"lost", change(func(g *Goal) {
			g.Policies[0].Family = both(order(2, 1))
			g.Uplinks[0].Family[0].FromRule, g.Uplinks[0].Family[1].FromRule = false, false
		})},
		{"shared", change(func(g *Goal) { g.Policies[0].Family, g.Policies[1].Family = both(shared), both(shared) })},
		{"other weights", change(func(g *Goal) {
			g.Policies[0].Family = both(Ladder{Rungs: []Rung{{{2, 200}, {1, 255}}}})
		})},
		{"one again", change(func(g *Goal) { g.Policies[0].Family = both(order(1)) })},
		{"blocked", change(func(g *Goal) { g.Policies[0].Family, g.Policies[1].Family = both(Ladder{Block: true}), both(Ladder{}) })},
		{"point to point", change(func(g *Goal) {
			g.Uplinks[0].Family[0].Gateway, g.Uplinks[0].Family[1].Gateway = netip.Addr{}, netip.Addr{}
			g.Policies[0].Family = both(shared)
		})},
		{"other gateway", change(func(g *Goal) {
			g.Uplinks[0].Family[0].Gateway = netip.MustParseAddr("fe80::9")
			g.Uplinks[0].Family[1].Gateway = netip.MustParseAddr("fe80::9")
			g.Policies[0].Family = both(shared)
		})},
		{"same gateway twice", change(func(g *Goal) {
			g.Uplinks[0].Family[0].Gateway, g.Uplinks[1].Family[0].Gateway = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.1")
			g.Uplinks[0].Family[1].Gateway, g.Uplinks[1].Family[1].Gateway = netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::1")
			g.Policies[0].Family = both(shared)
		})},
		{"shaped", change(func(g *Goal) { shapeUplinks(g); g.Mirror = true })},
		{"shaped and shared", change(func(g *Goal) {
			shapeUplinks(g)
			g.Policies[0].Family, g.Policies[1].Family = both(shared), both(shared)
		})},
		{"shaped otherwise", change(func(g *Goal) {
			shapeUplinks(g)
			for f := range g.Uplinks[0].Family {
				g.Uplinks[0].Family[f].Shape.Metrics[failover.MetricMTU] = 1300
				g.Uplinks[0].Family[f].Shape.Congestion = ""
			}
		})},
		{"encapsulated", change(encapsulate)},
		{"mirrored", change(func(g *Goal) { g.Mirror = true })},
		{"mirrored, other order", change(func(g *Goal) { g.Mirror = true; g.Policies[0].Family = both(order(2, 1)) })},
		{"absent", change(func(g *Goal) {
			g.Uplinks[0].Index, g.Uplinks[0].Interface = 0, "gone0"
			g.Uplinks[0].Family = [2]Path{}
		})},
		{"other place", change(func(g *Goal) { g.Layout.FirstPriority, g.Layout.FirstTable, g.Layout.MarkMask = 7000, 8000, 0x7f00 })},
		{"no IPv6", change(func(g *Goal) { g.NoIPv6 = true })},
		{"back", base()},
	}
}

// shapeUplinks gives the first uplink every metric that there is, and the second few.
func shapeUplinks(g *Goal) {
	for _, f := range failover.Families {
		first, second := &g.Uplinks[0].Family[f].Shape, &g.Uplinks[1].Family[f].Shape
		for n := failover.MetricMTU; n < len(first.Metrics); n++ {
			first.Metrics[n] = uint32(100 + n)
		}
		first.Metrics[failover.MetricMTU] = 1400
		first.Metrics[failover.MetricFeatures], first.Metrics[unix.RTAX_QUICKACK] = 1, 1
		first.Metrics[unix.RTAX_CC_ALGO], first.Metrics[unix.RTAX_FASTOPEN_NO_COOKIE] = 0, 1
		first.Metrics[unix.RTAX_RTT], first.Metrics[unix.RTAX_RTTVAR] = 803, 404
		first.Metrics[failover.MetricLock] = 1<<failover.MetricMTU | 1<<failover.MetricRTOMin | 1<<failover.MetricHopLimit | 1<<unix.RTAX_CC_ALGO
		first.Congestion = "reno"
		second.Metrics[failover.MetricMTU] = 1350
		first.Source = g.Uplinks[0].Family[f].Addresses[0]
	}
	g.Uplinks[0].Family[failover.IPv4].Shape.Realm = 3<<16 | 7
	g.Uplinks[1].Family[failover.IPv4].Shape.Realm = 9
}

// encapsulate has the packets of each uplink put into a header.
func encapsulate(g *Goal) {
	attrs := func(zero netip.Addr, dst string, flags byte) string {
		b := appendAttr(nil, encapID, []byte{7: 100})
		b = appendAttr(b, encapDst, netip.MustParseAddr(dst).AsSlice())
		b = appendAttr(b, encapSrc, zero.AsSlice())
		b = appendAttr(b, encapTOS, []byte{8})
		b = appendAttr(b, encapTTL, []byte{9})
		return string(appendAttr(b, encapFlags, []byte{0, flags}))
	}
	for n := range 2 {
		g.Uplinks[n].Family[failover.IPv4].Shape.Encap = failover.Encap{
			Type: unix.LWTUNNEL_ENCAP_IP, Data: attrs(netip.IPv4Unspecified(), []string{"203.0.113.77", "198.51.100.77"}[n], []byte{4, 0}[n]),
		}
	}
	g.Uplinks[1].Family[failover.IPv6].Shape.Encap = failover.Encap{
		Type: unix.LWTUNNEL_ENCAP_IP6, Data: attrs(netip.IPv6Unspecified(), "2001:db8:2::77", 0),
	}
}

// The output of ip(8) is the same whether our ops were done by netlink or their text
// was run by a shell, step by step.
func TestOpsAndTheirTextDoTheSame(t *testing.T) {
	byNetlink, byShell := newLab(t), newLab(t)
	for _, s := range steps(exampleGoal) {
		for n := range s.goal.Uplinks {
			if s.goal.Uplinks[n].Index != 0 {
				s.goal.Uplinks[n].Index = byNetlink.goal.Uplinks[n].Index
			}
		}
		var err error
		if s.goal.Foreign, err = foreignDefaults(byNetlink.kernel, s.goal.Layout); err != nil {
			t.Fatal(err)
		}
		res := byNetlink.apply(Desired(s.goal))
		if res.Tries > 1 {
			t.Errorf("%s: took %d tries", s.name, res.Tries)
		}
		byShell.sh(lines(res.Done))
		if a, b := byNetlink.everything(), byShell.everything(); a != b {
			t.Fatalf("%s: by netlink\n%s\nby shell\n%s\nthe ops\n%s", s.name, a, b, lines(res.Done))
		}
	}
}

// watched calls after with each op that the kernel has done.
type watched struct {
	Kernel
	after func(Op)
}

func (w watched) Do(op Op) error {
	err := w.Kernel.Do(op)
	w.after(op)
	return err
}

// After each single op the kernel has a route for traffic that has one before and
// after the plan. Main has no default route that could hide a gap.
func TestAlwaysAWay(t *testing.T) {
	l := newLab(t)
	l.apply(Desired(l.goal))
	l.sh("ip -4 route del default; ip -4 route del default; ip -6 route del default")
	ways := func() (out []bool) {
		for _, f := range failover.Families {
			for _, mark := range []string{"", "mark 0x40000000", "mark 0x41000000"} {
				out = append(out, l.way(f, mark) != "unreachable")
			}
		}
		return out
	}
	for _, s := range steps(func() Goal { return cloneGoal(l.goal) }) {
		want := Desired(s.goal)
		var seen [][]bool
		before := ways()
		_, err := Apply(watched{l.kernel, func(Op) { seen = append(seen, ways()) }}, want)
		l.must(err)
		after := ways()
		for n, now := range seen {
			for i := range now {
				if before[i] && after[i] && !now[i] {
					t.Errorf("%s: no route (check %d) after op %d of %d", s.name, i, n+1, len(seen))
				}
			}
		}
	}
}

// Repeating an op is no error, except where it adds a route to a slot in use.
func TestDoTwice(t *testing.T) {
	l := newLab(t)
	l.goal.Mirror = true
	for _, ops := range [][]Op{Plan(Desired(l.goal), State{}), Plan(State{}, Desired(l.goal))} {
		for _, op := range ops {
			l.must(l.kernel.Do(op))
			err := l.kernel.Do(op)
			if taken := op.Action == AddRoute; taken != errors.Is(err, unix.EEXIST) || !taken && err != nil {
				t.Errorf("%s, again: %v", op, err)
			}
		}
	}
}

// ip(8) lists the routes and rules of the example.
func TestWitness(t *testing.T) {
	l := newLab(t)
	l.goal.Policies[0].Family[0] = Ladder{Rungs: []Rung{{{1, 3}, {2, 1}}}}
	l.apply(Desired(l.goal))
	golden(t, "witness.txt", l.ours())
}

// Nothing of ours is left, and foreign routes and rules are the same, to the byte.
func TestTeardownByteForByte(t *testing.T) {
	l := newLab(t)
	before := l.everything()
	for _, s := range steps(func() Goal { return cloneGoal(l.goal) }) {
		found, err := foreignDefaults(l.kernel, s.goal.Layout)
		l.must(err)
		s.goal.Foreign = found
		l.apply(Desired(s.goal))
		if s.name != "start" && s.name != "mirrored" && s.name != "other place" {
			continue
		}
		l.sh("ip -4 route add unreachable 198.18.0.1 table 5301 proto 83; ip -6 route add blackhole 2001:db8:9::/48 table 5302 proto 83")
		if res, err := Teardown(l.kernel); err != nil || !res.State.Empty() {
			t.Fatalf("%s: teardown: %v; left %v", s.name, err, res.State)
		}
		if after := l.everything(); after != before {
			t.Fatalf("%s: before\n%s\nafter\n%s", s.name, before, after)
		}
	}
}

// cloneGoal copies the slices, so that changes do not affect the original.
func cloneGoal(g Goal) Goal {
	g.Uplinks = append([]Uplink(nil), g.Uplinks...)
	g.Policies = append([]Policy(nil), g.Policies...)
	return g
}

// Whatever other programs delete, add or change among ours is repaired.
func TestForeignChangesAreRepaired(t *testing.T) {
	l := newLab(t)
	l.goal.Mirror = true
	want := Desired(l.goal)
	l.apply(want)
	whole := l.everything()
	for _, change := range []string{
		"ip -4 rule flush; ip -4 rule add pref 32766 lookup main; ip -4 rule add pref 32767 lookup default; ip -4 rule add pref 1000 fwmark 0xca6c lookup 51820; ip -4 rule add pref 5300 to 10.0.0.0/8 lookup main",
		"ip -6 rule del pref 5551; ip -4 rule del pref 5451",
		"ip -4 route flush table 5364; ip -6 route flush table 5365",
		"ip -4 route replace default table 5364 proto 83 metric 1 via 203.0.113.77 dev wan0 onlink",
		"ip -6 route replace unreachable default table 5364 proto 83 metric 1",
		"ip -4 route append default table 5364 proto 83 metric 1 via 203.0.113.77 dev wan0 onlink",
		"ip -6 route append default table 5364 proto 83 metric 1 via 2001:db8:1::77 dev wan0 onlink",
		"ip -4 route replace default table 5364 proto 83 metric 1 via 203.0.113.1 dev wan0 onlink mtu 1200",
		"ip -6 route replace default table 5301 proto 83 metric 1 via 2001:db8:1::1 dev wan0 onlink advmss 1000",
		"ip -4 route replace default table 5302 proto 83 metric 1 via 198.51.100.1 dev wan1 onlink src 203.0.113.2 realm 4",
		"ip -4 rule add pref 5364 iif lo fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83; ip -6 rule add pref 4000 blackhole protocol 83",
		"ip -4 rule add pref 32764 not from 10.0.0.1 lookup 5364 protocol 83; ip -4 rule add pref 5301 prohibit protocol 83",
		"ip -4 route del default table main proto 83; ip -4 route add default tos 4 table 5364 proto 83 metric 1 dev wan1",
		"ip link set wan0 down; ip link set wan0 up; ip addr replace 2001:db8:1::2/64 dev wan0 nodad; ip -4 route add default via 203.0.113.1 dev wan0 proto dhcp metric 100; ip -4 route add 10.99.0.0/16 via 203.0.113.9; ip -6 route add default via 2001:db8:1::1 dev wan0 proto ra metric 1024",
	} {
		l.sh(change)
		have, err := l.kernel.Read()
		l.must(err)
		if len(Plan(want, have)) == 0 {
			t.Errorf("not detected: %s", change)
		}
		l.apply(want)
		if now := l.everything(); sorted(now) != sorted(whole) {
			t.Fatalf("after %q:\n%s\nwhole:\n%s", change, now, whole)
		}
	}
}

// sorted sorts the lines: the order in which routes were added is not restored.
func sorted(text string) string {
	l := strings.Split(text, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// A device that disappears during an Apply costs only its own routes.
func TestDeadDevice(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].Index = 9999
	res, err := Apply(l.kernel, Desired(l.goal))
	if !errors.Is(err, unix.ENODEV) {
		t.Fatalf("apply: %v, want no such device", err)
	}
	for _, f := range failover.Families {
		if way := l.way(f, "mark 0x40000000"); way != "wan1" {
			t.Errorf("%s: traffic goes by %s", f, way)
		}
	}
	if len(res.Left) != 6 {
		t.Errorf("left:\n%s, want the six routes of the device", lines(res.Left))
	}
	l.must(l.gw.SetDown("wan0"))
	l.goal.Uplinks[0].Index = l.index("wan0")
	if _, err := Apply(l.kernel, Desired(l.goal)); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("apply with the device down: %v, want network is down", err)
	}
}

// A default route of another protocol that is added to our slot of main at the last
// moment stays.
func TestForeignSlotIsNotTakenOver(t *testing.T) {
	l := newLab(t)
	l.goal.Mirror = true
	theirs := fmt.Sprintf("default via 203.0.113.7 dev wan0 proto static metric %d", mirrorBase)
	l.sh("ip -4 route add " + theirs)
	if _, err := Apply(l.kernel, Desired(l.goal)); !errors.Is(err, unix.EEXIST) {
		t.Errorf("apply: %v, want file exists", err)
	}
	if out := l.sh("ip -4 route show default"); !strings.Contains(out, theirs) {
		t.Errorf("their route is gone:\n%s", out)
	}
	var err error
	l.goal.Foreign, err = foreignDefaults(l.kernel, l.goal.Layout)
	l.must(err)
	l.apply(Desired(l.goal))
	out := l.sh("ip -4 route show default")
	if !strings.Contains(out, theirs) || !strings.Contains(out, fmt.Sprintf("proto 83 metric %d", mirrorBase+1)) {
		t.Errorf("main holds\n%s", out)
	}
}

func TestForeign(t *testing.T) {
	l := newLab(t)
	l.apply(Desired(l.goal))
	l.sh("ip -4 route add unreachable default table 5365 metric 7; ip -4 route add default dev wan0 table 77\n" +
		"ip -4 route add 128.0.0.0/1 dev wan1; ip -4 route add 128.0.0.0/1 dev wan1 table 77; ip -4 route add 64.0.0.0/2 dev wan1")
	got, err := foreignDefaults(l.kernel, l.goal.Layout)
	l.must(err)
	var b strings.Builder
	for _, r := range got {
		fmt.Fprintln(&b, r)
	}
	want := `unreachable default table 5365 proto 3 metric 7
default table main proto 16 metric 100 via 203.0.113.1 dev wan0
default table main proto 16 metric 101 via 198.51.100.1 dev wan1
128.0.0.0/1 table main proto 3 metric 0 dev wan1
default table main proto 9 metric 1024 via 2001:db8:1::1 dev wan0
`
	if b.String() != want {
		t.Errorf("foreign default routes:\n%s\nwant:\n%s", b.String(), want)
	}
}

// The kernel falls back to the next rung by itself when carrier is lost, without a
// daemon.
func TestCarrierLossWithoutADaemon(t *testing.T) {
	l := newLab(t)
	l.goal.Policies[0].Family = both(order(1, 2))
	l.apply(Desired(l.goal))
	l.must(l.gw.Do(func() error {
		s, err := OpenSysctls(t.TempDir()+"/sysctls.json", true)
		if err == nil {
			_, err = s.Set([]Interface{{"wan0", l.index("wan0")}, {"wan1", l.index("wan1")}}, false)
		}
		return err
	}))
	l.kernel.Close()
	for _, c := range []struct {
		isp  func(string) error
		want string
	}{{nil, "wan0"}, {l.isp.SetDown, "wan1"}, {l.isp.SetUp, "wan0"}} {
		if c.isp != nil {
			l.must(c.isp("wan0"))
		}
		for _, f := range failover.Families {
			for _, mark := range []string{"", "mark 0x40000000"} {
				l.eventually(fmt.Sprintf("%s %q by %s", f, mark, c.want), func() bool { return l.way(f, mark) == c.want })
			}
		}
	}
}

// The hops of routes by nexthop objects are known whatever nexthop_compat_mode says.
func TestForeignByNexthopObjects(t *testing.T) {
	l := newLab(t)
	l.must(l.gw.SetSysctl("net/ipv4/nexthop_compat_mode", "0"))
	l.sh(`ip -4 route del default; ip -4 route del default; ip -6 route del default
		ip nexthop add id 5 via 203.0.113.1 dev wan0; ip nexthop add id 6 via 198.51.100.1 dev wan1
		ip nexthop add id 7 group 5,3/6,2; ip nexthop add id 8 via 2001:db8:1::1 dev wan0
		ip -4 route add default nhid 7 metric 9; ip -6 route add default nhid 8 metric 10`)
	got, err := foreignDefaults(l.kernel, l.goal.Layout)
	l.must(err)
	want := "default table main proto 3 metric 9 nexthop via 203.0.113.1 dev wan0 weight 3 nexthop via 198.51.100.1 dev wan1 weight 2\n" +
		"default table main proto 3 metric 10 via 2001:db8:1::1 dev wan0\n"
	var b strings.Builder
	for _, r := range got {
		fmt.Fprintln(&b, r)
	}
	if b.String() != want {
		t.Errorf("foreign default routes:\n%s\nwant:\n%s", b.String(), want)
	}
}
