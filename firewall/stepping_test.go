package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/lane"
)

// Nobody but the kernel is at work: one of two uplinks that a policy shares loses its
// carrier. Its flows go on by the other one, also where the default policy would send them
// by a third; where the policy blocks, nothing leaves by that.
func TestSharedWithoutCarrier(t *testing.T) {
	for _, block := range []bool{true, false} {
		for f, p := range plans {
			t.Run(fmt.Sprintf("block %t %s", block, p.family), func(t *testing.T) {
				l := thirdUplink(t, block)
				serveUDP(t, l.net, at(p.host, 7000))
				serveTCP(t, l.net, at(p.host, 7000))
				var udps []net.Conn
				var lost []*net.TCPConn
				for range 8 {
					u, c := dialUDP(t, l.client, at(p.host, 7000)), dialTCP(t, l.client, at(p.host, 7000))
					askUDP(t, u)
					udps = append(udps, u)
					if from, err := askTCP(c); err == nil && from == p.a {
						lost = append(lost, c)
					}
				}
				own := dialUDP(t, l.gw, at(p.host, 7000))
				askUDP(t, own)
				if len(lost) == 0 || len(lost) == len(udps) {
					t.Fatalf("%d of %d go by wan0", len(lost), len(udps))
				}
				run(t, l.net, "ip", "link", "set", "ispA", "down")
				until(t, "the loss of carrier", func() bool {
					return strings.Contains(run(t, l.gw, "ip", p.flag, "route", "show", "table", "5301"), "linkdown")
				})
				for _, c := range lost {
					if _, err := askTCP(c); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
						t.Errorf("an established connection: %v", err)
					}
				}
				for range 8 {
					udps = append(udps, dialUDP(t, l.client, at(p.host, 7000)))
				}
				for i, c := range append(udps, own, dialUDP(t, l.gw, at(p.host, 7000))) {
					if got := askUDP(t, c); got != p.b && (block || got != thirdLink[f].own) {
						t.Errorf("flow %d goes by %q, want %s", i, got, p.b)
					}
				}
				for range 4 {
					if from, err := askTCP(dialTCP(t, l.client, at(p.host, 7000))); from != p.b {
						t.Errorf("a new connection goes by %q, %v", from, err)
					}
				}
				if block {
					l.noneLeaked()
				}
			})
		}
	}
}

// thirdLink has the ends of the third uplink, by family.
var thirdLink = [2]struct {
	own, next string
	bits      int
}{{"192.0.2.129", "192.0.2.130", 30}, {"2001:db8:3::2", "2001:db8:3::1", 64}}

// thirdUplink is a lab in which the policy shared, lane 66, has the flows to port 7000 and
// two of three uplinks, and the default policy the third one.
func thirdUplink(t *testing.T, block bool) *lab {
	t.Helper()
	l := newLab(t)
	l.veth(l.gw, "wan2", l.net, "ispC")
	u := Uplink{Lane: 3, Name: "third", Interface: "wan2", SNAT: true, SNAT6: Masquerade}
	both := [2][]Member{members(1, 1), members(1, 1)}
	l.goal.Policies = append(l.goal.Policies, Policy{
		Lane: 66, Name: "shared", Uplinks: []lane.Lane{1, 2}, Block: block, Spread: Flows, Members: both, Tier: both,
	})
	l.goal.Rules = []Rule{toPort(unix.IPPROTO_UDP, 7000), toPort(unix.IPPROTO_TCP, 7000)}
	for f, p := range plans {
		link := thirdLink[f]
		l.address(l.gw, "wan2", link.own, link.bits)
		l.address(l.net, "ispC", link.next, link.bits)
		u.Addresses = append(u.Addresses, netip.MustParseAddr(link.own))
		l.batch(p.flag, fmt.Sprintf(`
			rule add pref 5303 fwmark 0x03000000/0x7f000000 lookup 5303
			rule add pref 5366 fwmark 0x42000000/0x7f000000 lookup 5366
			route replace default table 5303 metric 1 via %[1]s dev wan2 onlink
			route del default table 5364 metric 1
			route del default table 5364 metric 2
			route replace default table 5364 metric 1 via %[1]s dev wan2 onlink
			route replace default table 5366 metric 1 nexthop via %[2]s dev wan0 onlink nexthop via %[3]s dev wan1 onlink
			route replace unreachable default table 5366 metric 9999
		`, link.next, p.nextA, p.nextB))
	}
	l.goal.Uplinks = append(l.goal.Uplinks, u)
	l.watchLeaks("ispC")
	l.apply()
	return l
}
