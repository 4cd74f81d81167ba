package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"swerve/control"
	"swerve/testenv/netns"
)

// A host behind a port of the bridge that is an uplink sends by the provider's own link,
// not by us. Where the kernel shows bridged frames to the packet filter (br_netfilter) it
// keeps its address all the same, as long as it is of that link: another one that is
// bridged or routed there is masqueraded.
func TestUplinkThatIsABridge(t *testing.T) {
	g := newGateway(t)
	show := func(on string) bool {
		return g.sh("sysctl -q net.bridge.bridge-nf-call-iptables="+on+" 2>/dev/null && echo yes || echo no") == "yes\n"
	}
	seen := show("1") // else this kernel has no br_netfilter
	host := netns.New(t)
	g.must(netns.Veth(g.ns, "port1", host, "eth0"))
	g.must(host.SetUp("eth0"))
	g.must(host.AddAddr("eth0", netip.MustParsePrefix("203.0.113.60/24")))
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
	excepted := func() bool {
		text := g.sh("nft list chain inet swerve snat_1")
		return strings.Contains(text, "203.0.113.0/24") && strings.Contains(text, "masquerade")
	}
	if before := from(); strings.Contains(before, bridged) != seen {
		t.Fatalf("seen by the packet filter: %v, %s", seen, before)
	}
	p := g.run()
	g.sh("conntrack -D --orig-src 203.0.113.60 >/dev/null 2>&1 || true")
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
