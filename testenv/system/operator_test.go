package system

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// byHand runs a subcommand that has to succeed, and returns its output.
func (g *gateway) byHand(args ...string) string {
	g.Helper()
	out, errs, code := g.swerve(args...)
	if code != 0 || errs != "" {
		g.Errorf("swerve %v: exit code %d: %s%s", args, code, out, errs)
	}
	return out
}

// countsLong is countsAll for sessions that stay on fiber, whatever new ones do: none of
// their packets is lost, and all come from one address.
func (g *gateway) countsLong(do func()) {
	g.Helper()
	var all []*session
	for _, f := range failover.Families {
		all = append(all, g.session(g.Client, traffic.UDPStream, lab.Servers[f], 1000), g.session(g.Client, traffic.TCPStream, lab.Servers[f], 100))
	}
	g.goBy(fiber, all...)
	var fresh []*session
	for _, f := range failover.Families {
		fresh = append(fresh, g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 100))
	}
	g.goBy(fiber, fresh...)
	do()
	for _, s := range append(all, fresh...) {
		s.Stop()
		s.countsEqual()
	}
	for _, s := range all {
		if from := s.sources(); len(from) != 1 {
			g.Errorf("%s: moved: came from %v", s, from)
		}
	}
}

// The operator's hand moves new sessions at once, and no packet of any session is lost;
// those that are there stay. So it is with a reload that goes back.
func TestNothingIsLostByHand(t *testing.T) {
	serial(t, func(t *trial) {
		g := newGateway(t, usual, quickRecovery)
		g.Start()
		g.Await("all to be up", lab.Settled)
		g.countsLong(func() {
			for _, step := range []struct{ args, carries string }{
				{"switch lte", "lte"}, {"resume", "fiber"}, {"drain fiber --for 1h", "lte"}, {"resume fiber", "fiber"},
				{"switch lte --for 5s", "lte"}, {"", "fiber"}, {"drain fiber --for 5s", "lte"}, {"", "fiber"},
			} {
				if step.args != "" {
					g.byHand(strings.Fields(step.args)...)
				}
				g.Await(step.args+": "+step.carries+" to carry", lab.CarriedBy(step.carries))
				if step.args == "" || strings.Contains(step.args, "5s") {
					continue // it may be over by now
				}
				fresh := g.session(g.Client, traffic.UDPSessions, lab.Servers[failover.IPv4], 100)
				g.goBy(map[string]int{"fiber": fiber, "lte": lte}[step.carries], fresh)
				fresh.Stop()
			}
			g.Configure(uplinksAt("lte", "wan1", "fiber", "wan0") + "failback: {after: 1s, min_interval: 0s}\n")
			g.byHand("reload", "--confirm", "8s")
			g.Await("lte to carry", lab.CarriedBy("lte"))
			g.Await("fiber to carry again", func(s *control.Status) bool {
				return lab.CarriedBy("fiber")(s) && !s.Daemon.ConfigPending && problem(s, "config-reverted", "config") != nil
			})
		})
		var said []string
		for _, e := range g.Events() {
			if d, ok := e.Detail.(control.OperatorDetail); ok {
				said = append(said, d.Action+" "+d.Uplink)
			}
		}
		if got, want := strings.Join(said, ", "), "switched lte, resumed , drained fiber, resumed fiber, switched lte, resumed lte, drained fiber, resumed fiber"; got != want {
			t.Errorf("events: %s, want %s", got, want)
		}
	})
}

// What the operator commanded survives a kill, and so does a reload that waits for its
// confirmation, which is undone although no daemon ran at its time.
func TestOrdersSurviveAKill(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.byHand("drain", "fiber", "--for", "1h")
		g.Await("lte to carry", lab.CarriedBy("lte"))
		until := g.Status().Uplinks[fiber].OverrideUntil
		g.Kill()
		g.Start()
		g.Await("all to be up", lab.AllUp)
		s := g.Status()
		u := s.Uplinks[fiber]
		if u.Admin != control.Drained || u.OverrideUntil.Sub(until.Time).Abs() > 2*time.Second || !lab.Carries(s, "lte") {
			t.Errorf("%s until %v, was %v; lte carries %t", u.Admin, u.OverrideUntil, until, lab.Carries(s, "lte"))
		}
		if out := g.byHand("status"); !strings.Contains(strings.Join(strings.Fields(out), " "), "drained by the operator until ") || !strings.Contains(out, "left)") {
			t.Errorf("the status does not tell how long:\n%s", out)
		}
		g.byHand("resume")
		g.Await("fiber to carry", lab.CarriedBy("fiber"))

		g.Configure(uplinksAt("lte", "wan1", "fiber", "wan0") + "failback: {after: 1s, min_interval: 0s}\n")
		g.byHand("reload", "--confirm", "5s")
		if s := g.Status(); !s.Daemon.ConfigPending || s.Uplinks[0].Name != "lte" {
			t.Errorf("pending %t, uplinks %s", s.Daemon.ConfigPending, s.Uplinks[0].Name)
		}
		g.Kill()
		time.Sleep(5 * time.Second) // the daemon is not there when its time comes
		g.Start()
		g.Await("fiber to carry, as before", lab.CarriedBy("fiber"))
		if s := g.Status(); s.Daemon.ConfigPending || s.Uplinks[0].Name != "fiber" || problem(s, "config-reverted", "config") == nil {
			t.Errorf("pending %t, uplinks %s, problems %+v", s.Daemon.ConfigPending, s.Uplinks[0].Name, s.Problems)
		}
		g.exits(2, "confirm")
	})
}

// policySteps are configurations that follow each other: policies and uplinks are renamed,
// reordered, added and removed, and the client's flows belong on fiber in all of them.
var policySteps = []string{
	uplinksAt("fiber", "wan0", "lte", "wan1") + `policies: [{name: default, tiers: [lte, fiber]}, {name: guests, tiers: [fiber, lte]}]
rules: [{from: [192.168.10.0/24, "fd00:10::/64"], use: guests}]
`,
	// Another one is added before it, with rules that match nothing of it.
	uplinksAt("fiber", "wan0", "lte", "wan1") + `policies: [{name: default, tiers: [lte, fiber]}, {name: office, tiers: [lte], last_resort: block}, {name: guests, tiers: [fiber, lte]}]
rules: [{from: 192.0.2.0/24, use: office}, {proto: tcp, ports: 9, use: office}, {from: [192.168.10.0/24, "fd00:10::/64"], use: guests}]
`,
	// It is renamed; the other one is moved behind it.
	uplinksAt("fiber", "wan0", "lte", "wan1") + `policies: [{name: default, tiers: [lte, fiber]}, {name: visitors, tiers: [fiber, lte]}, {name: office, tiers: [lte], last_resort: block}]
rules: [{from: [192.168.10.0/24, "fd00:10::/64"], use: visitors}, {from: 192.0.2.0/24, use: office}]
`,
	// The uplinks are renamed and reordered.
	uplinksAt("modem", "wan1", "glass", "wan0") + `policies: [{name: default, tiers: [modem, glass]}, {name: visitors, tiers: [glass, modem]}, {name: office, tiers: [modem], last_resort: block}]
rules: [{from: [192.168.10.0/24, "fd00:10::/64"], use: visitors}, {from: 192.0.2.0/24, use: office}]
`,
	// An uplink without an interface is added, the other policy removed, and the rule is
	// written otherwise.
	uplinksAt("modem", "wan1", "spare", "wan9", "glass", "wan0") + `policies: [{name: default, tiers: [modem, spare, glass]}, {name: visitors, tiers: [glass, modem]}]
rules: [{in: lan0, use: visitors}]
`,
}

// Reloads of renamed, reordered, added and removed uplinks and policies lose no packet at
// a thousand a second, move no flow, and leave the names their lanes.
func TestNothingIsLostWithPolicies(t *testing.T) {
	serial(t, func(t *trial) {
		g := newGateway(t, usual, policySteps[0])
		g.Start()
		g.Await("all to be up", lab.AllUp)
		lanes := g.lanesOf("wan0", "wan1")
		before := len(g.switches())
		g.countsAll(func() {
			for n := 1; n < 2*len(policySteps)-1; n++ {
				i := n
				if n >= len(policySteps) {
					i = 2*len(policySteps) - 2 - n // and back
				}
				g.put(policySteps[i])
				if now := g.lanesOf("wan0", "wan1"); now != lanes {
					t.Errorf("step %d: lanes %s, before %s", n, now, lanes)
				}
				src := netip.MustParseAddr("192.168.10.10")
				e, err := g.daemon.API().Explain(t.Context(), control.Question{Src: src, Dst: lab.Server4, Proto: 17, Port: 20000, In: "lan0"})
				if err != nil || e.Interface != "wan0" || e.Policy == nil || *e.Policy != []string{"guests", "guests", "visitors", "visitors", "visitors"}[i] {
					t.Errorf("step %d: %+v, %v", n, e, err)
				}
				time.Sleep(300 * time.Millisecond) // packets between two reloads
			}
		})
		if n := len(g.switches()); n > before {
			t.Errorf("traffic was moved: %+v", g.switches()[before:])
		}
	})
}

// lanesOf names the tables that the rules give devices.
func (g *gateway) lanesOf(devices ...string) (all string) {
	g.Helper()
	for _, d := range devices {
		out, err := g.Gateway.Run("sh", "-c", fmt.Sprintf("ip rule show | grep 'oif %s lookup'", d))
		if err != nil {
			g.Fatal(out, err)
		}
		all += d + out[strings.Index(out, " lookup"):]
	}
	return all
}
