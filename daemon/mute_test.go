package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"swerve/config"
	"swerve/testenv/wait"
)

// The kernel's neighbour table tells a gateway that answers ARP from one that does
// not, and check reads the interfaces' networks, and what they lack.
func TestMuteGatewayInTheKernel(t *testing.T) {
	g := newGateway(t)
	var index int
	mute := func(gateway string) (yes bool) {
		g.must(g.ns.Inside(func() { yes = gatewayIsMute(index, netip.MustParseAddr(gateway)) }))
		return yes
	}
	link, err := g.ns.Netlink().LinkByName("wan0")
	g.must(err)
	index = link.Attrs().Index
	for _, c := range []struct{ answers, silent, unasked string }{
		{"203.0.113.1", "203.0.113.77", "203.0.113.78"},
		{"2001:db8:1::1", "2001:db8:1::77", "2001:db8:1::78"},
	} {
		g.sh("ping -c1 -W5 " + c.answers + "; ping -c1 -W1 " + c.silent + " || true")
		wait.For(t, "the silent gateway is known to be silent", func() bool {
			if mute(c.silent) {
				return true
			}
			g.sh("ping -c1 -W1 " + c.silent + " || true")
			return mute(c.silent)
		})
		if mute(c.answers) || mute(c.unasked) {
			t.Errorf("%s: %t, %s: %t", c.answers, mute(c.answers), c.unasked, mute(c.unasked))
		}
	}
	g.sh(`ip link add lan0 type veth peer name lan1
		ip addr add 192.168.1.1/24 dev lan0; ip link set lan0 up; ip link set lan1 up
		ip route add 10.99.99.0/24 dev wan1; ip route add 10.98.0.0/16 via 198.51.100.1 dev wan1`)
	uplinks := []config.Uplink{
		{Name: "fiber", Interface: "wan0", Enabled: true, IPv6: true}, {Name: "lte", Interface: "wan1", Enabled: true, IPv6: true},
		{Name: "lan", Interface: "lan0", Enabled: true, IPv6: true}, {Name: "off", Interface: "lan0", IPv6: true},
		{Name: "set", Interface: "lan1", Enabled: true, Gateway: config.Gateway{Addr: netip.MustParseAddr("192.168.1.7")}},
		{Name: "gone", Interface: "nosuch0", Enabled: true},
	}
	var names, networks []string
	g.must(g.ns.Inside(func() {
		for _, u := range WithoutGateway(uplinks) {
			names = append(names, u.Name)
		}
		for _, n := range Networks(uplinks[1]) {
			networks = append(networks, n.Masked().String())
		}
	}))
	if got := strings.Join(names, " "); got != "lan" {
		t.Errorf("without a gateway: %q, want lan", got)
	}
	got := " " + strings.Join(networks, " ") + " "
	if !strings.Contains(got, " 198.51.100.0/24 ") || !strings.Contains(got, " 10.99.99.0/24 ") || strings.Contains(got, "10.98") || strings.Contains(got, " 0.0.0.0/0") {
		t.Errorf("networks of wan1: %s", got)
	}
}
