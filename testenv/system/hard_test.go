package system

import (
	"flag"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
)

var stopped = flag.Duration("stopped", 8*time.Second, "how long TestStopped stops the daemon")

// The daemon is stopped, as on a machine that swaps, and continues: what it did not
// receive meanwhile is no evidence. Traffic is not affected, and neither is any verdict.
func TestStopped(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		before, since := len(g.Events()), time.Now()
		g.signal(syscall.SIGSTOP)
		time.Sleep(*stopped)
		g.signal(syscall.SIGCONT)
		g.Await("every target to have answered since", func(s *control.Status) bool {
			return s.Now.Sub(since) > *stopped && answeredSince(s, since.Add(*stopped))
		})
		awaitResults()
		for _, e := range g.Events()[before:] {
			h, health := e.Detail.(control.HealthDetail)
			if e.Type() == control.EventSwitch || health && h.To != control.Suspect && h.To != control.Up {
				t.Errorf("after the stop: %+v", e.Detail)
			}
		}
		if s := g.Status(); !lab.Settled(s) || s.SwitchesTotal != 0 {
			t.Errorf("after the stop: %s", lab.Brief(s))
		}
		for _, s := range p.all() {
			s.undisturbed("the stop", since)
		}
		f := g.Break(fiber, "black-hole") // it still detects a fault
		g.leaves("black-hole", p, f.Onset)
	})
}

// It is stopped during a suspicion whose cause is over when it continues: the rest of
// the silence, which it could not observe, must not count against the uplink.
func TestStoppedInDoubt(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks+"health: {patience: 2s}\n")
		p := g.clients(fiber)
		f := g.Break(fiber, "black-hole")
		g.Await("a suspicion of fiber in both families", func(s *control.Status) bool {
			return s.Uplinks[fiber].IPv4.State != control.Up && s.Uplinks[fiber].IPv6.State != control.Up
		})
		g.signal(syscall.SIGSTOP)
		g.Mend(f)
		time.Sleep(5 * time.Second)
		g.signal(syscall.SIGCONT)
		g.Await("fiber to carry", lab.Settled)
		for _, f := range failover.Families {
			if states := g.entered(fiber, f); slices.Contains(states, control.Down) {
				t.Errorf("%s of fiber entered %v: the stop was taken for silence", f, states)
			}
		}
		for _, s := range p.long() {
			s.livedOn("a stop during a suspicion")
		}
	})
}

func (g *gateway) signal(s syscall.Signal) {
	g.Helper()
	if err := g.daemon.Signal(s); err != nil {
		g.Fatal(err)
	}
}

// answeredSince reports whether each uplink has had an answer since an instant.
func answeredSince(s *control.Status, at time.Time) bool {
	for _, u := range s.Uplinks {
		if !u.LastProven.After(at) {
			return false
		}
	}
	return true
}

// A target that is the gateway's own address on the LAN would always answer. It does
// not count, so a silent uplink is detected all the same.
func TestOwnTarget(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery+"probe: {targets: [192.168.10.1, 1.1.1.1, \"fd00:10::1\", \"2606:4700:4700::1111\"]}\n")
		g.Await("the target to be reported", func(s *control.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p control.Problem) bool {
				return p.Code == "own-target" && strings.HasSuffix(p.Text, ": 192.168.10.1 fd00:10::1")
			})
		})
		p := g.clients(fiber)
		f := g.Break(fiber, "black-hole")
		g.leaves("black-hole", p, f.Onset)
		g.comesBack(f, p)
	})
}

// Ten thousand changes of addresses and of other programs' routes, with a fault among
// them: the fault is detected, and finally the kernel is as it should be.
func TestStorm(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		p := g.clients(fiber)
		g.inPlace()
		memory := g.memory()
		over := make(chan error, 1)
		go func() { over <- storm(g.Gateway, 10_000) }()
		time.Sleep(100 * time.Millisecond)
		f := g.Break(fiber, "carrier")
		g.goBy(lte, p.all()...)
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		g.Mend(f)
		g.Await("fiber to carry again", lab.Settled)
		g.goBy(fiber, p.fresh[:]...)
		g.inPlace()
		if n := len(g.switches()); n != 2*len(failover.Families) {
			t.Errorf("there were %d switches, want one away and one back in each family: %+v", n, g.switches())
		}
		if now := g.memory(); now > memory+64<<20 {
			t.Errorf("the daemon has grown from %d to %d MiB", memory>>20, now>>20)
		}
	})
}

// storm adds and deletes addresses and routes that do not concern the daemon; the
// kernel announces each.
func storm(ns *netns.NS, events int) error {
	h := ns.Netlink()
	lan, err := h.LinkByName("lan0")
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr("192.168.77.1/24")
	if err != nil {
		return err
	}
	other := &netlink.Route{LinkIndex: lan.Attrs().Index, Table: 100, Dst: netlink.NewIPNet(net.IPv4(192, 0, 2, 200))}
	for i := range events {
		switch i % 4 {
		case 0:
			err = h.AddrAdd(lan, address)
		case 1:
			err = h.RouteAdd(other)
		case 2:
			err = h.RouteDel(other)
		case 3:
			err = h.AddrDel(lan, address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inPlace checks that the kernel is at the daemon's goal, by swerve plan.
func (g *gateway) inPlace() {
	g.Helper()
	var script, said string
	g.Until("a plan of nothing", func() bool {
		var code int
		script, said, code = g.swerve("plan", "-c", g.daemon.Config())
		if code != 0 || script != "" {
			g.Logf("the plan: %s%s", script, said)
		}
		return code == 0 && script == ""
	})
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// memory returns the daemon's resident memory, in bytes.
func (g *gateway) memory() int {
	g.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(g.daemon.Pid()) + "/status")
	if err != nil {
		g.Fatal(err)
	}
	found := resident.FindStringSubmatch(string(status))
	if found == nil {
		g.Fatalf("no resident memory in %s", strings.TrimSpace(string(status)))
	}
	kB, _ := strconv.Atoi(found[1])
	return kB << 10
}
