package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/simulator"
	"swerve/testenv/traffic"
)

// daemonBinary is cmd/swerve as TestMain built it.
var daemonBinary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	if daemonBinary, err = lab.Build(folder, "cmd/swerve"); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return m.Run()
}

func TestDaemonIsAsNiceAsItsUnit(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/swerve.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "\nNice="+unitNice+"\n") {
		t.Errorf("the unit does not have the nice value %s", unitNice)
	}
}

// Each fault can be played, and its cost is reported for both families. The bench judges
// that cost, on a machine that does nothing else.
func TestFaultsCanBePlayed(t *testing.T) {
	for _, p := range faultParts {
		t.Run(p.group, func(t *testing.T) {
			m := &measurer{report: newReport("test", 1, true), binary: daemonBinary, runs: 1}
			figures := newFaultFigures(p)
			var run *Run
			for tries := 0; run == nil; tries++ {
				if tries == 20 {
					t.Fatal("the machine paused in each of 20 runs")
				}
				var err error
				if run, err = m.playFault(t.Context(), p, 300*time.Millisecond, figures); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range failover.Families {
				if v := figures.fresh[f].Values; len(v) != 1 || v[0] < 0 || v[0] > millis(p.watch) {
					t.Errorf("%s: new sessions interrupted for %v ms", f, v)
				}
				if n := len(figures.apply[f].Values); !p.dead && n != 1 {
					t.Errorf("%s: %d switches were reported", f, n)
				}
				if n := len(figures.told[f].Values); !p.dead && n != 1 {
					t.Errorf("%s: %d clients that only listen were reset; they heard nothing for %v ms", f, n, figures.listen[f].Values)
				}
			}
			if len(run.Sessions) != 8 || len(run.Sessions[0].Requests) < 3 {
				t.Errorf("the raw requests: %+v", run.Sessions)
			}
		})
	}
}

// For a line that nobody uses the kernel's messages show when its ladders turned.
func TestUnusedLineCanBePlayed(t *testing.T) {
	m := &measurer{report: newReport("test", 1, true), binary: daemonBinary, runs: 1}
	took, late, err := m.playUnused(t.Context(), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range failover.Families {
		if took[f] < 20*time.Millisecond && late < traffic.MaxLateness {
			t.Errorf("%s: left after %v, before any probe could be missed", f, took[f])
		}
	}
}

// Each of many flows is moved, and soon all of their packets are answered.
func TestCrowdCanBePlayed(t *testing.T) {
	m := &measurer{report: newReport("test", 1, true), binary: daemonBinary, runs: 1}
	run, err := m.playCrowd(t.Context(), 2000, 0)
	if err != nil {
		t.Fatal(err)
	}
	if run.lost > 3 { // of the six that each sends
		t.Errorf("a flow lost %d packets after the verdict", run.lost)
	}
	if len(run.breaks) != 1 || run.breaks[0].Reset.IsZero() {
		t.Errorf("the client that only listens: %+v", run.breaks)
	}
}

// The two roads forward, at similar rates within a wide margin.
func TestRoadsForward(t *testing.T) {
	m := &measurer{report: newReport("test", 1, true), binary: daemonBinary, runs: 1}
	swerve, peer, err := m.roads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer swerve.close()
	defer peer.close()
	ours, theirs, err := pair(t.Context(), floodRateOf, swerve, peer, true)
	if err != nil || ours < 1000 || theirs < 1000 {
		t.Errorf("%.0f packets a second by Swerve, %.0f by the rule: %v", ours, theirs, err)
	}
}

// Of many rules the last one decides about the flows that are measured, in any shape.
func TestManyRulesCanBePlayed(t *testing.T) {
	m := &measurer{report: newReport("test", 1, true), binary: daemonBinary, runs: 1}
	for _, shape := range ruleShapes {
		r, err := m.ruledRoad(t.Context(), 3, rulesConfig(200, shape.match))
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		byOther := func() uint64 {
			link, err := r.server.Netlink().LinkByName("isp1")
			if err != nil {
				t.Fatal(err)
			}
			return link.Attrs().Statistics.RxPackets
		}
		before := byOther()
		if ms, err := newFlowOf(t.Context(), r); err != nil || ms <= 0 {
			t.Errorf("rules %s: %v ms for a new flow, %v", shape.name, ms, err)
		}
		if n := byOther() - before; n < newFlows {
			t.Errorf("rules %s: %d packets came by the uplink of the last rule, want those of %d flows", shape.name, n, newFlows)
		}
	}
}

// The arguments of the bare peer can be parsed.
func TestBarePinger(t *testing.T) {
	p, err := barePinger([]string{"wan0", "203.0.113.2", "16777216", "1.1.1.1"})
	if err != nil || p.InterfaceName != "wan0" || p.Source != "203.0.113.2" || p.Count != 1 || p.Addr() != "1.1.1.1" {
		t.Errorf("%+v, %v", p, err)
	}
}

// A process's processor time grows while it works.
func TestProcessorTime(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	after, err := processorTime(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("from %v to %v: %v", before, after, err)
	}
	if resident, err := residentMiB(os.Getpid(), "VmRSS"); err != nil || resident < 1 {
		t.Errorf("%v MiB resident, %v", resident, err)
	}
}

// Worlds are played, each once, and the result of each is passed on.
func TestWorldsCanBePlayed(t *testing.T) {
	m := &measurer{report: newReport("test", 1, true)}
	for _, h := range hardships {
		seen := 0
		err := m.playWorlds(t.Context(), h, 3, time.Hour, func(s simulator.Stats) {
			if seen++; s.Length != time.Hour || s.Probes == 0 || s.Entered[failover.Suspect] == 0 {
				t.Errorf("%s: %+v", h.group, s)
			}
			if n := len(h.read(s, 1)); n != len(h.figures("")) {
				t.Errorf("%s: %d values", h.group, n)
			}
		})
		if err != nil || seen != 3 {
			t.Errorf("%s: %d worlds, %v", h.group, seen, err)
		}
	}
	h := hardships[0]
	h.script = "no such hardship"
	if err := m.playWorlds(t.Context(), h, 3, time.Hour, func(simulator.Stats) {}); err == nil {
		t.Error("an invalid script was played")
	}
}
