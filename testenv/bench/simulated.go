package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"swerve/failover"
	"swerve/testenv/simulator"
)

// world is the length of each simulated world.
const world = 10 * 24 * time.Hour

// hardship affects both uplinks of a simulated gateway all the time.
type hardship struct {
	group, script string
	figures       func(group string) []*Figure
	read          func(s simulator.Stats, perYear float64) []float64
}

var hardships = []hardship{
	{
		"simulated, 5 % independent loss", "loss=0.05",
		func(group string) []*Figure {
			return []*Figure{
				{Group: group, What: "downs a year", Unit: "", Floor: worstAtMost(0)},
				{Group: group, What: "degradeds a year", Unit: "", Floor: worstAtMost(0)},
			}
		},
		func(s simulator.Stats, perYear float64) []float64 {
			return []float64{float64(s.Entered[failover.Down]) * perYear, float64(s.Entered[failover.Degraded]) * perYear}
		},
	},
	{
		"simulated, 0.1 % loss in stalls of 200 ms", "stalls every=199.8s for=200ms",
		func(group string) []*Figure {
			return []*Figure{
				{Group: group, What: "downs a year", Unit: "", Floor: worstAtMost(30)},
				{Group: group, What: "sessions moved a year", Unit: "", Floor: worstAtMost(0)},
			}
		},
		func(s simulator.Stats, perYear float64) []float64 {
			return []float64{float64(s.Entered[failover.Down]) * perYear, float64(s.Lost) * perYear}
		},
	},
}

// simulated plays link life to the engine in virtual time, with a value for each world.
func (m *measurer) simulated(ctx context.Context) error {
	worlds := max(2, m.runs)
	for _, h := range hardships {
		figures := h.figures(fmt.Sprintf("%s, %.2g years", h.group, float64(worlds)*world.Hours()/24/365))
		err := m.playWorlds(ctx, h, worlds, world, func(s simulator.Stats) {
			perYear := float64(365*24*time.Hour) / float64(s.Length)
			for i, v := range h.read(s, perYear) {
				figures[i].add(v)
			}
			m.progress("%s: %d of %d worlds", h.group, len(figures[0].Values), worlds)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", h.group, err)
		}
		m.report.add(figures...)
	}
	return nil
}

// playWorlds plays worlds, and passes on each one's statistics.
func (m *measurer) playWorlds(ctx context.Context, h hardship, worlds int, length time.Duration, take func(simulator.Stats)) error {
	script := func(i int) simulator.Script {
		return simulator.Steady(simulator.TwoUplinks, []string{"fiber", "lte"}, m.report.Seed+uint64(i), length, h.script)
	}
	err := simulator.PlayAll(ctx, worlds, script, simulator.Options{CheckEach: 1000, Lean: true}, take)
	return cmp.Or(err, context.Cause(ctx))
}
