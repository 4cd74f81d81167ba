package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// A default of another program at metric 1 of one of our tables is met after ours in
// IPv4, and ours return to their place when it is gone.
func TestIntruderIsOvertaken(t *testing.T) {
	for _, kind := range []string{"blackhole", "unreachable", "prohibit"} {
		t.Run(kind, func(t *testing.T) {
			l := newLab(t)
			l.sh(fmt.Sprintf("ip -4 route add %[1]s default table 5364 metric 1; ip -4 route add %[1]s default table 5301 metric 1", kind))
			foreign := func() {
				t.Helper()
				var err error
				l.goal.Foreign, err = foreignDefaults(l.kernel, l.goal.Layout)
				l.must(err)
				l.apply(Desired(l.goal))
			}
			foreign()
			for _, mark := range []string{"0", "0x01000000"} {
				if out := l.sh("ip -4 route get 192.0.2.7 mark " + mark); !strings.Contains(out, "via 203.0.113.1 dev wan0") {
					t.Errorf("a packet with mark %s goes %s", mark, out)
				}
			}
			theirs := kind + " default metric 1"
			for _, table := range []string{"5364", "5301"} {
				if out := l.sh("ip -4 route show table " + table); !strings.Contains(out, theirs) {
					t.Errorf("their route is gone from table %s:\n%s", table, out)
				}
				l.sh("ip -4 route del " + kind + " default table " + table + " metric 1")
			}
			foreign()
			if out := l.sh("ip -4 route show table 5364"); !strings.Contains(out, "default via 203.0.113.1 dev wan0 proto 83 metric 1 ") {
				t.Errorf("afterwards the table holds\n%s", out)
			}
		})
	}
}

func TestIntruder(t *testing.T) {
	at := func(f failover.Family, table int, protocol uint8, metric uint32) Route {
		return Route{
			Slot: Slot{Family: f, Table: table, Dst: anywhere(f), Metric: metric}, Protocol: protocol, Type: unix.RTN_BLACKHOLE,
		}
	}
	to := func(dst string) Route {
		r := at(failover.IPv4, 5364, unix.RTPROT_STATIC, 0)
		r.Dst = netip.MustParsePrefix(dst)
		return r
	}
	for _, c := range []struct {
		route        Route
		found, first bool
	}{
		{to("128.0.0.0/1"), true, true},
		{to("198.18.0.0/15"), true, false},
		{at(failover.IPv4, 5364, unix.RTPROT_STATIC, 0), true, true},
		{at(failover.IPv4, 5364, unix.RTPROT_STATIC, 1), true, false},
		{at(failover.IPv6, 5301, unix.RTPROT_STATIC, 1), true, true},
		{at(failover.IPv6, 5301, unix.RTPROT_STATIC, 2), true, false},
		{at(failover.IPv4, 5364, lane.Protocol, 0), false, false},
		{at(failover.IPv4, MainTable, unix.RTPROT_STATIC, 0), false, false},
		{at(failover.IPv4, 77, unix.RTPROT_STATIC, 0), false, false},
	} {
		if found, first := Intruder(c.route, lane.DefaultLayout); found != c.found || first != c.first {
			t.Errorf("%s: %v, %v", c.route, found, first)
		}
	}
}

// Narrower routes of others in our tables are found, in both families, and no others are.
func TestNarrowerRoutesInOurTables(t *testing.T) {
	l := newLab(t)
	l.sh(`ip -4 route add 0.0.0.0/1 via 203.0.113.1 dev wan0 table 5364; ip -4 route add blackhole 198.18.0.0/15 table 5301
ip -6 route add 2001:db8:99::/48 via 2001:db8:1::1 dev wan0 table 5364
ip -4 route add 198.18.0.0/15 via 203.0.113.1 dev wan0; ip -4 route add 198.18.0.0/15 via 203.0.113.1 dev wan0 table 77`)
	others, err := l.kernel.ReadOthers(l.goal.Layout)
	l.must(err)
	var got []string
	for _, r := range others.Narrower {
		got = append(got, r.String())
	}
	want := []string{"0.0.0.0/1 table 5364", "blackhole 198.18.0.0/15 table 5301", "2001:db8:99::/48 table 5364"}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, w) }) {
			t.Errorf("no %q among %q", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %q", got)
	}
}
