package failover

import (
	"testing"
	"time"
)

// BenchmarkStep is the mean cost of a step at rest: two uplinks, six targets
// each, all answering.
func BenchmarkStep(b *testing.B) {
	cfg := testConfig()
	e := New(cfg)
	now := Instant(0)
	var probes []Probe
	for _, u := range cfg.Uplinks {
		probes = append(probes, e.Step(now, LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)}).Probes...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(probes) == 0 {
			now = e.wake
			probes = append(probes, e.Step(now, Tick{}).Probes...)
			continue
		}
		id := probes[len(probes)-1].ID
		probes = probes[:len(probes)-1]
		e.Step(now, ProbeSent{ID: id})
		e.Step(now+20*time.Millisecond, ProbeAnswered{ID: id, RTT: 20 * time.Millisecond})
	}
}

// BenchmarkView is the cost of a snapshot for people to look at.
func BenchmarkView(b *testing.B) {
	n := newNetwork(testConfig(), 1)
	for _, name := range []string{"fiber", "lte"} {
		n.step(LinkChanged{Uplink: name, Link: testLink(name, 1)})
	}
	n.run(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		n.eng.View()
	}
}
