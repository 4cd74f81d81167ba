package routing

import (
	"strings"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

// userRules are rules of others with each selector, after our first one.
const userRules = `ip -4 route add default via 198.51.100.1 dev wan1 table 100; ip -6 route add default via 2001:db8:2::1 dev wan1 table 100
	ip -4 route add 192.0.2.99 via 203.0.113.1 dev wan0; ip -6 route add 2001:db8:ffff::1 via 2001:db8:1::1 dev wan0
	ip -4 route add 10.20.0.0/16 dev wan1 table 101
	ip -4 rule add pref 5301 from 192.168.50.0/24 lookup 100
	ip -4 rule add pref 5400 to 192.0.2.0/25 from 192.168.51.7 iif wan0 lookup 100
	ip -4 rule add pref 10000 fwmark 0x1/0xff tos 0x10 lookup 100
	ip -4 rule add pref 10001 not fwmark 0xca6c lookup 102
	ip -4 rule add pref 10002 ipproto tcp sport 5-6 dport 443 lookup 101
	ip -4 rule add pref 10003 uidrange 7-9 lookup 100
	ip -4 rule add pref 10004 oif wan9 blackhole
	ip -4 rule add pref 10005 from 192.168.52.0/24 goto 20000
	ip -4 rule add pref 10006 to 10.0.0.0/8 lookup main
	ip -4 rule add pref 32765 from 192.168.53.0/24 lookup 100
	ip -6 rule add pref 32000 from fd00:50::/64 lookup 100`

// foreignDefaults returns the default routes of others.
func foreignDefaults(k *Netlink, l lane.Layout) ([]Route, error) {
	o, err := k.ReadOthers(l)
	return o.Defaults, err
}

func (l *lab) foreignRules() {
	l.t.Helper()
	others, err := l.kernel.ReadOthers(l.goal.Layout)
	l.must(err)
	l.goal.ForeignRules, l.goal.Foreign = others.Heeded, others.Defaults
}

// The rules of others with any selector are led past our first rule, by netlink and by
// the text for ip(8) alike, and taken back when they are gone.
func TestRulesOfOthersAreLedPast(t *testing.T) {
	byNetlink, byShell := newLab(t), newLab(t)
	for _, l := range []*lab{byNetlink, byShell} {
		for _, key := range []string{"all", "wan0", "wan1"} {
			l.must(l.gw.SetSysctl("net/ipv4/conf/"+key+"/rp_filter", "0"))
		}
		l.must(l.gw.SetSysctl("net/ipv4/ip_forward", "1"))
		l.must(l.gw.SetSysctl("net/ipv6/conf/all/forwarding", "1"))
	}
	step := func(script string) string {
		t.Helper()
		byNetlink.sh(script)
		byShell.sh(script)
		byNetlink.foreignRules()
		res := byNetlink.apply(Desired(byNetlink.goal))
		if res.Tries > 1 {
			t.Errorf("%d tries", res.Tries)
		}
		byShell.sh(lines(res.Done))
		a, b := byNetlink.everything(), byShell.everything()
		if a != b {
			t.Fatalf("by netlink\n%s\nby shell\n%s\nthe ops\n%s", a, b, lines(res.Done))
		}
		return a
	}
	step("true")
	// The lab has a rule of others at our first priority, which looks up main.
	if out := byNetlink.sh("ip -4 rule show pref 5300 protocol 83"); strings.Count(out, "proto 83") != 1 {
		t.Errorf("without rules of others:\n%s", out)
	}
	step(userRules)
	out := byNetlink.sh("ip -4 rule show pref 5300 protocol 83")
	if n := strings.Count(out, "goto 5301"); n != 7 { // not for the one that looks up main, and those without a default
		t.Errorf("%d lead past:\n%s", n, out)
	}
	for _, words := range []string{
		"from 192.168.50.0/24 goto 5301", "from 192.168.51.7 to 192.0.2.0/25 iif wan0 goto 5301", "tos 0x10 fwmark 0x1/0xff goto 5301",
		"ipproto tcp sport 5-6 dport 443 lookup 101", "not from all fwmark 0xca6c/0x80ffffff lookup 102", "uidrange 7-9 goto 5301", "from 192.168.53.0/24 goto 5301",
	} {
		if !strings.Contains(out, words) {
			t.Errorf("nothing for %q:\n%s", words, out)
		}
	}
	// One more, while ours stand.
	step("ip -4 rule add pref 12000 from 192.168.54.0/24 lookup 100")
	// One at the very priority of our first rule, and one at that of our last.
	step("ip -4 rule add pref 5300 from 192.168.55.0/24 lookup 100; ip -4 rule add pref 32765 from 192.168.56.0/24 lookup 100")
	byNetlink.wantRulesOfOthers()
	byNetlink.sh("ip -4 rule flush; ip -4 rule add pref 32766 lookup main; ip -6 rule del pref 32000 from fd00:50::/64")
	byNetlink.foreignRules()
	byNetlink.apply(Desired(byNetlink.goal))
	if out := byNetlink.sh("ip -4 rule show pref 5300; ip -6 rule show pref 5300"); strings.Count(out, "proto 83") != 2 || strings.Contains(out, "goto") {
		t.Errorf("after they are gone:\n%s", out)
	}
}

// wantRulesOfOthers checks what goes by the rules of others and what by main.
func (l *lab) wantRulesOfOthers() {
	l.t.Helper()
	for _, from := range []string{"192.168.50.7", "192.168.53.7", "192.168.54.7", "192.168.55.7", "192.168.56.7"} {
		l.sh("ip -4 rule del pref 10001 2>/dev/null || true")
		if way := l.way(failover.IPv4, "from "+from+" iif wan0"); way != "wan1" {
			l.t.Errorf("from %s by %s, want wan1", from, way)
		}
		if way := l.way(failover.IPv4, "from "+from+" iif wan0 mark 0x02000000"); way != "wan1" {
			l.t.Errorf("a flow on wan1 from %s by %s", from, way)
		}
	}
	for args, want := range map[string]string{
		"from 192.168.60.7 iif wan1": "wan0", "": "wan0", "from 192.168.60.7 iif wan1 mark 0x41000000": "wan0", "from 198.51.100.2": "wan0",
		"from 192.168.50.7 iif wan0 mark 0x41000000": "wan0",
	} {
		if way := l.way(failover.IPv4, args); way != want {
			l.t.Errorf("%q by %s, want %s", args, way, want)
		}
	}
	if way := l.way(failover.IPv6, "from fd00:50::7 iif wan0"); way != "wan1" {
		l.t.Errorf("IPv6 by %s", way)
	}
}

// While the rules of others come and go, our first rule or its substitutes stand, so
// that packets with a lane find the machine's own networks.
func TestRulesOfOthersComeWithoutAGap(t *testing.T) {
	l := newLab(t)
	l.apply(Desired(l.goal))
	narrow := func() bool {
		return l.way(failover.IPv4, "mark 0x02000000") == "wan0" && l.way(failover.IPv4, "mark 0x41000000") == "wan0"
	}
	l.sh("ip -4 route add 192.0.2.99 via 203.0.113.1 dev wan0; ip -4 route add default dev wan1 table 100")
	if !narrow() {
		t.Fatal("not by the narrow route")
	}
	for n, script := range []string{
		"ip -4 rule add pref 10000 from 192.168.50.0/24 lookup 100", "ip -4 rule add pref 10001 from 192.168.51.0/24 lookup 100",
		"ip -4 rule add pref 5300 from 192.168.51.0/24 lookup 100", "ip -4 rule del pref 10000", "ip -4 rule del pref 10001",
		"ip -4 rule del pref 5300 from 192.168.51.0/24", "ip -4 rule add pref 5300 from 192.168.52.0/24 lookup 100",
	} {
		l.sh(script)
		l.foreignRules()
		done := 0
		_, err := Apply(watched{l.kernel, func(op Op) {
			done++
			if !narrow() {
				t.Errorf("%s: after %s not by the narrow route", script, op)
			}
		}}, Desired(l.goal))
		l.must(err)
		if done == 0 && n != 5 {
			t.Errorf("%s: nothing was done", script)
		}
	}
}

// Where somebody has moved the rule for the table local behind ours, what is for this
// machine still comes first, while ours are added and after; and ours goes with it.
func TestRuleForLocalAfterOurs(t *testing.T) {
	l := newLab(t)
	l.apply(Desired(l.goal)) // with the rule in its place
	for _, f := range []string{"-4", "-6"} {
		l.sh("ip " + f + " rule add lookup local pref 32765; ip " + f + " rule del pref 0")
	}
	local := func(when string) {
		t.Helper()
		for _, question := range []string{"-4 route get 203.0.113.2", "-4 route get 203.0.113.2 mark 0x02000000", "-6 route get 2001:db8:1::2"} {
			if out := l.sh("ip " + question); !strings.HasPrefix(out, "local ") {
				t.Errorf("%s, %s: %s", when, question, out)
			}
		}
	}
	l.foreignRules()
	l.apply(Desired(l.goal))
	local("while a daemon runs")
	Teardown(l.kernel)
	l.apply(Desired(l.goal))
	local("at a start")
	for _, f := range []string{"-4", "-6"} {
		l.sh("ip " + f + " rule add lookup local pref 0; ip " + f + " rule del lookup local pref 32765")
	}
	l.foreignRules()
	l.apply(Desired(l.goal))
	local("back in its place")
	if out := l.sh("ip -4 rule; ip -6 rule"); strings.Contains(out, "lookup local proto 83") {
		t.Errorf("what stays:\n%s", out)
	}
}

// What comes in by an uplink with that uplink's mark, which another program restored
// from a whole conntrack mark, goes where rules of others and main lead it, and not
// back.
func TestMarksRestoredByOthers(t *testing.T) {
	l := newLab(t)
	l.sh(`echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
		echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/wan0/rp_filter
		ip -4 route add 192.168.10.0/24 dev wan1; ip -6 route add fd00:10::/64 dev wan1
		ip -4 route add default via 198.51.100.1 dev wan1 table 100; ip -6 route add default via 2001:db8:2::1 dev wan1 table 100
		ip -4 rule add pref 15000 lookup main suppress_prefixlength 0; ip -6 rule add pref 15000 lookup main suppress_prefixlength 0
		ip -4 rule add pref 15001 not fwmark 0xca6c lookup 100; ip -6 rule add pref 15001 not fwmark 0xca6c lookup 100`)
	l.foreignRules()
	l.apply(Desired(l.goal))
	for _, question := range []string{"-4 route get 192.168.10.7 from 192.0.2.7 iif wan0 mark 0x01c00000", "-6 route get fd00:10::7 from 2001:db8:ffff::7 iif wan0 mark 0x01c00000"} {
		if out := l.sh("ip " + question); !strings.Contains(out, "dev wan1") {
			t.Errorf("%s: %s", question, out)
		}
	}
	// A flow's own packets, from another device, still follow their lane.
	if out := l.sh("ip -4 route get 192.0.2.7 mark 0x01000000"); !strings.Contains(out, "dev wan0 table 5301") {
		t.Errorf("of its lane: %s", out)
	}
}

// A rule for a mark without a mask goes on deciding about a flow whose packets have an
// uplink's lane, at any priority and in its turn among the others; what has a policy's
// lane goes by that.
func TestMarksWithoutMasks(t *testing.T) {
	l := newLab(t)
	for f, via := range map[string]string{"4": "198.51.100.1", "6": "2001:db8:2::1"} {
		l.sh("ip -" + f + " route add default via " + via + " dev wan1 table 100")
		l.sh("ip -" + f + " rule add pref 5350 fwmark 7 lookup 100")
		l.sh("ip -" + f + " rule add pref 6000 fwmark 10/0xff0000ff lookup 100")
	}
	l.sh("ip -4 route add 192.0.2.99 via 203.0.113.1 dev wan0; ip -6 route add 2001:db8:ffff::1 via 2001:db8:1::1 dev wan0")
	step := func() {
		t.Helper()
		l.foreignRules()
		l.apply(Desired(l.goal))
	}
	step()
	for _, f := range failover.Families {
		for question, want := range map[string]string{
			"mark 7": "wan1", "mark 10": "wan1", // a flow's first packet
			"mark 0x02000007": "wan1", "mark 0x0200000a": "wan1", "mark 0x02000008": "wan0",
			"mark 0x02ff000a": "wan1",                            // restored by others, with what we noted
			"mark 0x4000000a": "wan0", "mark 0x40000007": "wan0", // of policies, whose first rung, and narrower route, is by wan0
		} {
			if way := l.way(f, question); way != want {
				t.Errorf("%s, %s: by %s, want %s", f, question, way, want)
			}
		}
	}
	if out := l.sh("{ ip -4 rule; ip -6 rule; } | grep 'proto 83' | grep -v '^5[34567]'"); strings.Count(out, "\n") != 4 { // main again, the ladder
		t.Errorf("ours elsewhere:\n%s", out)
	}
	l.sh("ip -4 rule del fwmark 7 lookup 100")
	step()
	if out := l.sh("ip -4 rule show pref 5300 | grep 'fwmark 0x7' || true"); out != "" {
		t.Errorf("after they are gone:\n%s", out)
	}
	Teardown(l.kernel)
	if out := l.sh("{ ip -4 rule; ip -6 rule; } | grep 'proto 83' || true"); out != "" {
		t.Errorf("left by the teardown:\n%s", out)
	}
}

// Rules of other programs of every form have their copies, which the kernel holds as they
// were wanted: sing-box's suppress defaults, and are from no address.
func TestRulesOfEveryForm(t *testing.T) {
	l := newLab(t)
	l.apply(Desired(l.goal))
	rules := []string{"lookup 2022 suppress_prefixlength 0", "lookup 2022 suppress_prefixlength 1", "lookup 2022",
		"lookup main suppress_prefixlength 0", "lookup main suppress_prefixlength 8", "lookup 2022 suppress_ifgroup 7", "lookup 2022 suppress_ifgroup 0",
		"not iif lo lookup 2022", "from 0.0.0.0/32 iif lo lookup 2022", "from 172.18.0.0/30 iif lo lookup 2022",
		"from 172.18.0.0/30 lookup 2022 suppress_prefixlength 0", "fwmark 7/0xff lookup 2022 suppress_prefixlength 0",
		"oif wan1 lookup 2022 suppress_prefixlength 0", "to 10.9.0.0/16 unreachable", "from 172.18.0.9 prohibit", "from 172.18.0.9 blackhole",
		"ipproto udp dport 53 lookup 2022", "uidrange 7-9 lookup 2022", "tos 0x10 lookup 2022", "nop"}
	ipv6 := strings.NewReplacer("0.0.0.0/32", "::/128", "172.18.0.0/30", "fd18::/64", "172.18.0.9", "fd18::9", "10.9.0.0/16", "fd09::/16")
	change := func(do string, rules ...string) {
		t.Helper()
		for _, rule := range rules {
			l.sh("ip -4 rule " + do + " pref 9001 " + rule + "; ip -6 rule " + do + " pref 9001 " + ipv6.Replace(rule))
		}
		l.foreignRules()
		l.apply(Desired(l.goal)) // which reads it back
	}
	for _, rule := range rules {
		change("add", rule)
		for _, f := range []string{"-4", "-6"} { // what goes by no other words
			copied := strings.Replace(rule, "ifgroup 0", "ifgroup default", 1) + " proto 83"
			if out := l.sh("ip " + f + " rule"); strings.HasPrefix(rule, "lookup 2022") && !strings.Contains(out, "from all "+copied) {
				t.Errorf("the copy of %q is not there:\n%s", rule, out)
			}
		}
		change("del", rule)
	}
	change("add", rules...)
	change("del", rules...)
	for _, rule := range rules {
		change("add", rule)
	}
	for _, rule := range rules {
		change("del", rule)
	}
}
