package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// The plug of the uplink that carries is pulled. With a daemon or without, the
// kernel itself steps down the ladder.
func TestCarrierLoss(t *testing.T) {
	for _, tc := range []struct {
		name string
		dead bool
	}{
		{"with the daemon", false},
		{"without the daemon", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, forgiving)
				p := g.party(fiber)
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

// leaves wants everything to have gone from fiber to lte: new sessions resume, the
// UDP session goes on with the other address, the TCP session is reset.
func (g *gateway) leaves(what string, p *party, onset time.Time) {
	g.Helper()
	g.goBy(lte, p.all()...)
	g.kernelGoesBy(lte)
	settle()
	for _, s := range p.all() {
		s.felt(what, onset)
	}
	for _, f := range failover.Families {
		p.udp[f].moved(what, g.addressOf(fiber, f), g.addressOf(lte, f))
		p.tcp[f].wasReset(what, onset)
	}
}

// adoptsLoss starts a daemon that died before the loss: it has to find out, and to
// move nothing.
func (g *gateway) adoptsLoss(p *party) {
	g.Helper()
	started := time.Now()
	g.Start()
	g.Await("lte to carry, and fiber to be down", func(s *control.Status) bool {
		return lab.Carries(s, "lte") && s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
	})
	settle()
	for _, s := range p.all() {
		if o := s.felt("restart", started); o.Unanswered > 0 {
			g.Errorf("the restart cost %s: %v", s, o)
		}
	}
}

// comesBack mends fiber and wants it to be used again, by what is new; what began
// on lte stays there until it is done.
func (g *gateway) comesBack(fault *lab.Fault, p *party) {
	g.Helper()
	g.Mend(fault)
	g.Await("fiber to carry again", lab.Settled)
	g.goBy(fiber, p.fresh[:]...)
	g.goBy(lte, p.udp[:]...)
	g.kernelGoesBy(fiber)
}
