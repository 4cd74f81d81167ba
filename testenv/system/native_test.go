package system

import (
	"fmt"
	"net/netip"
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv"
)

// The LAN has a prefix of fiber's ISP. What comes from it leaves by fiber as it
// is, and by lte, where it is foreign, with lte's address: so a session has to be
// moved or reset like any other.
func TestNativeIPv6(t *testing.T) {
	for _, spec := range []string{"carrier", "black-hole"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t, testenv.Options{Delegate: true}, `uplinks:
  - {name: fiber, interface: wan0, prefix6: "2001:db8:1::/48"}
  - {name: lte, interface: wan1, prefix6: "2001:db8:2::/48"}
failback: {after: 2s, min_interval: 1s}
`)
			_, _, native := testenv.ClientAddresses(0)
			p := g.nativeParty(native)
			f := g.fault(fiber, spec)
			for _, s := range []*session{p.fresh[failover.IPv6], p.udp[failover.IPv6], p.tcp[failover.IPv6]} {
				s.goesBy(lte)
				s.felt(spec, f.Onset)
			}
			p.tcp[failover.IPv6].wasReset(spec, f.Onset)
			want := []netip.Addr{native, g.Uplinks[lte].Address6}
			if got := p.udp[failover.IPv6].sources(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the UDP session came from %v, want %v", got, want)
			}
			g.mend(f)
			g.await("fiber to carry", func(s *control.Status) bool { return carries(s, "fiber") && allUp(s) })
			p.fresh[failover.IPv6].comesFrom(native)
			p.udp[failover.IPv6].goesBy(lte)
		})
	}
}

// nativeParty is a party whose IPv6 the server sees as it is.
func (g *gateway) nativeParty(native netip.Addr) *party {
	g.Helper()
	p := g.newParty()
	for _, s := range p.all() {
		if s.family == failover.IPv6 {
			s.comesFrom(native)
		}
	}
	return p
}
