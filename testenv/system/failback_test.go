package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv"
)

// Sessions that began on the second uplink stay there when the first one is back;
// new ones return. The long UDP and TCP sessions notice nothing.
func TestFailback(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts testenv.Options
	}{
		{"plain", usual},
		// The answers of sessions on lte come in by a link that main would not
		// send them to.
		{"strict rp_filter", testenv.Options{RPFilter: 1}},
		{"the owner masquerades", testenv.Options{Firewall: testenv.FirewallMasquerade}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t, tc.opts, forgiving)
			f := g.fault(fiber, "carrier")
			g.await("lte to carry", func(s *control.Status) bool { return carries(s, "lte") })
			p := g.party(lte)
			mended := time.Now()
			g.mend(f)
			g.await("fiber to carry", func(s *control.Status) bool { return carries(s, "fiber") && allUp(s) })
			for _, family := range failover.Families {
				p.fresh[family].goesBy(fiber)
			}
			for _, family := range failover.Families {
				for _, s := range []*session{p.udp[family], p.tcp[family]} {
					s.goesBy(lte)
					s.livedOn("failback")
					if o := s.felt("failback", mended); o.Unanswered > 0 {
						t.Errorf("the failback cost %s: %v", s, o)
					}
				}
			}
		})
	}
}
