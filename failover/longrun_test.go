package failover_test

import (
	"flag"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

var days = flag.Float64("days", 0.1, "how long the long runs last, in simulated days")

// endure plays a long run of the default configuration under one hardship.
func endure(t *testing.T, hardship string) simulator.Stats {
	t.Helper()
	length := time.Duration(*days * 24 * float64(time.Hour))
	s := simulator.Steady(simulator.TwoUplinks, []string{"fiber", "lte"}, 1, length, hardship)
	stats := simulator.MustPlay(t, s, simulator.Options{CheckEach: 1000, Lean: true})
	t.Logf("%v", stats)
	return stats
}

// TestIndependentLoss: 5 % of independent loss is no uplink's fault.
func TestIndependentLoss(t *testing.T) {
	if n := endure(t, "loss=0.05").Entered; n[Down]+n[Degraded] > 0 || n[Suspect] == 0 {
		t.Errorf("%v", n)
	}
}

// TestStalls: 0.1 % of loss in stalls of 200 ms ends no session.
func TestStalls(t *testing.T) {
	if n := endure(t, "stalls every=199.8s for=200ms").Entered; n[Down]+n[Degraded] > 0 || n[Shunned] == 0 {
		t.Errorf("%v", n)
	}
}
