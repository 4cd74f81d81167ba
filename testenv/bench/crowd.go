package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/control"
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
// sampled flows lost after it, when a client that only listens had its reset, and the
// memory it took.
func (m *measurer) crowd(ctx context.Context) error {
	wrong := &Figure{Group: crowdGroup, What: "packets that one flow lost after the verdict was in the kernel", Unit: "packets", Floor: worstAtMost(1)}
	told := &Figure{Group: crowdGroup, What: "TCP reset after the verdict, where the client only listens", Unit: "ms", Floor: worstAtMost(50)}
	memory := &Figure{Group: crowdGroup, What: "memory grown", Unit: "MiB", Floor: worstAtMost(maxGrowth)}
	void, err := m.repeat(crowdGroup, max(1, m.runs/20), func(phase time.Duration) (counts bool, err error) {
		c, err := m.playCrowd(ctx, crowdOfFlows, phase)
		if err != nil || c.late > traffic.MaxLateness {
			return false, err
		}
		wrong.add(float64(c.lost))
		told.addTelling(c.breaks, c.verdict)
		memory.add(max(0, c.grown))
		return true, nil
	})
	if err != nil {
		return err
	}
	wrong.Void, told.Void, memory.Void = void, void, void
	m.report.add(wrong, told, memory)
	return nil
}

// crowdRun is the outcome of one run.
type crowdRun struct {
	verdict time.Time
	lost    int             // most packets that one flow lost since the verdict was in the kernel
	breaks  []traffic.Break // of the client that only listens
	grown   float64         // memory, in MiB
	late    time.Duration   // the lab
}

// playCrowd makes one run.
func (m *measurer) playCrowd(ctx context.Context, each int, phase time.Duration) (run crowdRun, err error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return run, err
	}
	defer g.Close()
	if n, err := fillConntrack(g.Gateway, each); err != nil {
		return run, fmt.Errorf("make conntrack entry %d: %w", n, err)
	}
	flows, err := startFlows(ctx, g, sampled)
	if err != nil {
		return run, err
	}
	defer flows.stop()
	server, err := traffic.Serve(g.Internet, lab.Server4)
	if err != nil {
		return run, err
	}
	defer server.Close()
	client, err := traffic.Start(g.Client, traffic.TCPListen, lab.Server4, traffic.Options{Rate: streamRate})
	if err != nil {
		return run, err
	}
	defer client.Stop()
	listens := &session{client, failover.IPv4}
	if err := wait.Until(ctx, "the flows to be answered", func() bool { return flows.allAnswered() && listens.flows() }); err != nil {
		return run, err
	}
	if err := wait.Sleep(ctx, phase); err != nil {
		return run, err
	}
	before, err := residentMiB(g.Pid(), "RssAnon")
	if err != nil {
		return run, err
	}
	g.MarkLateness()
	if _, err := g.Fault(lab.Fiber, "black-hole"); err != nil {
		return run, err
	}
	if run.verdict, err = awaitDown(ctx, g, failover.IPv4); err != nil {
		return run, err
	}
	inForce, err := awaitMoved(ctx, g, failover.IPv4)
	if err != nil {
		return run, err
	}
	// Every flow sends several times, and the result of each packet is known.
	if err := wait.Sleep(ctx, 6*flowPause+answerWithin); err != nil {
		return run, err
	}
	after, err := residentMiB(g.Pid(), "RssAnon")
	run.lost, run.breaks = flows.mostUnanswered(inForce, time.Now().Add(-answerWithin)), listens.Breaks()
	run.grown, run.late = after-before, g.Lateness()
	return run, err
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

// awaitMoved waits until fiber's sessions have been moved in a family, and returns when that
// began: routes and packet filter had the verdict then.
func awaitMoved(ctx context.Context, g lab.Gateway, f failover.Family) (at time.Time, err error) {
	err = wait.Until(ctx, "fiber's sessions to be moved", func() bool {
		events, err := lab.Events(ctx, g)
		if err != nil {
			return false
		}
		for _, e := range events {
			if d, ok := e.Detail.(control.SessionsDetail); ok && d.Action == "moved" && d.Family == f.String() && d.TookMS != nil {
				at = e.Time.Add(time.Millisecond - time.Duration(*d.TookMS*float64(time.Millisecond))) // rounded down
			}
		}
		return !at.IsZero()
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
