package failover_test

import (
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// New flows avoid an uplink that is drained, or that is silent while another one
// answers; where all are silent they avoid none. A drop of the standby is told too,
// although the order stays the same.
func TestAvoided(t *testing.T) {
	avoided := ""
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{
		Witness: func(_ *Engine, _ Instant, _ Event, out Output) {
			if out.Intent != nil {
				avoided = strings.Join(out.Intent.Policies[0].Family[IPv4].Avoided, " ")
			}
		},
	})}
	w.do("all report=0s")
	for _, step := range []struct {
		do, want string
		after    time.Duration
	}{
		{"all loss=0", "", 30 * time.Second},
		{"lte loss=1", "lte", 10 * time.Second},
		{"lte loss=0", "", 60 * time.Second},
		{"fiber loss=1", "fiber", 10 * time.Second},
		{"lte loss=1", "", 10 * time.Second},
		{"all loss=0", "", 60 * time.Second},
	} {
		w.do(step.do)
		w.after(step.after)
		if avoided != step.want {
			t.Errorf("after %q: avoided %q, want %q", step.do, avoided, step.want)
		}
	}
	w.step(Operator{Verb: Drain, Uplink: "lte"})
	w.after(time.Second)
	if avoided != "lte" {
		t.Errorf("with lte drained: avoided %q", avoided)
	}
}
