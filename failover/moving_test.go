package failover

import (
	"testing"
	"time"
)

// The gateway changes a hundred times a second: probes stay within the budget, and the
// family's death is seen all the same.
func TestGatewayThatChangesAllTheTime(t *testing.T) {
	cfg := testConfig()
	n := newNetwork(cfg, 1)
	probes := 0
	var shunned Instant
	n.each = func(at Instant, _ Event, out Output) {
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
	}
	for _, u := range cfg.Uplinks {
		n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
	}
	n.run(10 * time.Second)
	link := testLink("fiber", 1)
	change := func(length time.Duration) {
		for end := n.now + length; n.now < end; {
			n.run(n.now + 10*time.Millisecond)
			link.Family[IPv6].Gateway = link.Family[IPv6].Gateway.Next()
			n.step(LinkChanged{Uplink: "fiber", Link: link})
		}
	}
	probes = 0
	change(10 * time.Second)
	if probes > 100 || shunned != 0 {
		t.Errorf("%d probes in 10 s, shunned at %v", probes, shunned)
	}
	dies := n.now
	n.wire[wireKey{"fiber", IPv6, ""}] = &wire{dead: true}
	change(5 * time.Second)
	if shunned == 0 || shunned-dies > 3*time.Second {
		t.Errorf("shunned at %v, dead since %v", shunned, dies)
	}
}
