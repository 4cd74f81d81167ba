package linkmon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// Targets that both ISPs of wan have, as the internet has them.
const (
	target4 = "198.18.0.1"
	target6 = "2001:db8:ffff::1"
)

func targetOf(f failover.Family) string { return [2]string{target4, target6}[f] }

// multihomed is wan with targets behind both ISPs, with the tables and rules that
// Swerve makes, and with counters of echo requests at the ISPs. Main has a default
// through the first ISP only.
func multihomed(t *testing.T) (ns *netns.NS, isps [2]*netns.NS) {
	t.Helper()
	ns, isps = wan(t)
	for i := range isps { // so that no probe waits for its neighbour to be found
		for _, gateway := range []string{fmt.Sprintf("10.%d.0.1", i), fmt.Sprintf("2001:db8:%d::1", i)} {
			waitFor(t, "neighbour "+gateway, func() bool {
				_, err := ns.Run("ping", "-c", "1", "-W", "1", gateway)
				return err == nil
			})
		}
	}
	runIP(t, ns, "-4 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83")
	runIP(t, ns, "-6 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83")
	for i, isp := range isps {
		runIP(t, isp, "addr add "+target4+"/32 dev lo")
		runIP(t, isp, "addr add "+target6+"/128 dev lo")
		waitFor(t, "the target", func() bool { // the kernel makes IPv6's local routes later
			return runIP(t, isp, "-6 route show table local "+target6) != ""
		})
		countEchoes(t, isp)
		for _, v := range []struct{ family, gateway string }{
			{"-4", fmt.Sprintf("10.%d.0.1", i)}, {"-6", fmt.Sprintf("2001:db8:%d::1", i)},
		} {
			runIP(t, ns, fmt.Sprintf("%s route add default table %d proto 83 metric 1 via %s dev w%d onlink", v.family, 5301+i, v.gateway, i))
			runIP(t, ns, fmt.Sprintf("%s rule add pref %d fwmark %#x/0x7f000000 lookup %d protocol 83", v.family, 5301+i, (i+1)<<24, 5301+i))
			runIP(t, ns, fmt.Sprintf("%s rule add pref %d oif w%d lookup %d protocol 83", v.family, 5551+i, i, 5301+i))
			runIP(t, ns, fmt.Sprintf("%s rule add pref %d oif w%d protocol 83 unreachable", v.family, 5651+i, i))
			if i == 0 {
				runIP(t, ns, fmt.Sprintf("%s route add default via %s dev w0", v.family, v.gateway))
			}
		}
	}
	return ns, isps
}

func countEchoes(t *testing.T, ns *netns.NS) {
	t.Helper()
	nft(t, ns, `table inet witness {
		chain c {
			type filter hook prerouting priority -300
			icmp type echo-request counter
			icmpv6 type echo-request counter
		}
	}`)
}

func nft(t *testing.T, ns *netns.NS, commands string) {
	t.Helper()
	if _, err := ns.Run("nft", commands); err != nil {
		t.Fatal(err)
	}
}

// echoes reads the counter of a family.
func echoes(t *testing.T, ns *netns.NS, f failover.Family) (packets int) {
	t.Helper()
	out, err := ns.Run("nft", "-j", "list", "table", "inet", "witness")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Nftables []struct {
			Rule struct {
				Expr []struct {
					Match *struct {
						Left struct{ Payload struct{ Protocol string } }
					}
					Counter *struct{ Packets int }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &listing); err != nil {
		t.Fatal(err)
	}
	want := [2]string{"icmp", "icmpv6"}[f]
	for _, object := range listing.Nftables {
		if e := object.Rule.Expr; len(e) > 1 && e[0].Match.Left.Payload.Protocol == want {
			return e[1].Counter.Packets
		}
	}
	t.Fatalf("no counter of %s in %s", want, out)
	return 0
}

// sockets runs a test with both kinds of sockets for ICMP.
func sockets(t *testing.T, test func(t *testing.T, raw bool)) {
	for _, raw := range []bool{false, true} {
		t.Run(map[bool]string{false: "unprivileged", true: "raw"}[raw], func(t *testing.T) { test(t, raw) })
	}
}

// permit permits root's group unprivileged sockets, unless raw: a new namespace
// permits them to nobody. In a user namespace no other group can be named.
func permit(t testing.TB, ns *netns.NS, raw bool) {
	t.Helper()
	if !raw {
		if err := ns.SetSysctl("net/ipv4/ping_group_range", "0 0"); err != nil {
			t.Fatal(err)
		}
	}
	err := ns.Do(func() error {
		if rawOnly() != raw {
			return fmt.Errorf("whether raw sockets alone are permitted: %v, want %v", !raw, raw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rawOnly finds out which sockets for ICMP are permitted here.
func rawOnly() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return true
	}
	unix.Close(fd)
	return false
}

func TestProbesLeaveByTheirUplinkOnly(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, isps := multihomed(t)
		permit(t, ns, raw)
		c := startChild(t, ns)
		const each = 5
		for range each {
			for _, f := range failover.Families {
				c.answered(f, targetOf(f), pathBy(0))
				c.answered(f, targetOf(f), pathBy(1))
				c.answered(f, "gateway", pathBy(1))
			}
		}
		for _, f := range failover.Families {
			if a, b := echoes(t, isps[0], f), echoes(t, isps[1], f); a != each || b != 2*each {
				t.Errorf("%s: %d and %d echo requests at the ISPs, want %d and %d", f, a, b, each, 2*each)
			}
		}
		over := c.end()
		if over.Kind != "over" || over.Cause != "" || over.Raw != [2]bool{raw, raw} {
			t.Errorf("the child's end: %+v; want no leak, and raw sockets %v", over, raw)
		}
	})
}

// Without its table an uplink has no route: its probes must not leave by the other
// uplink, although main has a default through that one. In IPv6 sending fails; IPv4
// treats a destination without a route as a neighbour on the packet's device.
func TestProbesStayWhereTheirTableIsEmpty(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, isps := multihomed(t)
		permit(t, ns, raw)
		runIP(t, ns, "-4 route flush table 5302")
		runIP(t, ns, "-6 route flush table 5302")
		c := startChild(t, ns)
		if cause := c.refused(failover.IPv6, target6, pathBy(1)); !strings.Contains(cause, "network is unreachable") {
			t.Errorf("cause %q, want that there is no route", cause)
		}
		if r := c.outcome(c.send(failover.IPv4, target4, pathBy(1)), 1); r.Kind != "sent" {
			t.Errorf("IPv4 came to %+v, want it sent to the link", r)
		}
		c.end()
		for _, f := range failover.Families {
			if n := echoes(t, isps[0], f); n != 0 {
				t.Errorf("%s: %d echo requests by the other uplink, want none", f, n)
			}
		}
	})
}

// A prohibit rule makes sending fail with EACCES, at which pro-bing by itself
// would try again forever. (In IPv4 sending does not fail, as above.)
func TestProhibitedProbesEnd(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, _ := multihomed(t)
		permit(t, ns, raw)
		runIP(t, ns, "-6 rule add pref 100 fwmark 0x01000000/0x7f000000 prohibit")
		c := startChild(t, ns)
		if cause := c.refused(failover.IPv6, target6, pathBy(0)); !strings.Contains(cause, "permission denied") {
			t.Errorf("cause %q, want that it is not permitted", cause)
		}
		c.answered(failover.IPv6, target6, pathBy(1))
		if over := c.end(); over.Cause != "" {
			t.Errorf("leaks: %s", over.Cause)
		}
	})
}

func TestProbesThatCannotBeSent(t *testing.T) {
	ns, _ := multihomed(t)
	permit(t, ns, false)
	c := startChild(t, ns)
	gone := pathBy(0)
	gone.Link.Interface = "w9"
	elsewhere := pathBy(0)
	elsewhere.Link.Family = pathBy(1).Link.Family
	elsewhere.Link.Family[0].Addresses[0] = prefix("203.0.113.77/24")
	elsewhere.Link.Family[1].Addresses[0] = prefix("2001:db8:77::7/64")
	for _, f := range failover.Families {
		if cause := c.refused(f, targetOf(f), gone); !strings.Contains(cause, "no such") {
			t.Errorf("%s by a missing device: cause %q", f, cause)
		}
		if cause := c.refused(f, targetOf(f), elsewhere); !strings.Contains(cause, "is gone") {
			t.Errorf("%s from a foreign address: cause %q", f, cause)
		}
	}
}

// A link-local gateway is only reached with the device as its zone.
func TestLinkLocalGateway(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, isps := multihomed(t)
		permit(t, ns, raw)
		runIP(t, isps[1], "addr add fe80::1/64 dev isp")
		path := pathBy(1)
		path.Link.Family[1].Gateway = addr("fe80::1")
		c := startChild(t, ns)
		c.answered(failover.IPv6, "gateway", path)
		if n := echoes(t, isps[1], failover.IPv6); n != 1 {
			t.Errorf("%d echo requests at the gateway, want one", n)
		}
	})
}

// Where nobody answers, a probe is sent and has no other outcome, and leaves nothing
// behind when the prober is closed meanwhile.
func TestUnansweredProbes(t *testing.T) {
	ns, isps := multihomed(t)
	permit(t, ns, false)
	nft(t, isps[0], "add rule inet witness c icmp type echo-request drop")
	nft(t, isps[0], "add rule inet witness c icmpv6 type echo-request drop")
	c := startChild(t, ns)
	patient := pathBy(0)
	patient.LostAfter = time.Hour
	quick := pathBy(0)
	quick.LostAfter = 20 * time.Millisecond
	ids := []failover.ProbeID{
		c.send(failover.IPv4, target4, patient), c.send(failover.IPv6, target6, patient),
		c.send(failover.IPv4, target4, quick), c.send(failover.IPv6, target6, quick),
	}
	for _, id := range ids {
		if r := c.outcome(id, 1); r.Kind != "sent" {
			t.Errorf("probe %d: %+v, want it sent", id, r)
		}
	}
	if over := c.end(); over.Kind != "over" || over.Cause != "" {
		t.Errorf("the end: %+v, want no leak", over)
	}
	for _, id := range ids {
		if len(c.seen[id]) != 1 {
			t.Errorf("probe %d came to %+v, want it sent and nothing else", id, c.seen[id])
		}
	}
}
