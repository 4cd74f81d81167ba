package firewall

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// What source NAT makes of a flow follows from the chains: masqueraded, as it is, or
// translated to a given address.
func TestTranslate(t *testing.T) {
	g := threePolicies()
	g.Uplinks[1].Source[failover.IPv4] = netip.MustParseAddr("192.0.2.77")
	table := Ruleset(g)
	for _, c := range []struct {
		from, to, out string
		want          Translation
	}{
		{"192.168.1.10", "198.18.0.1", "wan0", Translation{Masquerade: true}},
		{"192.168.77.10", "198.18.0.1", "wan0", Translation{}}, // snat_except
		{"192.168.1.10", "10.3.0.1", "wan0", Translation{}},
		{"192.168.1.10", "198.18.0.1", "wan1", Translation{To: netip.MustParseAddr("192.0.2.77")}},
		{"192.168.1.10", "198.18.0.1", "vpn0", Translation{}},
		{"fd00:1::10", "2001:db8:99::2", "wan0", Translation{Masquerade: true}},
		{"2001:db8:1:50::9", "2001:db8:99::2", "wan0", Translation{}}, // native there
		{"fd00:1::10", "2001:db8:99::2", "wan1", Translation{}},       // snat6: none
	} {
		from := netip.MustParseAddr(c.from)
		p := Packet{Family: failover.FamilyOf(from), From: from, To: netip.MustParseAddr(c.to), In: "lan0", Proto: unix.IPPROTO_UDP, ToPort: 53}
		if got := table.Follow(p).Translate(c.out); got != c.want {
			t.Errorf("%s to %s by %s: %+v, want %+v", c.from, c.to, c.out, got, c.want)
		}
	}
}
