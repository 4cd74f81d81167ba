package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// No uplink has an address for a while: what the kernel masquerades meanwhile has the
// LAN's address of the gateway. When the addresses are back, sessions whose client goes
// on sending go on.
func TestNoSourceAnywhere(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.leaks = true // what the kernel masquerades without an address, as without a daemon
		p := g.clients(fiber)
		second := g.Break(lte, "address-removal")
		g.Await("lte to be down", func(s *control.Status) bool {
			return s.Uplinks[lte].IPv4.State == control.Down && s.Uplinks[lte].IPv6.State == control.Down
		})
		first := g.Break(fiber, "address-removal")
		for _, f := range failover.Families {
			g.Until("a request that is not answered", func() bool { return p.udp[f].silentFor(2 * time.Second) })
		}
		g.Mend(first)
		g.goOn(p.all()...)
		g.Mend(second)
		g.Await("fiber to carry", lab.Settled)
	})
}

// silentFor reports whether nothing that was sent for so long, before the time that an
// answer takes, was answered.
func (s *session) silentFor(d time.Duration) bool {
	var last time.Time // of the sending of what was answered
	for _, r := range s.Log() {
		if !r.Answered.IsZero() {
			last = r.Sent
		}
	}
	return time.Since(last) > d
}
