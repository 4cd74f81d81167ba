package config

import (
	"net/netip"
	"strings"
	"testing"
)

// A gateway in none of its interface's networks is warned of, unless that may be
// meant so.
func TestGatewayOutsideIsWarnedOf(t *testing.T) {
	for _, c := range []struct{ gateway, addresses, want string }{
		{"10.99.99.1", "198.51.100.2/24", "198.51.100.0/24"},
		{"10.99.99.1", "198.51.100.2/24 fd00::2/64 192.168.1.2/24", "198.51.100.0/24 192.168.1.0/24"},
		{"198.51.100.1", "198.51.100.2/24", ""},
		{"10.99.99.1", "198.51.100.2/24 10.99.0.0/16", ""}, // by a route
		{"10.99.99.1", "198.51.100.2/32", ""},              // a provider that routes single addresses
		{"10.99.99.1", "2001:db8::2/64", ""},
		{"10.99.99.1", "", ""},
		{"10.99.99.1", "169.254.3.4/16", ""}, // before DHCP has answered
		{"2001:db8:9::1", "2001:db8::2/64 fe80::2/64 198.51.100.2/24", "2001:db8::/64"},
		{"fe80::1", "2001:db8::2/64", ""},
	} {
		var addresses []netip.Prefix
		for _, a := range strings.Fields(c.addresses) {
			addresses = append(addresses, netip.MustParsePrefix(a))
		}
		if got := strings.Join(NetworksWithout(netip.MustParseAddr(c.gateway), addresses), " "); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.gateway, c.addresses, got, c.want)
		}
	}
	cfg := good(t, "uplinks:\n  - {name: fiber, interface: wan0}\n  - {name: lte, interface: wan1, gateway: 10.99.99.1}\n")
	got := OutsideWarnings(cfg.Uplinks, func(Uplink) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24")} })
	if len(got) != 1 || got[0] != "uplink lte: gateway 10.99.99.1 is in none of the networks of wan1 (198.51.100.0/24): it may never answer there" {
		t.Errorf("%q", got)
	}
}

// A rule that uses an uplink is told what that is.
func TestRuleThatUsesAnUplink(t *testing.T) {
	_, found := Parse("f", []byte("uplinks:\n  - {name: fiber, interface: wan0}\n  - {name: lte, interface: wan1}\nrules: [{from: 192.168.2.0/24, use: lte}]\n"))
	if text := lines(found); !strings.Contains(text, "rules[0].use: lte is an uplink, not a policy; the name of a policy (default), such as one of your own with tiers: [lte]") {
		t.Errorf("%s", text)
	}
}
