package system

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// overflows is how long TestOverflowUsesBothLines measures.
var overflows = flag.Duration("overflows", 5*time.Second, "how long TestOverflowUsesBothLines measures what two lines carry")

// The rates of the two lines.
const (
	fiberRate = 12_000_000
	lteRate   = 6_000_000
)

// overflowing overflows from fiber to lte.
var overflowing = fmt.Sprintf(`uplinks:
  - {name: fiber, interface: wan0, rate: {down: %dkbit, up: 2mbit}}
  - {name: lte, interface: wan1, rate: {down: %dkbit}}
policies: [{name: default, overflow: 85%%}]
`, fiberRate/1000, lteRate/1000)

// carried measures what both lines carry together for a while, as a share of the sum of
// their rates.
func (g *gateway) carried(length time.Duration) float64 {
	g.Helper()
	sum := func() (all uint64) {
		for _, uplink := range []int{fiber, lte} {
			n, err := lab.Received(g.Lab, uplink)
			if err != nil {
				g.Fatal(err)
			}
			all += n
		}
		return all
	}
	before, since := sum(), time.Now()
	time.Sleep(length) // the time that is measured
	return float64(sum()-before) * 8 / time.Since(since).Seconds() / (fiberRate + lteRate)
}

// 64 clients with flows of one to five seconds, which want more than fiber's line can
// carry, fill both lines. Nothing is switched, however long the queue; fiber's flows stay.
func TestOverflowUsesBothLines(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, overflowing)
		lab.Shape(g.Lab, lab.Fiber, fiberRate, fiberRate, 200*time.Millisecond)
		lab.Shape(g.Lab, lab.LTE, lteRate, lteRate, 200*time.Millisecond)
		stays := g.session(g.Client, traffic.TCPStream, lab.Server4, 10)
		g.goBy(fiber, stays)
		clients, err := lab.MoreClients(g.Client, 64)
		if err != nil {
			t.Fatal(err)
		}
		shorts, err := traffic.StartShorts(g.Client, g.Internet, clients, lab.Server4, traffic.ShortOptions{Least: time.Second, Most: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(shorts.Stop)
		g.Await("an overflow", func(s *control.Status) bool { return s.Policies[0].Overflowing.IPv4 })
		g.Await("both lines to be full", func(s *control.Status) bool { return len(s.Policies[0].OverflowTo.IPv4) == 2 })
		// On a busy machine the onset may be faster than the first reading that shows it.
		switches := g.Status().SwitchesTotal
		share := g.carried(*overflows)
		t.Logf("%d flows, %d broken, %d connected too late; both lines carry %.1f %% of the sum of their rates", shorts.Begun(), shorts.Broken(), shorts.Late(), 100*share)
		if share < 0.9 {
			t.Errorf("both lines carry %.1f %% of the sum of their rates, want 90 %%", 100*share)
		}
		if s := g.Status(); s.SwitchesTotal > switches {
			t.Errorf("%d switches while both lines are full, the last: %s", s.SwitchesTotal-switches, s.LastSwitch.Reason)
		}
		if n := shorts.Broken(); n > 0 {
			t.Errorf("%d of %d flows broke", n, shorts.Begun())
		}
		g.goBy(fiber, stays)
		shorts.Stop()
		g.Await("the end of the overflow", func(s *control.Status) bool { return !s.Policies[0].Overflowing.IPv4 })
		if b := stays.Breaks(); len(b) > 0 {
			t.Errorf("the session of before broke: %s", b[0].Err)
		}
		for _, e := range g.Events() {
			if o, ok := e.Detail.(control.OverflowDetail); ok {
				t.Logf("%s %s %s: %v to %v: %s %v", e.Time.Format("05.000"), o.Family, o.Action, o.From, o.To, o.Reason, o.Loads)
			}
		}
	})
}
