package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// The gateway changes a hundred times a second: probes stay within the budget, and the
// family's death is seen all the same.
func TestGatewayThatChangesAllTheTime(t *testing.T) {
	probes := 0
	var shunned Instant
	w := &world{t: t, World: simulator.NewWorld(DefaultConfig(), 1, simulator.Options{
		Witness: func(_ *Engine, at Instant, _ Event, out Output) {
			for _, p := range out.Probes {
				if p.Uplink == "fiber" && p.Family == IPv6 {
					probes++
				}
			}
			for _, r := range out.Records {
				if h := r.Health; h != nil && h.Uplink == "fiber" && h.Family == IPv6 && h.To == Shunned && shunned == 0 {
					shunned = at
				}
			}
		},
	})}
	for _, name := range []string{"fiber", "lte"} {
		w.step(LinkChanged{Uplink: name, Link: w.Link(name)})
	}
	w.until(10 * time.Second)
	gateway := w.Link("fiber").Family[IPv6].Gateway
	change := func(length time.Duration) {
		for end := w.Now() + length; w.Now() < end; {
			w.after(10 * time.Millisecond)
			link := w.Link("fiber")
			gateway = gateway.Next()
			link.Family[IPv6].Gateway = gateway
			w.step(LinkChanged{Uplink: "fiber", Link: link})
		}
	}
	probes = 0
	change(10 * time.Second)
	if probes > 100 || shunned != 0 {
		t.Errorf("%d probes in 10 s, shunned at %v", probes, shunned)
	}
	dies := w.Now()
	w.do("fiber ipv6 dead")
	change(5 * time.Second)
	if shunned == 0 || shunned-dies > 3*time.Second {
		t.Errorf("shunned at %v, dead since %v", shunned, dies)
	}
}
