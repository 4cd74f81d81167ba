package config

import (
	"time"

	"swerve/failover"
	"swerve/lane"
	"swerve/target"
)

// defaultTargets are the default of probe.targets: public resolvers of three
// operators in each family, so that no single operator decides.
var defaultTargets = []string{
	"1.1.1.1", "8.8.8.8", "9.9.9.9",
	"2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe",
}

// drainMetered is how long sessions may stay on a metered uplink after a failback
// under sessions.on_failback: auto.
const drainMetered = 10 * time.Minute

// Default returns the configuration of a machine without a file: the interfaces
// that hold a default route are the uplinks, and every value is the default.
func Default() *Config {
	c := defaults()
	c.AutoUplinks = true
	c.Policies = []Policy{defaultPolicy()}
	return c
}

// defaults returns every default that does not depend on the uplinks.
func defaults() *Config {
	return &Config{
		Probe:  defaultProbe(),
		Health: defaultHealth(),
		Rescue: defaultRescue(),
		Failback: failover.Failback{
			After:       30 * time.Second,
			MinInterval: 10 * time.Second,
		},
		Sessions: Sessions{MoveOnDown: true, OnFailback: OnFailback{Mode: SessionsAuto, Drain: drainMetered}},
		Kernel: Kernel{
			MarkMask:      lane.DefaultLayout.MarkMask,
			CTMask:        lane.DefaultLayout.CTMask,
			AutoMasks:     true,
			FirstPriority: lane.DefaultLayout.FirstPriority,
			FirstTable:    lane.DefaultLayout.FirstTable,
			MirrorMain:    true,
			ManageSysctls: true,
			KeepForeign:   true,
		},
		Control: Control{Socket: "/run/swerve/swerve.sock", Group: "swerve"},
		State:   "/var/lib/swerve",
		Log:     Log{Level: "info", Format: "auto"},
	}
}

func defaultProbe() Probe {
	p := Probe{
		Interval:        time.Second,
		StandbyInterval: 30 * time.Second,
		LostAfter:       time.Second,
		Quorum:          1,
		Burst:           failover.Burst{Probes: 3, Spacing: 20 * time.Millisecond},
	}
	for _, s := range defaultTargets {
		t, problem := target.Parse(s)
		if problem != nil {
			panic("config: default target " + s + ": " + problem.Error())
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

func defaultHealth() failover.Health {
	return failover.Health{
		Patience: firstPatience, LearnPatience: true,
		Window:   time.Minute,
		Unusable: 0.50,
		Loss:     failover.Limit{Degraded: 0.20, Clear: 0.05},
		Latency:  failover.Limit{Degraded: 0.500, Clear: 0.300},
		Jitter:   failover.Limit{Never: true},
		Damping:  failover.Damping{HalfLife: 15 * time.Minute, Suppress: 3, Reuse: 1, Max: 12},
	}
}

// newUplink returns an uplink with all its defaults, without name and interface.
func newUplink(probe Probe, health failover.Health) Uplink {
	return Uplink{
		Enabled: true,
		IPv6:    true,
		SNAT:    SNATAuto,
		SNAT6:   Foreign,
		Prefix6: Prefix6{Auto: true},
		Metered: MeteredAuto,
		Probe:   probe,
		Health:  health,
	}
}

func newPolicy() Policy { return Policy{Spread: SpreadPairs} }

// defaultPolicy returns the default policy where the file has none, yet without
// tiers.
func defaultPolicy() Policy {
	p := newPolicy()
	p.Name = DefaultPolicy
	return p
}
