package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// With 60 % of loss each way a burst fails every few seconds and is disproved soon
// after. New flows leave, return once, and leave for good: they do not swing until the
// window is full.
func TestHeavyLossDoesNotSwing(t *testing.T) {
	const runs = 100
	swinging := 0
	var settled time.Duration
	for phase := range runs {
		onset := 60*time.Second + time.Duration(phase)*17*time.Millisecond
		switches, last := 0, Instant(0)
		w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), uint64(phase), simulator.Options{CheckEach: 1000, Witness: func(_ *Engine, at Instant, _ Event, out Output) {
			for _, r := range out.Records {
				if r.Switch != nil && r.Switch.Family == IPv4 {
					switches, last = switches+1, at
				}
			}
		}})}
		w.do("all report=0s")
		w.until(onset)
		w.do("fiber loss=0.84")
		w.after(60 * time.Second)
		if switches > 3 {
			swinging++
		}
		settled += last - onset
	}
	t.Logf("the last switch after %v on average; more than three switches in %d of %d runs", settled/runs, swinging, runs)
	if settled > runs*4*time.Second || swinging > runs/10 {
		t.Error("that is too long or too often")
	}
}
