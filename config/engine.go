package config

import (
	"reflect"
	"strings"

	"swerve/failover"
	"swerve/lane"
	"swerve/target"
)

// Seen reports whether a family has ever been available on an uplink, according to
// the state folder. A nil Seen means never.
type Seen func(uplink string, f failover.Family) bool

// Engine converts the configuration to that of the decision engine. uplinks are
// [Config.Uplinks] or, under [Config.AutoUplinks], those of [Config.Auto]; the
// default policy uses all of them if the file gives it no tiers.
func (c *Config) Engine(uplinks []Uplink, seen Seen) failover.Config {
	e := failover.Config{
		Failback: c.Failback,
		Sessions: failover.Sessions{
			MoveOnDown: c.Sessions.MoveOnDown, MoveOnDegraded: c.Sessions.MoveOnDegraded, OnFailback: c.Sessions.OnFailback.engine(),
		},
	}
	for _, u := range uplinks {
		e.Uplinks = append(e.Uplinks, u.engine(seen))
	}
	for _, p := range c.Policies {
		tiers, tiers6 := p.tiersOf(uplinks)
		e.Policies = append(e.Policies, failover.Policy{
			Name: p.Name, Tiers: tiers, Tiers6: tiers6, Block: p.Block, Overflow: p.Overflow, OverflowMetered: p.OverflowMetered,
		})
	}
	return e
}

func (o OnFailback) engine() failover.OnFailback {
	return failover.OnFailback{Move: o.Mode != SessionsKeep, After: o.Drain, MeteredOnly: o.Mode == SessionsAuto}
}

// tiersOf returns the policy's tiers, and those of IPv6 where they differ: of a policy
// without any, those of the order of `uplinks: auto`.
func (p Policy) tiersOf(uplinks []Uplink) (tiers, tiers6 [][]failover.Share) {
	if len(p.Tiers) > 0 {
		return p.Tiers, nil
	}
	tiers, tiers6 = autoTiers(uplinks, failover.IPv4), autoTiers(uplinks, failover.IPv6)
	if reflect.DeepEqual(tiers, tiers6) {
		return tiers, nil
	}
	return tiers, tiers6
}

// Layout returns the bits of marks, and the numbers of tables and rules, that are
// ours.
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
		Rate:    u.Rate,
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

// family returns the engine's configuration of the uplink in one family.
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

// TargetsIn returns the uplink's targets that can be probed in a family: none if it
// does not carry the family, and not the gateway if it has none.
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

// GatewayOf returns Gateway or Gateway6, by family.
func (u Uplink) GatewayOf(f failover.Family) Gateway {
	if f == failover.IPv6 {
		return u.Gateway6
	}
	return u.Gateway
}

// IsMetered reports whether the uplink is metered. With metered: auto it is if its
// interface is that of a modem: by its name, or by what the machine says of it.
func (u Uplink) IsMetered() bool {
	switch u.Metered {
	case MeteredYes:
		return true
	case MeteredNo:
		return false
	}
	return u.Modem || NamedModem(u.Interface)
}

// NamedModem reports whether an interface has a name of a modem's: systemd and the
// kernel name WWAN interfaces ww….
func NamedModem(device string) bool { return strings.HasPrefix(device, "ww") }
