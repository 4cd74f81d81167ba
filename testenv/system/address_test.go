package system

import (
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// The uplink's link or its addresses are removed. The kernel discards what it knew of
// their flows by itself: a TCP client is reset all the same.
func TestAddressesGo(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"interface-down", "address-removal"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				// For a moment the kernel masquerades with the LAN's address, as without a daemon.
				g.leaks = spec == "address-removal"
				p := g.clients(fiber)
				f := g.Break(fiber, spec)
				g.leaves(spec, p, f.Onset)
				s := g.Status()
				for _, h := range []control.FamilyStatus{s.Uplinks[fiber].IPv4, s.Uplinks[fiber].IPv6} {
					if h.State != control.Down || h.Reason == "" {
						t.Errorf("fiber is %s, %q; want down with a reason", h.State, h.Reason)
					}
				}
				g.comesBack(f, p)
			})
		})
	}
}

// A lease brings other addresses in the same subnets. Sessions of the old ones
// continue or are reset, and the uplink is used again with the new ones.
func TestAddressChange(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		p := g.clients(fiber)
		f := g.Break(fiber, "address-change")
		g.goFrom(g.Uplinks[fiber].Other4, p.fresh[failover.IPv4])
		g.goFrom(g.Uplinks[fiber].Other6, p.fresh[failover.IPv6])
		g.goOn(p.long()...)
		g.Await("fiber to carry, and to be up", lab.Settled)
		awaitResults()
		for _, s := range p.all() {
			s.logEffect("address-change", f.Onset)
		}
		for _, s := range p.tcp {
			s.wasReset("address-change", f.Onset)
		}
		g.Mend(f)
		g.goBy(fiber, p.fresh[:]...)
		g.goOn(p.long()...)
	})
}
