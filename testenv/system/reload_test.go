package system

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// ruled has the client's flows in the policy guests, with the given tiers.
func ruled(tiers string) string {
	return quickRecovery + `policies: [{name: default, tiers: [fiber, lte]}, {name: guests, tiers: ` + tiers + `}]
rules: [{from: [192.168.10.0/24, "fd00:10::/64"], use: guests}]
`
}

// startRuled starts a gateway so, with clients that go by lte.
func startRuled(t *trial, tiers string) (*gateway, *clients) {
	t.Helper()
	g := newGateway(t, usual, ruled(tiers))
	g.Start()
	g.Await("all to be up", lab.AllUp)
	return g, g.clients(lte)
}

// A policy is taken out of the file: its flows stay on their uplink, which others still
// use, and leave it when that is lost.
func TestFormerPolicysFlows(t *testing.T) {
	scenario(t, func(t *trial) {
		g, p := startRuled(t, "[lte]")
		began := time.Now()
		g.put(quickRecovery)
		g.goBy(lte, p.long()...)
		g.goBy(fiber, p.fresh[:]...)
		awaitResults()
		for _, s := range p.long() {
			s.undisturbed("the policy is gone", began)
		}
		fault := g.Break(lte, "carrier")
		g.goBy(fiber, p.all()...)
		awaitResults()
		for _, f := range failover.Families {
			p.udp[f].moved("the uplink is lost", g.addressOf(lte, f), g.addressOf(fiber, f))
			p.tcp[f].wasReset("the uplink is lost", fault.Onset)
		}
	})
}

// A policy that blocks has another uplink from a reload on: its flows leave the one that
// it has no more, also those of clients that only listen, and the events tell it.
func TestBlockingPolicyHasOtherUplinks(t *testing.T) {
	scenario(t, func(t *trial) {
		g, p := startRuled(t, "[lte], last_resort: block")
		l := g.listeners()
		began := time.Now()
		g.put(ruled("[fiber], last_resort: block"))
		g.goBy(fiber, p.all()...)
		awaitResults()
		for _, f := range failover.Families {
			p.udp[f].moved("the uplink is barred", g.addressOf(lte, f), g.addressOf(fiber, f))
			p.tcp[f].wasReset("the uplink is barred", began)
		}
		l.wereReset(g, "the uplink is barred", began)
		told := map[string]bool{}
		for _, e := range g.Events() {
			if d, ok := e.Detail.(control.SessionsDetail); ok && d.Uplink == "lte" && d.Policy == "guests" && d.Action == "moved" {
				told[d.Family] = true
			}
		}
		if len(told) != 2 {
			t.Errorf("moves are told of %v", told)
		}
	})
}
