package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// BenchmarkStep is the mean cost of a step at rest: two uplinks, six targets
// each, all answering.
func BenchmarkStep(b *testing.B) {
	cfg := DefaultConfig()
	e := New(cfg)
	now := Instant(0)
	var probes []Probe
	wake := now
	step := func(ev Event) {
		out := e.Step(now, ev)
		probes, wake = append(probes, out.Probes...), out.Wake
	}
	for i, u := range cfg.Uplinks {
		step(LinkChanged{Uplink: u.Name, Link: simulator.PlainLink(u.Name, i)})
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(probes) == 0 {
			now = wake
			step(Tick{})
			continue
		}
		id := probes[len(probes)-1].ID
		probes = probes[:len(probes)-1]
		step(ProbeSent{ID: id})
		wake = e.Step(now+20*time.Millisecond, ProbeAnswered{ID: id, RTT: 20 * time.Millisecond}).Wake
	}
}

// BenchmarkView is the cost of a snapshot for display.
func BenchmarkView(b *testing.B) {
	w := started(b)
	b.ReportAllocs()
	for b.Loop() {
		w.Engine.View()
	}
}
