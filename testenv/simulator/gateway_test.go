package simulator

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// gatewayLife is a rough life for the daemon's loop. A probe there costs a whole
// pass of the loop, so there are fewer probes.
func gatewayLife(seed uint64) Life {
	l := roughLife(seed)
	l.Config = strings.Replace(l.Config, "uplinks:\n", "probe: {interval: 5s}\nuplinks:\n", 1)
	l.Rough, l.Length = 500, time.Hour
	return l
}

// playGateway plays a script to the daemon's loop, in virtual time.
func playGateway(t *testing.T, s Script) (stats GatewayStats, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		stats, err = PlayGateway(s, t.TempDir(), synctest.Wait)
	})
	return stats, err
}

// TestGateways checks all rules after every change of the kernel that the daemon's
// loop makes in rough lives.
func TestGateways(t *testing.T) {
	t.Parallel()
	for seed := range *lives {
		stats, err := playGateway(t, gatewayLife(*first+seed).Script())
		var failure *Failure
		if errors.As(err, &failure) {
			err = Shrink(failure, func(s Script) error { _, err := playGateway(t, s); return err }, 30)
		}
		if err != nil {
			t.Error(err)
		}
		t.Logf("seed %d: %v", *first+seed, stats)
		if stats.Moves < 10 || stats.Released == 0 || stats.Entered[failover.Down] == 0 || stats.Entered[failover.Shunned] == 0 {
			t.Errorf("seed %d: the life is not rough", *first+seed)
		}
	}
}

// TestReplayGateway plays a script that failed: go test ./testenv/simulator -run
// TestReplayGateway -script FILE.
func TestReplayGateway(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(gatewayLife(1).Script().until(20*time.Minute).String(), "kill=", "# ")
	if *script != "" {
		text = readFile(t, *script)
	}
	s, err := ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	once, err := playGateway(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.String(), "kill=") {
		return // which changes a killed daemon still makes depends on its goroutines
	}
	again, err := playGateway(t, s)
	if once != again || err != nil {
		t.Errorf("a script was played twice, and gave\n%v\n%v, %v", once, again, err)
	}
}

// TestBadGateways checks that a mistake in a script is an error, not a broken rule.
func TestBadGateways(t *testing.T) {
	for _, s := range []Script{{Config: "uplinks: []"}, {Config: TwoUplinks, Lines: []Line{{Text: "nobody dead"}}, End: time.Second}} {
		_, err := playGateway(t, s)
		var failure *Failure
		if err == nil || errors.As(err, &failure) {
			t.Errorf("%q gives %v", s, err)
		}
	}
}

// keptGateway is a gateway without a daemon, in the state that one would have left:
// fiber and lte are up, and fiber carries.
func keptGateway(t *testing.T) *gateway {
	t.Helper()
	g, err := newGateway(Script{Config: TwoUplinks}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g.at(0)
	for _, l := range g.lines {
		g.watch.handed(failover.LinkChanged{Uplink: l.name, Link: l.link})
	}
	g.watch.acknowledge()
	g.judge("fiber", failover.Unknown, failover.Up)
	g.judge("lte", failover.Unknown, failover.Up)
	g.holds(t, "fiber lte", tableOf(0))
	g.holds(t, "fiber lte", routing.MainTable)
	g.settled(t)
	g.at(time.Hour)
	return g
}

// at sets the time.
func (g *gateway) at(now failover.Instant) {
	g.now = now
	g.watch.clock = func() failover.Instant { return now }
}

// settled informs the watch that the loop waits.
func (g *gateway) settled(t *testing.T) {
	t.Helper()
	if err := g.watch.atRest(&g.network); err != nil {
		t.Fatal(err)
	}
}

// judge reports a verdict to the watch for both families.
func (g *gateway) judge(name string, from, to failover.State) {
	for _, f := range failover.Families {
		g.watch.Publish(control.Event{Detail: control.HealthDetail{
			Uplink: name, Family: f.String(), From: control.State(from.String()), To: control.State(to.String()),
		}})
	}
}

// holds puts a ladder into the kernel in both families, rung by rung; rungs beyond
// it are kept.
func (g *gateway) holds(t *testing.T, rungs string, table int) {
	t.Helper()
	for _, f := range failover.Families {
		for i, name := range strings.Fields(rungs) {
			r := routing.Route{
				Slot: routing.Slot{Family: f, Table: table, Metric: uint32(i + 1)},
				Hops: []routing.Hop{{Index: deviceOf(g.lineOf(name))}},
			}
			if err := g.kernel.Routes.Do(routing.Op{Action: routing.ReplaceRoute, Route: r}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// loses deletes a table's routes.
func (g *gateway) loses(table int) {
	g.kernel.Routes.Lose(func(routing.Rule) bool { return false }, func(r routing.Route) bool { return r.Table == table })
}

// TestKernelWatchSees changes the kernel as a broken daemon might, and checks that
// the watch reports each change.
func TestKernelWatchSees(t *testing.T) {
	up, down, shunned, degraded := failover.Up, failover.Down, failover.Shunned, failover.Degraded
	policy, main := tableOf(0), routing.MainTable
	for _, c := range []struct {
		what string
		want string // of the complaint; empty for none
		do   func(*testing.T, *gateway)
	}{
		{"a healthy failover", "", func(t *testing.T, g *gateway) {
			g.judge("fiber", up, shunned)
			g.holds(t, "lte fiber", policy)
			g.holds(t, "lte fiber", main)
		}},
		{"to what is silent", "which is down", func(t *testing.T, g *gateway) {
			g.judge("lte", up, down)
			g.judge("fiber", up, shunned)
			g.holds(t, "lte fiber", policy)
		}},
		{"to what is worse", "by choice", func(t *testing.T, g *gateway) {
			g.judge("lte", up, degraded)
			g.holds(t, "lte fiber", policy)
		}},
		{"too soon again", "after the last", func(t *testing.T, g *gateway) {
			g.holds(t, "lte fiber", policy)
			g.holds(t, "lte fiber", main)
			g.settled(t)
			g.holds(t, "fiber lte", policy)
		}},
		{"no default route", "lte has a link", func(t *testing.T, g *gateway) {
			g.watch.switchDevice(0, false)
			g.loses(policy)
		}},
		{"main has another order", "main begins with", func(t *testing.T, g *gateway) {
			g.judge("fiber", up, shunned)
			g.holds(t, "lte fiber", policy)
		}},
		{"main has nothing", "main has no default route", func(t *testing.T, g *gateway) { g.loses(main) }},
		{"sessions moved off what is not down", "sessions of fiber are moved, which is shunned, to lte", func(t *testing.T, g *gateway) {
			g.judge("fiber", up, shunned)
			g.holds(t, "lte fiber", policy)
			g.holds(t, "lte fiber", main)
			g.watch.release([2][]firewall.Pair{{{Uplink: lane.FirstUplink, Policy: lane.DefaultPolicy}}})
		}},
		{"does not follow a verdict", "which is shunned, and another is up", func(t *testing.T, g *gateway) {
			g.judge("fiber", up, shunned)
			g.settled(t)
			g.at(time.Hour + followWithin + 1)
		}},
		{"stays on what is dead", "still on fiber", func(t *testing.T, g *gateway) {
			if _, err := g.apply("fiber dead"); err != nil {
				t.Fatal(err)
			}
			g.compare(func(int, failover.Family) {})
			g.at(time.Hour + leaveWithin)
		}},
	} {
		g := keptGateway(t)
		c.do(t, g)
		err := g.watch.atRest(&g.network)
		if rule := new(brokenRule); err != nil && !errors.As(err, rule) {
			t.Errorf("%s: %v is no broken rule", c.what, err)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: the watch says %v, want %q", c.what, err, c.want)
		}
	}
}
