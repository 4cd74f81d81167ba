package linkmon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"swerve/failover"
	"swerve/testenv/netns"
)

// indexed is pathBy with the number of the device.
func indexed(t *testing.T, ns *netns.NS, n int) Path {
	t.Helper()
	path := pathBy(n)
	out := runIP(t, ns, "-o link show "+path.Link.Interface)
	if _, err := fmt.Sscanf(out, "%d:", &path.Link.Index); err != nil {
		t.Fatal(err, out)
	}
	return path
}

// distraction is what other programs have set up that leads elsewhere than by w1. In
// each line G is the gateway behind w0, T the target, N its network, S the address
// on w0.
type distraction struct {
	name  string
	lines string
	// target that is asked, if it is not T.
	target [2]string
}

var distractions = []distraction{
	{name: "nothing"},
	{name: "a host route", lines: "route add T via G dev w0"},
	{name: "a host route of DHCP or an RA", lines: "route add T via G dev w0 proto ra metric 5"},
	{name: "a network", lines: "route add N via G dev w0"},
	{name: "with a source", lines: "route add T via G dev w0 src S"},
	{name: "a tunnel", lines: "route add N dev tun0"},
	{name: "halves", lines: "route add HALF0 dev tun0\nroute add HALF1 dev tun0"},
	{name: "a default before", lines: "route add default dev tun0 metric 1"},
	{name: "no default in main", lines: "route del default via G dev w0"},
	{name: "a rule for the network", lines: "rule add pref 100 to N lookup 77\nroute add default via G dev w0 table 77"},
	{name: "a rule for all", lines: "rule add pref 100 lookup 77\nroute add default dev tun0 table 77"},
	{name: "wg-quick", lines: "rule add pref 4999 not fwmark 0xca6c lookup 51820\nroute add default dev tun0 table 51820\nrule add pref 4998 lookup main suppress_prefixlength 0"},
	{name: "tailscale", lines: `rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
		rule add pref 5230 fwmark 0x80000/0xff0000 lookup default
		rule add pref 5250 fwmark 0x80000/0xff0000 unreachable
		rule add pref 5270 lookup 52
		route add N dev tun0 table 52`},
	{name: "unreachable", lines: "route add unreachable T"},
	{name: "blackhole", lines: "route add blackhole N"},
	{name: "another uplink's gateway", target: [2]string{"10.0.0.1", "2001:db8::1"}},
}

// set has the lines applied, or undone.
func (d distraction) set(t *testing.T, ns *netns.NS, f failover.Family, there bool) {
	t.Helper()
	words := [2]*strings.Replacer{
		failover.IPv4: strings.NewReplacer("HALF0", "0.0.0.0/1", "HALF1", "128.0.0.0/1", "G", "10.0.0.1", "T", target4, "N", "198.18.0.0/15", "S", "10.0.0.2"),
		failover.IPv6: strings.NewReplacer("HALF0", "::/1", "HALF1", "8000::/1", "G", "2001:db8::1", "T", target6, "N", "2001:db8:ffff::/48", "S", "2001:db8::2"),
	}
	undo := strings.NewReplacer(" add ", " del ", " del ", " add ")
	flag := [2]string{"-4 ", "-6 "}[f]
	for line := range strings.Lines(d.lines) {
		line = flag + words[f].Replace(strings.TrimSpace(line))
		if !there {
			line = undo.Replace(line)
		}
		runIP(t, ns, line)
	}
}

// Whatever routes and rules others have, probes leave by their uplink and are
// answered there.
func TestRoutesOfOthersLeadNoProbeAway(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, isps := multihomed(t)
		permit(t, ns, raw)
		runIP(t, ns, "tuntap add tun0 mode tun")
		runIP(t, ns, "link set tun0 up")
		for _, gateway := range []string{"10.0.0.1/32", "2001:db8::1/128"} {
			runIP(t, isps[1], "addr add "+gateway+" dev lo")
		}
		waitFor(t, "the gateway", func() bool { return runIP(t, isps[1], "-6 route show table local 2001:db8::1") != "" })
		path := indexed(t, ns, 1)
		c := startChild(t, ns)
		for _, d := range distractions {
			for _, f := range failover.Families {
				target := targetOf(f)
				if d.target[f] != "" {
					target = d.target[f]
				}
				wrong, right := echoes(t, isps[0], f), echoes(t, isps[1], f)
				d.set(t, ns, f, true)
				for range 3 {
					c.answered(f, target, path)
				}
				if a, b := echoes(t, isps[0], f)-wrong, echoes(t, isps[1], f)-right; a != 0 || b != 3 {
					t.Errorf("%s, %s: %d and %d echo requests at the ISPs, want 0 and 3", d.name, f, a, b)
				}
				d.set(t, ns, f, false)
			}
		}
		if over := c.end(); over.Cause != "" || over.Raw != [2]bool{raw, raw} {
			t.Errorf("the child's end: %+v; want no leak, and raw sockets %v", over, raw)
		}
	})
}

// The source is not left to the kernel where it would not choose one of the
// uplink's: an answer would come by another way.
func TestSourceIsTheUplinks(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		change       func(*failover.FamilyLink)
	}{
		{"all deprecated", "addr change 2001:db8:1::2/64 dev w1 preferred_lft 0", func(*failover.FamilyLink) {}},
		{"another by the route", "route change default via 2001:db8:1::1 dev w1 src 2001:db8::2 table 5302 metric 1", func(*failover.FamilyLink) {}},
		{"on the LAN", "addr add 2001:db8:99::9/64 dev lo nodad", func(l *failover.FamilyLink) {
			l.Addresses, l.Elsewhere = nil, []netip.Prefix{prefix("2001:db8:99::9/64")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sockets(t, func(t *testing.T, raw bool) {
				ns, isps := multihomed(t)
				permit(t, ns, raw)
				for line := range strings.Lines(tc.script) {
					runIP(t, ns, "-6 "+strings.TrimSpace(line))
				}
				runIP(t, isps[1], "route add 2001:db8:99::/64 via 2001:db8:1::2")
				path := indexed(t, ns, 1)
				tc.change(&path.Link.Family[failover.IPv6])
				source := path.Link.Family[failover.IPv6].Sources()[0].Addr()
				nft(t, isps[1], fmt.Sprintf("add rule inet witness c icmpv6 type echo-request ip6 saddr != %s drop", source))
				c := startChild(t, ns)
				c.answered(failover.IPv6, target6, path)
				if n := echoes(t, isps[1], failover.IPv6); n != 1 {
					t.Errorf("%d echo requests at the ISP, want one", n)
				}
				c.end()
			})
		})
	}
}
