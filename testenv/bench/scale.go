package main

import (
	"context"
	"fmt"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// Groups with many policies and rules.
const (
	scaleGroup  = "32 policies and 1,000 rules"
	fullestFile = "32 policies and 10,000 rules"
)

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
		text += fmt.Sprintf("  - {from: %s, proto: tcp, ports: [%d], use: p%d}\n", ruleNetwork(i), 1000+i%500, i%(policies-1))
	}
	return text + fmt.Sprintf("  - {from: %s, use: p0}\n", lab.LAN4)
}

// scale measures a verdict and a reload with many policies and rules, and what a file with
// ten times as many rules takes.
func (m *measurer) scale(ctx context.Context) error {
	apply := &Figure{Group: scaleGroup, What: "decision to kernel read back, carrier lost", Unit: "ms", Floor: worstAtMost(20)}
	reload := &Figure{Group: scaleGroup, What: "a reload that changes a rule", Unit: "ms", Floor: worstAtMost(500)}
	lost := &Figure{Group: scaleGroup, What: "packets lost over a reload, of 1,000 a second", Unit: "packets", Floor: worstAtMost(0)}
	fullest := fullestFigures{
		check:  &Figure{Group: fullestFile, What: "swerve check", Unit: "ms", Floor: worstAtMost(500)},
		reload: &Figure{Group: fullestFile, What: "a reload that changes a rule", Unit: "ms"},
		start:  &Figure{Group: fullestFile, What: "a start, until the uplinks are up", Unit: "ms"},
		memory: &Figure{Group: fullestFile, What: "resident memory", Unit: "MiB"},
	}
	for i := range max(1, m.runs/10) {
		m.progress("%s, run %d", scaleGroup, i+1)
		if err := m.playScale(ctx, apply, reload, lost, fullest); err != nil {
			return err
		}
	}
	m.report.add(apply, reload, lost, fullest.check, fullest.reload, fullest.start, fullest.memory)
	return nil
}

func (m *measurer) playScale(ctx context.Context, apply, reload, lost *Figure, fullest fullestFigures) error {
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
	if err := timedReload(ctx, g, scaleConfig(32, 999), reload); err != nil {
		return err
	}
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
	return m.playFullest(ctx, g, fullest)
}

// timedReload has the daemon take another configuration, and adds how long that took.
func timedReload(ctx context.Context, g *lab.Swerve, config string, took *Figure) error {
	if err := g.Configure(config); err != nil {
		return err
	}
	begun := time.Now()
	if _, err := g.API().Reload(ctx, 0); err != nil {
		return err
	}
	took.add(millis(time.Since(begun)))
	return nil
}

// fullestFigures are those of a file with as many rules as it may have.
type fullestFigures struct{ check, reload, start, memory *Figure }

func (m *measurer) playFullest(ctx context.Context, g *lab.Swerve, f fullestFigures) error {
	if err := g.Configure(scaleConfig(32, manyRules)); err != nil {
		return err
	}
	begun := time.Now()
	result, err := g.Exec(ctx, m.binary, "check", g.Config())
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("check of 10,000 rules: exit %d: %s", result.Code, result.Stderr)
	}
	if err != nil {
		return err
	}
	f.check.add(millis(time.Since(begun)))
	if err := g.Stop(ctx); err != nil {
		return err
	}
	begun = time.Now()
	if err := g.Start(); err != nil {
		return err
	}
	if _, err := lab.Await(ctx, g, "lte to be up", func(s *control.Status) bool { return s.Uplinks[lab.LTE].IPv4.State == control.Up }); err != nil {
		return err
	}
	f.start.add(millis(time.Since(begun)))
	if err := timedReload(ctx, g, scaleConfig(32, manyRules-1), f.reload); err != nil {
		return err
	}
	resident, err := residentMiB(g.Pid(), "VmRSS")
	f.memory.add(resident)
	return err
}
