package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// crowdOfFlows is how many conntrack entries the gateway has of each uplink, and sampled
// how many active flows are among those of the lost one.
const (
	crowdOfFlows = 100_000
	sampled      = 1000
)

// maxGrowth in MiB is well below the size of a copy of the entries, and above the usual
// variation of a busy daemon's heap.
const maxGrowth = 4

const crowdGroup = "1,000 flows among 100,000 of the lost uplink, 200,000 in all"

// crowd measures the effect of a verdict on many flows: how many packets any of the
// sampled flows lost after it, and the memory it took.
func (m *measurer) crowd(ctx context.Context) error {
	wrong := &Figure{Group: crowdGroup, What: "packets that one flow lost after the verdict", Unit: "packets", Floor: worstAtMost(1)}
	memory := &Figure{Group: crowdGroup, What: "memory grown", Unit: "MiB", Floor: worstAtMost(maxGrowth)}
	void, err := m.repeat(crowdGroup, max(1, m.runs/20), func(phase time.Duration) (counts bool, err error) {
		lost, grown, late, err := m.playCrowd(ctx, crowdOfFlows, phase)
		if err != nil || late > traffic.MaxLateness {
			return false, err
		}
		wrong.add(float64(lost))
		memory.add(max(0, grown))
		return true, nil
	})
	if err != nil {
		return err
	}
	wrong.Void, memory.Void = void, void
	m.report.add(wrong, memory)
	return nil
}

// playCrowd is one run: the most packets that one flow lost after the verdict, the memory
// grown in MiB, and how late the lab was.
func (m *measurer) playCrowd(ctx context.Context, each int, phase time.Duration) (lost int, grown float64, late time.Duration, err error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return 0, 0, 0, err
	}
	defer g.Close()
	if n, err := fillConntrack(g.Gateway, each); err != nil {
		return 0, 0, 0, fmt.Errorf("make conntrack entry %d: %w", n, err)
	}
	flows, err := startFlows(ctx, g, sampled)
	if err != nil {
		return 0, 0, 0, err
	}
	defer flows.stop()
	if err := wait.Until(ctx, "the flows to be answered", flows.allAnswered); err != nil {
		return 0, 0, 0, err
	}
	if err := wait.Sleep(ctx, phase); err != nil {
		return 0, 0, 0, err
	}
	before, err := residentMiB(g.Pid(), "RssAnon")
	if err != nil {
		return 0, 0, 0, err
	}
	g.MarkLateness()
	if _, err := g.Fault(lab.Fiber, "black-hole"); err != nil {
		return 0, 0, 0, err
	}
	verdict, err := awaitDown(ctx, g, failover.IPv4)
	if err != nil {
		return 0, 0, 0, err
	}
	// Every flow sends several times, and the result of each packet is known.
	if err := wait.Sleep(ctx, 6*flowPause+answerWithin); err != nil {
		return 0, 0, 0, err
	}
	after, err := residentMiB(g.Pid(), "RssAnon")
	return flows.mostUnanswered(verdict, time.Now().Add(-answerWithin)), after - before, g.Lateness(), err
}

// awaitDown waits until fiber is down in a family, and returns since when.
func awaitDown(ctx context.Context, g lab.Gateway, f failover.Family) (at time.Time, err error) {
	err = wait.Until(ctx, "fiber to be down", func() bool {
		events, err := lab.Events(ctx, g)
		if err != nil {
			return false
		}
		var down bool
		at, down = downSince(events, f)
		return down
	})
	return at, err
}

// fillConntrack adds conntrack entries to a namespace, each for each uplink: unused UDP
// flows, marked as of the default policy. With an error it returns how many it had made.
func fillConntrack(ns *netns.NS, each int) (made int, err error) {
	for i := range 2 * each {
		uplink := lane.Lane(lab.Fiber + 1)
		if i >= each {
			uplink = lab.LTE + 1
		}
		client := netip.AddrFrom4([4]byte{10, byte(i >> 22), byte(i >> 14), byte(i >> 6)}).AsSlice()
		server, port := netip.AddrFrom4([4]byte{198, 18, 0, 99}).AsSlice(), uint16(1024+i&63)
		flow := &netlink.ConntrackFlow{
			FamilyType: unix.AF_INET,
			Forward:    netlink.IPTuple{SrcIP: client, DstIP: server, SrcPort: port, DstPort: 53, Protocol: unix.IPPROTO_UDP},
			Reverse:    netlink.IPTuple{SrcIP: server, DstIP: client, SrcPort: 53, DstPort: port, Protocol: unix.IPPROTO_UDP},
			Mark:       lane.DefaultLayout.CTPair(uplink, lane.DefaultPolicy),
			TimeOut:    600,
		}
		if err := ns.Netlink().ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow); err != nil {
			return i, err
		}
	}
	return 2 * each, nil
}
