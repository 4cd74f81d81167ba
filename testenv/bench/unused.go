package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

const unusedGroup = "black-hole, nobody using the line"

// defaultTable is the routing table of the default policy, and bestMetric that of its
// ladder's first rung.
var defaultTable = lane.DefaultLayout.Table(lane.DefaultPolicy)

const bestMetric = 1

// unused measures how soon new sessions would go elsewhere if only probes can detect the
// fault: until the kernel reports that the other uplink is first on the ladder.
func (m *measurer) unused(ctx context.Context) error {
	var figures [2]*Figure
	for _, f := range failover.Families {
		figures[f] = &Figure{Group: unusedGroup, What: "until new sessions would go elsewhere", Family: f.String(), Unit: "ms", Floor: atMost(300, 500)}
	}
	void, err := m.repeat(unusedGroup, m.runs, func(phase time.Duration) (counts bool, err error) {
		took, late, err := m.playUnused(ctx, phase)
		if err != nil || late > traffic.MaxLateness {
			return false, err
		}
		for _, f := range failover.Families {
			figures[f].add(millis(took[f]))
		}
		m.report.Runs = append(m.report.Runs, Run{Group: unusedGroup, Phase: hundredths(phase)})
		return true, nil
	})
	if err != nil {
		return err
	}
	figures[failover.IPv4].Void, figures[failover.IPv6].Void = void, void
	m.report.add(figures[:]...)
	return nil
}

// playUnused makes one run: how long each family took, and how late the lab was.
func (m *measurer) playUnused(ctx context.Context, phase time.Duration) (took [2]time.Duration, late time.Duration, err error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return took, 0, err
	}
	defer g.Close()
	turned, stop, err := watchLadders(g)
	if err != nil {
		return took, 0, err
	}
	defer stop()
	if err := wait.Sleep(ctx, phase); err != nil {
		return took, 0, err
	}
	g.MarkLateness()
	fault, err := g.Fault(lab.Fiber, "black-hole")
	if err != nil {
		return took, 0, err
	}
	limit := time.After(wait.Patience)
	for took[failover.IPv4] == 0 || took[failover.IPv6] == 0 {
		select {
		case t := <-turned:
			if took[t.family] == 0 {
				took[t.family] = t.at.Sub(fault.Onset)
			}
		case <-limit:
			return took, 0, fmt.Errorf("the ladders were not turned within %v", wait.Patience)
		case <-ctx.Done():
			return took, 0, context.Cause(ctx)
		}
	}
	return took, g.Lateness(), nil
}

// turning is the kernel's report that lte is first on a ladder.
type turning struct {
	family failover.Family
	at     time.Time
}

// watchLadders follows the kernel's messages about routes in the gateway.
func watchLadders(g *lab.Swerve) (<-chan turning, func(), error) {
	link, err := g.Gateway.Netlink().LinkByName(g.Uplinks[lab.LTE].Interface)
	if err != nil {
		return nil, nil, err
	}
	updates, done := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	handle := netns.NsHandle(g.Gateway.Fd())
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &handle}); err != nil {
		return nil, nil, fmt.Errorf("follow the routes: %w", err)
	}
	turned := make(chan turning, 64)
	go func() {
		for u := range updates {
			r := u.Route
			if u.Type != unix.RTM_NEWROUTE || r.Table != defaultTable || r.Priority != bestMetric || r.LinkIndex != link.Attrs().Index {
				continue
			}
			select {
			case turned <- turning{familyOf(u), time.Now()}:
			default: // only the first of each family counts, and there was room for those
			}
		}
	}()
	return turned, func() { close(done) }, nil
}

func familyOf(u netlink.RouteUpdate) failover.Family {
	if u.Family == unix.AF_INET6 {
		return failover.IPv6
	}
	return failover.IPv4
}
