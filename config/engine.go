package config

import (
	"strings"

	"swerve/failover"
	"swerve/lane"
	"swerve/target"
)

// Seen reports whether a family was offered on an uplink at some time before,
// as the state folder remembers; nil remembers nothing.
type Seen func(uplink string, f failover.Family) bool

// Engine turns the configuration into what the decision engine takes. uplinks
// are [Config.Uplinks] or, under [Config.AutoUplinks], those of [Config.Auto];
// the default policy uses all of them where the file gives it no tiers.
func (c *Config) Engine(uplinks []Uplink, seen Seen) failover.Config {
	e := failover.Config{
		Failback: c.Failback,
		Sessions: failover.Sessions{MoveOnDown: c.Sessions.MoveOnDown, MoveOnDegraded: c.Sessions.MoveOnDegraded},
	}
	for _, u := range uplinks {
		e.Uplinks = append(e.Uplinks, u.engine(seen))
	}
	for _, p := range c.Policies {
		tiers := p.Tiers
		if len(tiers) == 0 {
			tiers = eachAlone(uplinks)
		}
		e.Policies = append(e.Policies, failover.Policy{Name: p.Name, Tiers: tiers, Block: p.Block})
	}
	return e
}

// Layout returns the kernel's bits and numbers that are ours.
func (c *Config) Layout() lane.Layout {
	return lane.Layout{
		MarkMask: c.Kernel.MarkMask, CTMask: c.Kernel.CTMask,
		FirstPriority: c.Kernel.FirstPriority, FirstTable: c.Kernel.FirstTable,
	}
}

func (u Uplink) engine(seen Seen) failover.Uplink {
	e := failover.Uplink{
		Name:    u.Name,
		Enabled: u.Enabled,
		Metered: u.IsMetered(),
		Probe: failover.ProbeConfig{
			Interval:        u.Probe.Interval,
			StandbyInterval: u.Probe.StandbyInterval,
			LostAfter:       u.Probe.LostAfter,
			Burst:           u.Probe.Burst,
		},
		Health: u.Health,
	}
	for _, f := range failover.Families {
		e.Family[f] = u.family(f)
		e.Family[f].Seen = seen != nil && seen(u.Name, f)
	}
	return e
}

// family splits off one family's share of the probes.
func (u Uplink) family(f failover.Family) failover.FamilyConfig {
	fc := failover.FamilyConfig{Enabled: f == failover.IPv4 || u.IPv6}
	if !fc.Enabled {
		return fc
	}
	for _, t := range u.TargetsIn(f) {
		fc.Targets = append(fc.Targets, t.Text)
	}
	fc.Quorum = min(u.Probe.Quorum, len(fc.Targets))
	return fc
}

// TargetsIn are the uplink's targets that can be asked in a family: none where
// it does not carry the family, and no gateway where it has none.
func (u Uplink) TargetsIn(f failover.Family) []target.Target {
	if f == failover.IPv6 && !u.IPv6 {
		return nil
	}
	var list []target.Target
	for _, t := range targetsIn(u.Probe.Targets, f) {
		if t.Method != target.Gateway || !u.GatewayOf(f).None {
			list = append(list, t)
		}
	}
	return list
}

// GatewayOf is Gateway or Gateway6.
func (u Uplink) GatewayOf(f failover.Family) Gateway {
	if f == failover.IPv6 {
		return u.Gateway6
	}
	return u.Gateway
}

// IsMetered resolves metered: auto, which means interfaces named wwan….
func (u Uplink) IsMetered() bool {
	switch u.Metered {
	case MeteredYes:
		return true
	case MeteredNo:
		return false
	}
	return strings.HasPrefix(u.Interface, "wwan")
}
