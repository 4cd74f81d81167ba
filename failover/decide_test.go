package failover

import (
	"testing"
	"time"
)

// TestStandings checks what the candidates of a ladder keep of a selection: why
// each is in the first rung or not.
func TestStandings(t *testing.T) {
	manual := testConfig()
	manual.Failback.Manual = true
	for _, tc := range []struct {
		name       string
		cfg        Config
		play       func(*network)
		fiber, lte standing
	}{
		{"at rest", testConfig(), func(*network) {}, carrying, behind},
		{"both silent", testConfig(), func(n *network) {
			n.wire[wireKey{"fiber", IPv4, ""}].dead = true
			n.wire[wireKey{"lte", IPv4, ""}].dead = true
			n.run(n.now + 5*time.Second)
		}, carrying, behind},
		{"after a failover", testConfig(), func(n *network) {
			n.wire[wireKey{"fiber", IPv4, ""}].dead = true
			n.run(n.now + 5*time.Second)
		}, behind, carrying},
		{"failback is manual", manual, func(n *network) {
			n.wire[wireKey{"fiber", IPv4, ""}].dead = true
			n.run(n.now + 5*time.Second)
			n.wire[wireKey{"fiber", IPv4, ""}].dead = false
			n.run(n.now + 5*time.Minute)
		}, onlyByOperator, carrying},
		{"switched a moment ago", testConfig(), func(n *network) {
			n.step(Operator{Verb: Switch, Uplink: "lte"})
			n.run(n.now + 5*time.Second)
			n.step(Configure{Config: testConfig()})
			n.eng.selector.unpin("lte")
			n.step(Configure{Config: testConfig()})
		}, tooSoon, carrying},
	} {
		n := newNetwork(tc.cfg, 1)
		for _, name := range []string{"fiber", "lte"} {
			n.step(LinkChanged{Uplink: name, Link: testLink(name, 1)})
		}
		n.run(time.Minute)
		tc.play(n)
		for _, k := range n.eng.selector.policies[0].family[IPv4].candidates {
			want := tc.lte
			if k.up.cfg.Name == "fiber" {
				want = tc.fiber
			}
			if k.standing != want {
				t.Errorf("%s: %s stands as %d, want %d", tc.name, k.up.cfg.Name, k.standing, want)
			}
			if k.reason != k.path.reason {
				t.Errorf("%s: %s is ranked by %q, its reason is %q", tc.name, k.up.cfg.Name, k.reason, k.path.reason)
			}
		}
	}
}
