package main

import (
	"context"
	"fmt"
	"math"
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
