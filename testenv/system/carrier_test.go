package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// The plug of the uplink that carries is pulled. With or without a daemon, the kernel
// itself steps down the ladder.
func TestCarrierLoss(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		dead bool
	}{
		{"with the daemon", false},
		{"without the daemon", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				p := g.clients(fiber)
				if tc.dead {
					g.Kill()
					time.Sleep(300 * time.Millisecond)
				}
				f := g.Break(fiber, "carrier")
				g.leaves("carrier lost", p, f.Onset)
				if tc.dead {
					g.adoptsLoss(p)
				}
				g.comesBack(f, p)
			})
		})
	}
}

// leaves checks that everything moves from fiber to lte: new sessions resume, the UDP
// session continues from the other address, the TCP session is reset.
func (g *gateway) leaves(what string, p *clients, onset time.Time) {
	g.Helper()
	g.goBy(lte, p.all()...)
	g.kernelGoesBy(lte)
	awaitResults()
	for _, s := range p.all() {
		s.logEffect(what, onset)
	}
	for _, f := range failover.Families {
		p.udp[f].moved(what, g.addressOf(fiber, f), g.addressOf(lte, f))
		p.tcp[f].wasReset(what, onset)
	}
}

// adoptsLoss starts a daemon that died before the loss: it has to detect the loss, and
// to move nothing.
func (g *gateway) adoptsLoss(p *clients) {
	g.Helper()
	started := time.Now()
	g.Start()
	g.Await("lte to carry, and fiber to be down", func(s *control.Status) bool {
		return lab.Carries(s, "lte") && s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
	})
	awaitResults()
	for _, s := range p.all() {
		if o := s.logEffect("restart", started); o.Unanswered > 0 {
			g.Errorf("the restart cost %s: %v", s, o)
		}
	}
}

// comesBack repairs fiber and checks that new sessions use it again; those that began
// on lte stay there until they end.
func (g *gateway) comesBack(fault *lab.Fault, p *clients) {
	g.Helper()
	g.Mend(fault)
	g.Await("fiber to carry again", lab.Settled)
	g.goBy(fiber, p.fresh[:]...)
	g.goBy(lte, p.udp[:]...)
	g.kernelGoesBy(fiber)
}
