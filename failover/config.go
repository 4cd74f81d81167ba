package failover

import "time"

// Config is the engine's part of the user's configuration. It must be valid:
// package config has checked it.
type Config struct {
	// Uplinks in the user's order of preference.
	Uplinks []Uplink
	// Policies; the first is the default policy.
	Policies []Policy
	Failback Failback
	Sessions Sessions
}

// Uplink is one uplink's share of the configuration.
type Uplink struct {
	Name    string
	Enabled bool
	// Metered uplinks are probed each StandbyInterval while they carry nothing.
	Metered bool
	// Rate is what its line can carry.
	Rate Rate
	// Family holds what differs by family.
	Family [2]FamilyConfig
	Probe  ProbeConfig
	Health Health
}

// Rate is what a line can carry in each direction, in bits a second, 64,000 to
// 400,000,000,000; 0 where that is not known.
type Rate struct{ Down, Up uint64 }

// FamilyConfig says how one family of an uplink is probed.
type FamilyConfig struct {
	// Enabled is false where the user turned the family off; it is then absent.
	Enabled bool
	// Seen says that the family was offered on this uplink in an earlier run, as
	// the state file has it. Such a family is down, not absent, when its address
	// is gone.
	Seen bool
	// Targets as the configuration writes them, at most 64. Empty: carrier and
	// gateway alone are judged.
	Targets []string
	// Quorum of targets that must answer, 1 to len(Targets); 0 without targets.
	Quorum int
}

// ProbeConfig is how often probes are sent and how long they are waited for.
type ProbeConfig struct {
	// Interval between two probes of one target, 20 ms to 1 h. The targets of a
	// family are spread evenly over it, those of the two families interleaved.
	Interval time.Duration
	// StandbyInterval replaces Interval on a metered uplink that carries nothing.
	StandbyInterval time.Duration
	// LostAfter is the age at which a probe without an answer counts as lost; an
	// answer that comes later makes it a slow one.
	LostAfter time.Duration
	// Burst is sent on suspicion.
	Burst Burst
}

// Burst is the volley of probes that confirms or ends a suspicion.
type Burst struct {
	// Probes to each target, 1 to 20, raised so that there are at least 9 in all.
	Probes int
	// Spacing between two probes to one target, 1 ms to 1 s.
	Spacing time.Duration
}

// Health are the limits by which a path is judged.
type Health struct {
	// Patience is the silence, from the first unanswered sending, after which
	// sessions are moved; 50 ms to 1 min. Stalls raise it, to 2 s at most. With
	// LearnPatience it is that of a line of which little is known: one that was never
	// silent for long gets a shorter one, of 200 ms at least, and the first verdict is held
	// off for stalls that a line often has.
	Patience      time.Duration
	LearnPatience bool
	// Window over which loss, latency and jitter are computed, 1 s to 10 min.
	Window time.Duration
	// Loss, Latency and Jitter degrade a path; the unit is as in Limit.
	Loss, Latency, Jitter Limit
	// Unusable is the loss over which no session lives, so that the path is down; 0 for
	// never, otherwise above Loss.Clear.
	Unusable float64
	Damping  Damping
}

// Limit has hysteresis: a figure over Degraded is degraded until it is under Clear.
// The unit is a ratio for loss, seconds for latency and jitter.
type Limit struct {
	// Never disables the limit.
	Never           bool
	Degraded, Clear float64
}

// Damping is route-flap damping after RFC 2439: one point for each down,
// halved each HalfLife (1 s to 24 h). Over Suppress points the uplink is held in
// recovering until it is under Reuse. Points are over 0, Reuse < Suppress ≤ Max ≤ 100.
type Damping struct {
	HalfLife             time.Duration
	Suppress, Reuse, Max float64
}

// Failback says how traffic returns to a preferred uplink.
type Failback struct {
	// Manual keeps traffic where it is until the operator switches or resumes.
	Manual bool
	// After is how long an uplink must be good before it is up again, 0 to 24 h.
	// After a short outage ten times the outage is enough.
	After time.Duration
	// MinInterval between two voluntary switches, 0 to 24 h.
	MinInterval time.Duration
}

// Sessions says what happens to established sessions.
type Sessions struct {
	// MoveOnDown moves them when their uplink is down.
	MoveOnDown bool
	// MoveOnDegraded also moves them when traffic leaves their uplink because it is
	// degraded.
	MoveOnDegraded bool
	// OnFailback is about those on an uplink that a failback leaves.
	OnFailback OnFailback
}

// OnFailback says what happens to the sessions on an uplink that a failback leaves.
type OnFailback struct {
	// Move has them move, After that time, 0 to 7 days; otherwise they stay.
	Move  bool
	After time.Duration
	// MeteredOnly: those on uplinks that are not metered stay.
	MeteredOnly bool
}

// Policy orders uplinks by preference.
type Policy struct {
	Name string
	// Tiers, best first. The uplinks of one tier share the load by weight.
	Tiers [][]Share
	// Tiers6 are those of IPv6, with the same uplinks, where they differ; nil where they
	// do not.
	Tiers6 [][]Share
	// Block blocks the policy's traffic when its own uplinks are gone; otherwise it
	// may use those of the default policy.
	Block bool
	// Overflow is the share of the rates of the uplinks that carry, 0.2 to 1, from which
	// on new flows go to the next tier; 0 for never.
	Overflow float64
	// OverflowMetered lets them go to metered uplinks as well.
	OverflowMetered bool
}

// TiersOf returns the tiers of a family, best first.
func (p Policy) TiersOf(f Family) [][]Share {
	if f == IPv6 && p.Tiers6 != nil {
		return p.Tiers6
	}
	return p.Tiers
}

// Share is an uplink's part of a tier.
type Share struct {
	Uplink string
	// Weight is 1 to 255, relative to the tier's other shares.
	Weight int
}
