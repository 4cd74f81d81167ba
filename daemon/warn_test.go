package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What does not fit to this machine is warned of before it is silent for half a minute: a
// group that does not exist, gateway: none on an Ethernet, and a gateway that is not the
// one of main's default route; what fits is not.
func TestMachineWarnings(t *testing.T) {
	g := newGateway(t)
	g.sh("ip tuntap add ppp0 mode tun; ip link set ppp0 up")
	for _, c := range []struct{ uplink, more, want string }{
		{"{name: fiber, interface: wan0}", "", ""},
		{"{name: fiber, interface: wan0, gateway: 203.0.113.1, gateway6: 2001:db8:1::1}", "", ""},
		{"{name: fiber, interface: nosuch0, gateway: none}", "", ""},
		{"{name: dsl, interface: ppp0, gateway: none, gateway6: none}", "", ""},
		{"{name: fiber, interface: wan0, gateway: none, enabled: false}", "", ""},
		{"{name: fiber, interface: wan0, gateway: none}", "", "uplink fiber: gateway: none, but wan0 is an Ethernet: each address is looked for on that link itself, " +
			"which works only where the provider answers ARP for all; main's default route there is by 203.0.113.1"},
		{"{name: fiber, interface: wan0, gateway: 203.0.113.99}", "", "uplink fiber: gateway 203.0.113.99 differs from that of main's default route by wan0 (203.0.113.1): the one of the file is used"},
		{"{name: lte, interface: wan1, gateway6: 2001:db8:2::99}", "", "uplink lte: gateway6 2001:db8:2::99 differs from that of main's default route by wan1 (2001:db8:2::1): the one of the file is used"},
		{"{name: fiber, interface: wan0}", "nosuchgroup", "control.group: no group nosuchgroup on this machine: the socket is open to its owner alone then (groupadd --system nosuchgroup)"},
		{"{name: fiber, interface: wan0}", "4711", ""},
	} {
		g.must(os.WriteFile(g.config(), fmt.Appendf(nil, "uplinks: [%s]\ncontrol: {group: %q}\nstate: %s/state\n", c.uplink, c.more, g.folder), 0o600))
		if got := strings.TrimSpace(g.do("warnings", nil)); got != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.uplink, c.more, got, c.want)
		}
	}
}
