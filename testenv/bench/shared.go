package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// sharedGroup has two lines that share the load, overflowGroup two of which one takes what
// the other cannot.
const (
	sharedGroup   = "two lines sharing 2,000 flows 3:1"
	overflowGroup = "64 clients with flows of 1 to 5 s over two lines, 40 and 20 Mbit/s"
)

// sharedFlows are those of a census, of so many clients to so many servers.
const (
	sharedFlows   = 2000
	sharedClients = 100
	sharedServers = 20
)

const sharedConfig = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
policies: [{name: default, tiers: [{fiber: 3, lte: 1}], spread: %s}]
failback: {after: 2s, min_interval: 1s}
`

// startConfigured is startGateway with another configuration, and with a lab's options.
func startConfigured(ctx context.Context, binary, config string, opts lab.Options) (*lab.Swerve, error) {
	l, err := lab.New(opts)
	if err != nil {
		return nil, err
	}
	g, err := l.NewSwerve(lab.Setup{Binary: binary, Prefix: []string{"nice", "-n", unitNice}, Config: config})
	if err == nil {
		err = g.Start()
	}
	if err == nil {
		err = awaitUp(ctx, g)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return g, nil
}

// shared measures how close the members' shares are to their weights, by each spread, and
// which flows move when a member leaves.
func (m *measurer) shared(ctx context.Context) error {
	moved := &Figure{Group: sharedGroup, What: "flows of the other line that move when one leaves", Unit: "flows", Floor: worstAtMost(0)}
	stay := &Figure{Group: sharedGroup, What: "flows that move when it is back", Unit: "flows", Floor: worstAtMost(0)}
	for _, spread := range []string{"flows", "pairs"} {
		off := &Figure{Group: sharedGroup, What: "off the weights, spread: " + spread, Unit: "points", Floor: worstAtMost(5)}
		for i := range max(1, m.runs/20) {
			m.progress("%s, spread %s, run %d", sharedGroup, spread, i+1)
			if err := m.playShared(ctx, spread, off, moved, stay); err != nil {
				return err
			}
		}
		m.report.add(off)
	}
	m.report.add(moved, stay)
	return nil
}

func (m *measurer) playShared(ctx context.Context, spread string, off, moved, stay *Figure) error {
	g, err := startConfigured(ctx, m.binary, fmt.Sprintf(sharedConfig, spread), lab.Options{})
	if err != nil {
		return err
	}
	defer g.Close()
	census, err := openCensus(g.Lab, sharedClients, sharedServers, sharedFlows)
	if err != nil {
		return err
	}
	defer census.Close()
	before := census.Ask()
	byFiber, unanswered := 0, 0
	for _, a := range before {
		switch {
		case a == g.Uplinks[lab.Fiber].Public4:
			byFiber++
		case !a.IsValid():
			unanswered++
		}
	}
	if unanswered > 0 {
		return fmt.Errorf("%d of %d flows are not answered", unanswered, len(before))
	}
	off.add(100 * math.Abs(float64(byFiber)/float64(len(before))-0.75))
	fault, err := g.Fault(lab.LTE, "black-hole")
	if err != nil {
		return err
	}
	if _, err := lab.Await(ctx, g, "fiber alone to carry, and lte to be down", func(s *control.Status) bool {
		return lab.CarriesFamily(s, "fiber", 0) && s.Uplinks[lab.LTE].IPv4.State == control.Down
	}); err != nil {
		return err
	}
	during := census.Ask()
	n := 0
	for i, a := range during {
		if a != before[i] && before[i] == g.Uplinks[lab.Fiber].Public4 {
			n++
		}
	}
	moved.add(float64(n))
	if err := fault.Undo(); err != nil {
		return err
	}
	if _, err := lab.Await(ctx, g, "both to carry", func(s *control.Status) bool { return len(s.Policies[0].IPv4) == 2 }); err != nil {
		return err
	}
	n = 0
	for i, a := range census.Ask() {
		if a != during[i] {
			n++
		}
	}
	stay.add(float64(n))
	return nil
}

// openCensus opens flows of more clients of the LAN to more addresses of the server.
func openCensus(l *lab.Lab, clients, servers, flows int) (*traffic.Census, error) {
	from, err := lab.MoreClients(l.Client, clients)
	if err != nil {
		return nil, err
	}
	to, err := lab.MoreServers(l, servers)
	if err != nil {
		return nil, err
	}
	return traffic.OpenCensus(l.Client, l.Internet, from, to, flows)
}

// The rates of the lines of overflow, in bits a second.
const (
	fullRate = 40_000_000
	moreRate = 20_000_000
)

const overflowConfig = `uplinks:
  - {name: fiber, interface: wan0, rate: {down: 40mbit}}
  - {name: lte, interface: wan1, rate: {down: 20mbit}}
policies: [{name: default, overflow: 85%}]
`

// overflow measures what two lines carry together of more than the first one can.
func (m *measurer) overflow(ctx context.Context) error {
	carried := &Figure{Group: overflowGroup, What: "carried, of the sum of both rates", Unit: "%", Floor: medianAtLeast(90)}
	switches := &Figure{Group: overflowGroup, What: "switches", Unit: "switches", Floor: worstAtMost(0)}
	lost := &Figure{Group: overflowGroup, What: "flows that broke", Unit: "flows", Floor: worstAtMost(0)}
	begins := &Figure{Group: overflowGroup, What: "onset of the load to the overflow", Unit: "s"}
	void, err := m.repeat(overflowGroup, max(1, m.runs/20), func(time.Duration) (bool, error) {
		return m.playOverflow(ctx, carried, switches, lost, begins)
	})
	if err != nil {
		return err
	}
	for _, f := range []*Figure{carried, switches, lost, begins} {
		f.Void = void
		m.report.add(f)
	}
	return nil
}

func (m *measurer) playOverflow(ctx context.Context, carried, switches, lost, begins *Figure) (counts bool, err error) {
	g, err := startConfigured(ctx, m.binary, overflowConfig, lab.Options{})
	if err != nil {
		return false, err
	}
	defer g.Close()
	lab.Shape(g.Lab, lab.Fiber, fullRate, fullRate, 150*time.Millisecond)
	lab.Shape(g.Lab, lab.LTE, moreRate, moreRate, 150*time.Millisecond)
	clients, err := lab.MoreClients(g.Client, 64)
	if err != nil {
		return false, err
	}
	g.MarkLateness()
	onset := time.Now()
	shorts, err := traffic.StartShorts(g.Client, g.Internet, clients, lab.Server4,
		traffic.ShortOptions{Least: time.Second, Most: 5 * time.Second, Seed: m.report.Seed})
	if err != nil {
		return false, err
	}
	defer shorts.Stop()
	if _, err := lab.Await(ctx, g, "an overflow", func(s *control.Status) bool { return s.Policies[0].Overflowing.IPv4 }); err != nil {
		return false, err
	}
	took := time.Since(onset)
	if _, err := lab.Await(ctx, g, "both lines to be full", func(s *control.Status) bool { return len(s.Policies[0].OverflowTo.IPv4) == 2 }); err != nil {
		return false, err
	}
	share, err := carriedShare(ctx, g.Lab, 20*time.Second, fullRate+moreRate)
	if err != nil {
		return false, err
	}
	if g.Lateness() > time.Second/2 { // nothing here is of single milliseconds
		return false, nil
	}
	s, err := g.API().Status(ctx)
	if err != nil {
		return false, err
	}
	carried.add(100 * share)
	switches.add(float64(s.SwitchesTotal))
	lost.add(float64(shorts.Broken()))
	begins.add(took.Seconds())
	return true, nil
}

// carriedShare measures what the first two lines receive for a while, as a share of a rate.
func carriedShare(ctx context.Context, l *lab.Lab, length time.Duration, rate float64) (float64, error) {
	sum := func() (all uint64, err error) {
		for _, uplink := range []int{lab.Fiber, lab.LTE} {
			n, err := lab.Received(l, uplink)
			if err != nil {
				return 0, err
			}
			all += n
		}
		return all, nil
	}
	before, err := sum()
	if err != nil {
		return 0, err
	}
	since := time.Now()
	if err := wait.Sleep(ctx, length); err != nil {
		return 0, err
	}
	after, err := sum()
	return float64(after-before) * 8 / time.Since(since).Seconds() / rate, err
}

// scaleGroup has many policies and rules.
const scaleGroup = "32 policies and 1,000 rules"

// scaleConfig is a configuration of so many policies and rules, each of which matches a
// network of its own, and the last of which the clients'.
func scaleConfig(policies, rules int) string {
	text := lab.TwoUplinks + "failback: {after: 2s, min_interval: 1s}\npolicies:\n  - {name: default, tiers: [fiber, lte]}\n"
	for i := range policies - 1 {
		tiers := "[fiber, lte]"
		if i%2 == 1 {
			tiers = "[lte, fiber]"
		}
		text += fmt.Sprintf("  - {name: p%d, tiers: %s}\n", i, tiers)
	}
	text += "rules:\n"
	for i := range rules - 1 {
		from := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		text += fmt.Sprintf("  - {from: %s, proto: tcp, ports: [%d], use: p%d}\n", from, 1000+i%500, i%(policies-1))
	}
	return text + fmt.Sprintf("  - {from: %s, use: p0}\n", lab.LAN4)
}

// scale measures a verdict and a reload with many policies and rules, and the check of a
// file with ten times as many rules.
func (m *measurer) scale(ctx context.Context) error {
	apply := &Figure{Group: scaleGroup, What: "decision to kernel read back, carrier lost", Unit: "ms", Floor: worstAtMost(20)}
	reload := &Figure{Group: scaleGroup, What: "a reload that changes a rule", Unit: "ms", Floor: worstAtMost(500)}
	lost := &Figure{Group: scaleGroup, What: "packets lost over a reload, of 1,000 a second", Unit: "packets", Floor: worstAtMost(0)}
	check := &Figure{Group: scaleGroup, What: "check of 10,000 rules", Unit: "ms", Floor: worstAtMost(500)}
	for i := range max(1, m.runs/10) {
		m.progress("%s, run %d", scaleGroup, i+1)
		if err := m.playScale(ctx, apply, reload, lost, check); err != nil {
			return err
		}
	}
	m.report.add(apply, reload, lost, check)
	return nil
}

func (m *measurer) playScale(ctx context.Context, apply, reload, lost, check *Figure) error {
	g, err := startConfigured(ctx, m.binary, scaleConfig(32, 1000), lab.Options{})
	if err != nil {
		return err
	}
	defer g.Close()
	server, err := traffic.Serve(g.Internet, lab.Server4)
	if err != nil {
		return err
	}
	defer server.Close()
	bulk, err := traffic.StartBulk(g.Client, lab.Server4, 1000)
	if err != nil {
		return err
	}
	defer bulk.Stop()
	if err := wait.Sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := g.Configure(scaleConfig(32, 999)); err != nil {
		return err
	}
	begun := time.Now()
	if _, err := g.API().Reload(ctx, 0); err != nil {
		return err
	}
	reload.add(millis(time.Since(begun)))
	if err := wait.Sleep(ctx, time.Second); err != nil {
		return err
	}
	bulk.Stop()
	if err := wait.Sleep(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	lost.add(float64(bulk.Sent()) - float64(server.Received(bulk.Stream()).Count))
	if _, err := g.Fault(lab.Fiber, "carrier"); err != nil {
		return err
	}
	if _, err := lab.Await(ctx, g, "lte to carry", lab.CarriedBy("lte")); err != nil {
		return err
	}
	events, err := lab.Events(ctx, g)
	if err != nil {
		return err
	}
	worst := 0.0
	for _, e := range events {
		if s, ok := e.Detail.(control.SwitchDetail); ok && s.SwitchMS != nil {
			worst = max(worst, *s.SwitchMS)
		}
	}
	apply.add(worst)
	if err := g.Configure(scaleConfig(32, 10_000)); err != nil {
		return err
	}
	begun = time.Now()
	result, err := g.Exec(ctx, m.binary, "check", g.Config())
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("check of 10,000 rules: exit %d: %s", result.Code, result.Stderr)
	}
	check.add(millis(time.Since(begun)))
	return err
}
