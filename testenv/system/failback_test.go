package system

import (
	"testing"
	"time"

	"swerve/testenv/lab"
)

// Sessions that began on the second uplink stay there when the first one is back; new
// ones return. The long UDP and TCP sessions are not affected.
func TestFailback(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts lab.Options
	}{
		{"plain", usual},
		// The answers of sessions on lte arrive on a link that main would not
		// use for them.
		{"strict rp_filter", lab.Options{RPFilter: 1}},
		{"the owner masquerades", masqueraded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, tc.opts, quickRecovery)
				f := g.Break(fiber, "carrier")
				g.Await("lte to carry", lab.CarriedBy("lte"))
				p := g.clients(lte)
				repaired := time.Now()
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				g.goBy(fiber, p.fresh[:]...)
				g.goBy(lte, p.long()...)
				for _, s := range p.all() {
					s.undisturbed("failback", repaired)
				}
			})
		})
	}
}
