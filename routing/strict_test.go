package routing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What comes in by an uplink with strict reverse path filtering passes the lanes by,
// to rules of other programs, while its reverse path is looked up in its lane. The
// rules are ours and are read back, also when some are deleted and added again, and go
// with the filter.
func TestStrictUplink(t *testing.T) {
	l := newLab(t)
	l.sh("ip -4 rule add pref 6000 to 172.29.0.0/24 lookup 200; ip -4 route add 172.29.0.0/24 dev wan1 table 200")
	l.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter")
	for _, dev := range []string{"wan0", "wan1"} {
		l.sh(fmt.Sprintf("echo 1 > /proc/sys/net/ipv4/conf/%[1]s/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/%[1]s/src_valid_mark", dev))
	}
	way := func() string { return l.sh("ip -4 route get 172.29.0.7 from 192.0.2.7 iif wan0 mark 0x01000000") }
	l.apply(Desired(l.goal))
	if got := way(); !strings.Contains(got, "dev wan0") {
		t.Fatalf("without the rules it goes %s", got)
	}
	for i := range l.goal.Uplinks {
		l.goal.Uplinks[i].Strict = true
	}
	for _, lost := range []string{"", "ip -4 rule del pref 5427", "ip -4 rule del lookup main suppress_prefixlength 1 pref 5300"} {
		l.sh(lost)
		l.apply(Desired(l.goal))
		if got := way(); !strings.Contains(got, "dev wan1 table 200") {
			t.Errorf("after %q it goes %s", lost, got)
		}
		held, err := l.kernel.Read()
		l.must(err)
		if left := Plan(Desired(l.goal), held); len(left) > 0 {
			t.Errorf("after %q there is left\n%s", lost, lines(left))
		}
	}
	rules := Desired(l.goal).Rules
	if !slices.ContainsFunc(rules, func(r Rule) bool {
		return r.String() == "pref 5300 iif wan1 fwmark 0x02000000/0x7f000000 protocol 83 goto 5427"
	}) {
		t.Errorf("the rules: %v", rules)
	}
	for i := range l.goal.Uplinks {
		l.goal.Uplinks[i].Strict = false
	}
	l.apply(Desired(l.goal))
	if got := l.sh("ip -4 rule"); strings.Contains(got, "goto") || strings.Contains(got, "5427:") {
		t.Errorf("afterwards there is\n%s", got)
	}
}
