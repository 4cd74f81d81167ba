package linkmon

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// lan adds a device that is no uplink, with a network of its own.
func lan(t *testing.T, ns *netns.NS) {
	t.Helper()
	far := netns.New(t)
	if err := netns.Veth(ns, "lan0", far, "eth0"); err != nil {
		t.Fatal(err)
	}
	runIP(t, ns, "link set lan0 up")
	runIP(t, far, "link set eth0 up")
	runIP(t, ns, "addr add 192.168.7.1/24 dev lan0")
}

func (o *observer) untilInside(uplink, want string) {
	o.t.Helper()
	o.untilLink(uplink, "inside: "+want, func(l failover.Link) bool {
		return strings.Join(texts(l.Family[failover.IPv4].Inside), " ") == want
	})
}

// What main leads to another device within an uplink's network is found at once, at the
// start and later, and forgotten with its route. Each step has what is expected, and
// the command that leads there.
func TestNetworksInsideAnUplinks(t *testing.T) {
	ns, _ := wan(t)
	lan(t, ns)
	runIP(t, ns, "addr add 203.0.113.2/24 dev w0")
	runIP(t, ns, "route add default via 203.0.113.1 dev w0")
	runIP(t, ns, "route add 203.0.113.50 dev lan0")
	o := observe(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	o.untilInside("a", "203.0.113.50/32")
	for _, step := range []string{
		"203.0.113.50/32 203.0.113.56/29: addr add 203.0.113.57/29 dev lan0",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.64/28 via 203.0.113.58 dev lan0",
		// Clashes: with the gateway or the uplink's address in it, or as wide as its own.
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.0/25 dev lan0",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.1 dev lan0",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.0/24 dev lan0 metric 5",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.112.0/22 dev lan0",
		// By the uplink itself, by another one, nowhere, ours, in another table.
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.200 dev w0",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.201 dev w1",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.202 nexthop dev lan0 nexthop dev w1",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add blackhole 203.0.113.203",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.204 dev lan0 proto 83",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.205 dev lan0 table 100",
		"203.0.113.50/32 203.0.113.56/29 203.0.113.64/28: route add 203.0.113.206 dev lo",
		"203.0.113.56/29 203.0.113.64/28: route del 203.0.113.50 dev lan0",
		"203.0.113.56/29: route del 203.0.113.64/28",
		": addr del 203.0.113.57/29 dev lan0",
		// Private ones need more: see below.
		": route add 10.0.0.50 dev lan0",
		"10.0.0.60/32: neigh add proxy 10.0.0.60 dev w0; route add 10.0.0.60 dev lan0",
		"10.0.0.60/32: neigh add proxy 10.0.0.61 dev w1; route add 10.0.0.61 dev lan0",
	} {
		want, commands, _ := strings.Cut(step, ": ")
		for command := range strings.SplitSeq(commands, "; ") {
			runIP(t, ns, command)
		}
		o.catchUp(ns)
		o.untilInside("a", want)
	}
	for device, want := range map[string]string{"lan0": "10.0.0.60/32", "w0": "10.0.0.50/32 10.0.0.60/32 10.0.0.61/32"} {
		if err := ns.SetSysctl("net/ipv4/conf/"+device+"/proxy_arp", "1"); err != nil {
			t.Fatal(err)
		}
		runIP(t, ns, "route add 10.0.0.70 dev w0")
		o.catchUp(ns)
		o.untilInside("a", want)
		runIP(t, ns, "route del 10.0.0.70 dev w0")
		if err := ns.SetSysctl("net/ipv4/conf/"+device+"/proxy_arp", "0"); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.links["b"].Family[failover.IPv4].Inside; len(got) > 0 {
		t.Errorf("inside b: %v", got)
	}
}

// Beside the internet's routes too.
func TestNetworksInsideBesideABigTable(t *testing.T) {
	ns, _ := wan(t)
	lan(t, ns)
	runIP(t, ns, "addr add 203.0.113.2/24 dev w0")
	runIP(t, ns, "route add default via 203.0.113.1 dev w0")
	var b strings.Builder
	for i := range 4 * bigTable {
		fmt.Fprintf(&b, "route add 20.%d.%d.0/24 via 10.1.0.1 dev w1 proto bird\n", i>>8, i&255)
	}
	file := t.TempDir() + "/routes"
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runIP(t, ns, "-batch "+file)
	o := observe(t, ns, uplink("a", "w0"))
	o.untilInside("a", "")
	if !o.m.watch.main.isBig() {
		t.Fatal("the table is not big")
	}
	runIP(t, ns, "route add 203.0.113.50 dev lan0")
	o.untilInside("a", "203.0.113.50/32")
	runIP(t, ns, "route del 203.0.113.50 dev lan0")
	o.untilInside("a", "")
}

func TestHintsOfNarrowRoutes(t *testing.T) {
	message := func(to string, protocol uint8) []byte {
		p := prefix(to)
		return appendAttribute(routeMessage(unix.AF_INET, uint8(p.Bits()), protocol, unix.RT_TABLE_MAIN), unix.RTA_DST, p.Addr().AsSlice())
	}
	for _, c := range []struct {
		body []byte
		want bool
	}{
		{message("203.0.113.50/32", 4), true},
		{message("203.0.113.0/24", 2), false},
		{message("203.0.112.0/23", 2), false},
		{message("198.51.100.1/32", 4), false},
		{message("203.0.113.50/32", 83), false},
	} {
		h := newHints()
		h.inside = append(h.inside, prefix("203.0.113.2/24"))
		h.add(unix.RTM_NEWROUTE, c.body, 5)
		if h.reread != c.want || h.defaults != c.want {
			t.Errorf("%x: %+v", c.body, h)
		}
	}
}
