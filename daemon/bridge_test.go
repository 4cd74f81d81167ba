package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/netns"
)

// A host behind a port of the bridge that is an uplink sends by the provider's own link,
// not by us. Where the kernel shows bridged frames to the packet filter (br_netfilter) it
// keeps its address all the same, and so does whoever connects to it from the internet.
func TestUplinkThatIsABridge(t *testing.T) {
	g := newGateway(t)
	show := func(on string) bool {
		return g.sh("sysctl -q net.bridge.bridge-nf-call-iptables="+on+" net.bridge.bridge-nf-call-ip6tables="+on+" 2>/dev/null && echo yes || echo no") == "yes\n"
	}
	seen := show("1") // else this kernel has no br_netfilter
	host := netns.New(t)
	g.must(netns.Veth(g.ns, "port1", host, "eth0"))
	g.must(host.SetUp("eth0"))
	g.must(host.AddAddr("eth0", netip.MustParsePrefix("203.0.113.60/24")))
	g.must(host.AddAddr("eth0", netip.MustParsePrefix("2001:db8:1::60/64")))
	far := []string{"192.0.2.200", "2001:db8:ffff::200"} // beyond the provider
	for i, gateway := range []string{"203.0.113.1", "2001:db8:1::1"} {
		g.must(g.isp.SetUp("lo"))
		g.must(g.isp.AddAddr("lo", netip.MustParsePrefix(fmt.Sprintf("%s/%d", far[i], []int{32, 128}[i]))))
		_, err := host.Run("ip", "route", "add", far[i], "via", gateway)
		g.must(err)
	}
	g.sh(`ip link add br-wan type bridge; ip link set br-wan up
ip addr flush dev wan0; ip -6 route del default via 2001:db8:1::1; ip link set wan0 master br-wan; ip link set port1 master br-wan up
ip addr add 203.0.113.2/24 dev br-wan; ip -6 addr add 2001:db8:1::2/64 dev br-wan nodad
ip route add default via 203.0.113.1 dev br-wan proto dhcp metric 100
ip -6 route add default via 2001:db8:1::1 dev br-wan proto ra metric 1024`)
	g.uplinks("- {name: fiber, interface: br-wan}\n  - {name: lte, interface: wan1}")
	from := func() string {
		t.Helper()
		_, err := host.Run("ping", "-c", "1", "-W", "5", "203.0.113.1")
		g.must(err)
		return g.sh("conntrack -L -p icmp --orig-src 203.0.113.60 2>/dev/null")
	}
	bridged := fmt.Sprintf("dst=%s ", "203.0.113.60")
	inbound := func() {
		t.Helper()
		for i, to := range []string{"203.0.113.60", "2001:db8:1::60"} {
			_, err := g.isp.Run("ping", "-c", "1", "-W", "1", "-I", far[i], to)
			for begin := time.Now(); err != nil && time.Since(begin) < 15*time.Second; {
				_, _ = g.isp.Run("ping", "-c", "1", "-W", "1", to) // its neighbours may be looked for still
				_, err = g.isp.Run("ping", "-c", "1", "-W", "1", "-I", far[i], to)
			}
			g.must(err)
			got := g.sh("conntrack -L -f " + []string{"ipv4", "ipv6"}[i] + " --orig-src " + far[i] + " 2>/dev/null")
			if strings.Contains(got, "dst="+far[i]+" ") != seen {
				t.Errorf("a connection from the internet: seen %v, %s", seen, got)
			}
		}
		g.sh("conntrack -F 2>/dev/null")
	}
	excepted := func() bool {
		text := g.sh("nft list chain inet swerve snat_1")
		return strings.Contains(text, "ip daddr 203.0.113.0/24") && strings.Contains(text, "masquerade")
	}
	if before := from(); strings.Contains(before, bridged) != seen {
		t.Fatalf("seen by the packet filter: %v, %s", seen, before)
	}
	inbound()
	p := g.run()
	inbound()
	if after := from(); strings.Contains(after, bridged) != seen || strings.Contains(after, "dst=203.0.113.2 ") {
		t.Errorf("masqueraded: %s", after)
	}
	if excepted() != seen {
		t.Error("the network on the bridge is not what is not masqueraded")
	}
	show("0")
	g.sh("ip rule add pref 60 fwmark 2/2 lookup 98") // has the kernel compared
	p.await("the exception is gone", func(*control.Status) bool { return !excepted() })
}
