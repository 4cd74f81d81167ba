package config

import (
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/lane"
	"swerve/rule"
	"swerve/target"
)

// Bounds of lists. maxUplinks and maxPolicies are the numbers of lanes that there
// are for them.
const (
	maxUplinks   = int(lane.LastUplink)
	maxPolicies  = int(lane.LastPolicy-lane.DefaultPolicy) + 1
	maxTargets   = 64
	maxSmallList = 64
	maxList      = 4_096
)

const maxSocketPath = 107 // sockaddr_un's sun_path, without the terminating NUL

var uplinkFields = fields[Uplink]{
	must(set("name", func(u *Uplink) *string { return &u.Name }, name), wantName),
	must(set("interface", func(u *Uplink) *string { return &u.Interface }, interfaceName), wantInterface),
	set("enabled", func(u *Uplink) *bool { return &u.Enabled }, boolean),
	set("gateway", func(u *Uplink) *Gateway { return &u.Gateway }, gateway(failover.IPv4)),
	set("gateway6", func(u *Uplink) *Gateway { return &u.Gateway6 }, gateway(failover.IPv6)),
	set("ipv6", func(u *Uplink) *bool { return &u.IPv6 }, boolean),
	set("snat", func(u *Uplink) *SNAT { return &u.SNAT }, words(choice[SNAT]{word: "auto", value: SNATAuto}, choice[SNAT]{"masquerade", Masquerade, yes}, choice[SNAT]{noneWord, NoSNAT, no})),
	set("snat_except", func(u *Uplink) *[]netip.Prefix { return &u.SNATExcept },
		oneOrMany(maxList, prefix(failover.IPv4))),
	set("snat6", func(u *Uplink) *SNAT { return &u.SNAT6 }, words(same(Foreign, Masquerade, NPT, NoSNAT)...)),
	set("npt", func(u *Uplink) *[]Translation { return &u.NPT }, translations),
	set("prefix6", func(u *Uplink) *Prefix6 { return &u.Prefix6 }, prefix6),
	set("metered", func(u *Uplink) *Metered { return &u.Metered }, metered),
	set("dns", func(u *Uplink) *[]netip.Addr { return &u.DNS }, oneOrMany(maxSmallList, resolver)),
	section("rate", func(u *Uplink) *failover.Rate { return &u.Rate }, rateFields),
	section("route", func(u *Uplink) *failover.Override { return &u.Route[failover.IPv4] }, routeFields(failover.IPv4)),
	section("route6", func(u *Uplink) *failover.Override { return &u.Route[failover.IPv6] }, routeFields(failover.IPv6)),
	section("probe", func(u *Uplink) *Probe { return &u.Probe }, probeFields),
	section("health", func(u *Uplink) *failover.Health { return &u.Health }, healthFields),
}

var probeFields = fields[Probe]{
	set("targets", func(p *Probe) *[]target.Target { return &p.Targets }, readTargets),
	set("interval", func(p *Probe) *time.Duration { return &p.Interval },
		duration(20*time.Millisecond, time.Hour)),
	set("standby_interval", func(p *Probe) *time.Duration { return &p.StandbyInterval },
		duration(20*time.Millisecond, day)),
	set("lost_after", func(p *Probe) *time.Duration { return &p.LostAfter },
		duration(40*time.Millisecond, time.Minute)),
	set("quorum", func(p *Probe) *int { return &p.Quorum }, integer(1, maxTargets)),
	section("burst", func(p *Probe) *failover.Burst { return &p.Burst }, fields[failover.Burst]{
		set("probes", func(b *failover.Burst) *int { return &b.Probes }, integer(1, 20)),
		set("spacing", func(b *failover.Burst) *time.Duration { return &b.Spacing },
			duration(time.Millisecond, time.Second)),
	}),
}

var healthFields = fields[failover.Health]{
	{key: "patience", read: patience},
	set("window", func(h *failover.Health) *time.Duration { return &h.Window },
		duration(time.Second, 10*time.Minute)),
	limit("loss", ratios, func(h *failover.Health) *failover.Limit { return &h.Loss }, func(h *failover.Health) *float64 { return &h.Unusable }),
	limit("latency", times, func(h *failover.Health) *failover.Limit { return &h.Latency }, nil),
	limit("jitter", times, func(h *failover.Health) *failover.Limit { return &h.Jitter }, nil),
	checked(section("damping", func(h *failover.Health) *failover.Damping { return &h.Damping }, fields[failover.Damping]{
		set("half_life", func(p *failover.Damping) *time.Duration { return &p.HalfLife }, duration(time.Second, day)),
		set("suppress", func(p *failover.Damping) *float64 { return &p.Suppress }, points(maxPoints)),
		set("reuse", func(p *failover.Damping) *float64 { return &p.Reuse }, points(maxPoints)),
		set("max", func(p *failover.Damping) *float64 { return &p.Max }, points(maxPoints)),
	}), dampingRule),
}

const maxPoints = 100

var failbackFields = fields[failover.Failback]{
	set("mode", func(f *failover.Failback) *bool { return &f.Manual },
		words(choice[bool]{"auto", false, yes}, choice[bool]{"manual", true, no})),
	set("after", func(f *failover.Failback) *time.Duration { return &f.After }, duration(0, day)),
	set("min_interval", func(f *failover.Failback) *time.Duration { return &f.MinInterval }, duration(0, day)),
}

var policyFields = fields[Policy]{
	must(set("name", func(p *Policy) *string { return &p.Name }, name), wantName),
	set("tiers", func(p *Policy) *[][]failover.Share { return &p.Tiers }, tiers),
	set("last_resort", func(p *Policy) *bool { return &p.Block },
		words(choice[bool]{word: "default"}, choice[bool]{word: "block", value: true})),
	set("spread", func(p *Policy) *Spread { return &p.Spread },
		words(same(SpreadPairs, SpreadClients, SpreadFlows)...)),
	set("overflow", func(p *Policy) *float64 { return &p.Overflow }, overflow),
	set("overflow_metered", func(p *Policy) *bool { return &p.OverflowMetered }, boolean),
}

var ruleFields = fields[Rule]{
	set("from", func(r *Rule) *[]netip.Prefix { return &r.From }, anyPrefixes),
	{key: "to", keys: []string{"set"}, read: destinations},
	set("in", func(r *Rule) *[]string { return &r.In }, oneOrMany(maxList, entryInterface)),
	set("proto", func(r *Rule) *uint8 { return &r.Proto }, protocol),
	set("ports", func(r *Rule) *[]rule.PortRange { return &r.Ports }, portSet),
	{key: "dscp", read: func(d *decoder, n node, r *Rule) { r.DSCP, r.HasDSCP = dscp(d, n) }},
	set("mark", func(r *Rule) *rule.Mark { return &r.Mark }, mark),
	must(set("use", func(r *Rule) *string { return &r.Use }, policyName), "the name of a policy"),
}

var sessionFields = fields[Sessions]{
	set("on_down", func(s *Sessions) *bool { return &s.MoveOnDown }, moveOrKeep),
	set("on_degraded", func(s *Sessions) *bool { return &s.MoveOnDegraded }, moveOrKeep),
	set("on_failback", func(s *Sessions) *OnFailback { return &s.OnFailback }, onFailback),
}

var kernelFields = fields[Kernel]{
	laneMask("mark_mask", func(k *Kernel) *uint32 { return &k.MarkMask }),
	laneMask("ct_mask", func(k *Kernel) *uint32 { return &k.CTMask }),
	set("first_priority", func(k *Kernel) *int { return &k.FirstPriority }, integer(1, maxFirstPriority)),
	set("first_table", func(k *Kernel) *int { return &k.FirstTable }, firstTable),
	set("main_default", func(k *Kernel) *bool { return &k.MirrorMain },
		either("mirror", "leave")),
	set("sysctls", func(k *Kernel) *bool { return &k.ManageSysctls },
		either("manage", "report")),
	set("foreign_defaults", func(k *Kernel) *bool { return &k.KeepForeign },
		either("keep", "overrule")),
}

var controlFields = fields[Control]{
	set("socket", func(c *Control) *string { return &c.Socket }, absolutePath(maxSocketPath)),
	set("group", func(c *Control) *string { return &c.Group }, group),
}

var metricsFields = fields[Metrics]{
	set("listen", func(m *Metrics) *string { return &m.Listen }, listen),
}

var logFields = fields[Log]{
	set("level", func(l *Log) *string { return &l.Level }, words(same("debug", "info", "warn", "error")...)),
	set("format", func(l *Log) *string { return &l.Format }, words(same("auto", "text", "json", "journal")...)),
}

// fileFields is the schema of the whole file. It is read in this order, not the
// file's: uplinks start from the probe and health sections, which therefore come
// first.
var fileFields = fields[Config]{
	section("probe", func(c *Config) *Probe { return &c.Probe }, probeFields),
	section("health", func(c *Config) *failover.Health { return &c.Health }, healthFields),
	must(field[Config]{key: "uplinks", keys: uplinkFields.keys(), read: readUplinks}, wantUplinks),
	section("rescue", func(c *Config) *Rescue { return &c.Rescue }, rescueFields),
	section("failback", func(c *Config) *failover.Failback { return &c.Failback }, failbackFields),
	{key: "policies", keys: policyFields.keys(), read: readPolicies},
	{key: "sets", read: readSets},
	{key: "rules", keys: ruleFields.keys(), read: readRules},
	section("sessions", func(c *Config) *Sessions { return &c.Sessions }, sessionFields),
	section("kernel", func(c *Config) *Kernel { return &c.Kernel }, kernelFields),
	section("control", func(c *Config) *Control { return &c.Control }, controlFields),
	set("state", func(c *Config) *string { return &c.State }, absolutePath(maxStatePath)),
	section("metrics", func(c *Config) *Metrics { return &c.Metrics }, metricsFields),
	section("log", func(c *Config) *Log { return &c.Log }, logFields),
}

const maxStatePath = 1_024
