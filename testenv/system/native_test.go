package system

import (
	"testing"

	"swerve/failover"
	"swerve/testenv/lab"
)

// native configures the prefixes that the ISPs have delegated.
const native = `uplinks:
  - {name: fiber, interface: wan0, prefix6: "2001:db8:1::/48"}
  - {name: lte, interface: wan1, prefix6: "2001:db8:2::/48"}
failback: {after: 2s, min_interval: 1s}
`

// The LAN has a prefix of fiber's ISP. Packets from it leave by fiber unchanged, and by
// lte, where it is foreign, with lte's address: so a session has to be moved or reset
// like any other.
func TestNativeIPv6(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"carrier", "black-hole"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, lab.Options{Delegate: true}, native)
				_, _, client := lab.ClientAddresses(0)
				p := g.newClients()
				g.goFrom(client, p.of(failover.IPv6)...)
				f := g.Break(fiber, spec)
				g.goBy(lte, p.of(failover.IPv6)...)
				awaitResults()
				for _, s := range p.of(failover.IPv6) {
					s.logEffect(spec, f.Onset)
				}
				p.tcp[failover.IPv6].wasReset(spec, f.Onset)
				p.udp[failover.IPv6].moved(spec, client, g.Uplinks[lte].Address6)
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				g.goFrom(client, p.fresh[failover.IPv6])
				g.goBy(lte, p.udp[failover.IPv6])
			})
		})
	}
}
