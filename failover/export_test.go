package failover

import "time"

// What the tests of package failover_test examine of the engine's internal state.

// Inside is a copy of the engine's internal state of a path.
type Inside struct {
	State State
	// Samples in the window, those of them that are lost, and those by target.
	Samples, Lost int
	OfTarget      []int
	// Deadlines of the targets, and whether their round trip time is known.
	Deadlines []time.Duration
	Known     []bool
	// Answered is the last answer, DownAt when a shunned path is down.
	Answered, DownAt Instant
	// Open are the probes in flight, Looking reports whether a burst is open.
	Open    []ProbeID
	Looking bool
	// Active targets, and the quorum of them.
	Active, Quorum int
	// Fresh reports whether the path is proven enough for a switch by choice.
	Fresh bool
}

// InsideOf returns the internal state of a path.
func InsideOf(e *Engine, uplink string, f Family) Inside {
	p := e.uplinks.path(uplink, f)
	in := Inside{
		State: p.state, Samples: p.window.n, Lost: p.window.total.lost, Answered: p.answered, DownAt: p.downAt(),
		Open: p.air.open, Looking: p.burst.open, Active: p.targets.active(), Quorum: p.quorum(),
		Fresh: p.state != Suspect && p.provenSince(e.now-freshProof-p.targets.slowest(p.up.cfg.Probe.LostAfter)),
	}
	for i := range p.targets {
		in.OfTarget = append(in.OfTarget, p.window.target[i].n)
		in.Deadlines = append(in.Deadlines, p.targets[i].rtt.deadline(time.Second))
		in.Known = append(in.Known, p.targets[i].rtt.known())
	}
	return in
}

// Look starts a burst on a path; SetAside sets a target aside.
func Look(e *Engine, uplink string, f Family) {
	e.uplinks.path(uplink, f).startBurst(&turn{now: e.now, step: e.steps})
}
func SetAside(e *Engine, f Family, target string) { e.uplinks.setAside(&turn{}, f, target, true) }

// Standing is the result of a selection for a candidate.
type Standing = standing

// The standings that tests expect.
const (
	Behind         = behind
	Carrying       = carrying
	TooSoon        = tooSoon
	OnlyByOperator = onlyByOperator
)

// Stand is what a candidate of the default policy records of a selection.
type Stand struct {
	Standing Standing
	// Reason is why it is ranked so, PathReason the reason of its path's state.
	Reason, PathReason string
}

// StandsOf returns the candidates of the default policy by uplink.
func StandsOf(e *Engine, f Family) map[string]Stand {
	stands := map[string]Stand{}
	for _, k := range e.selector.policies[0].family[f].candidates {
		stands[k.up.cfg.Name] = Stand{k.standing, k.reason, k.path.reason}
	}
	return stands
}

// Unpin ends the operator's switches to an uplink without the end of an override, which
// would be an action of the operator's.
func Unpin(e *Engine, uplink string) { e.selector.unpin(uplink) }

// NowOf is the instant of the engine's last step.
func NowOf(e *Engine) Instant { return e.now }

// ConfigOf is the configuration in force, as the engine's parts hold it.
func ConfigOf(e *Engine) Config {
	c := Config{Failback: e.selector.failback, Sessions: e.selector.sessions}
	for _, u := range e.uplinks {
		c.Uplinks = append(c.Uplinks, u.cfg)
	}
	for _, pol := range e.selector.policies {
		c.Policies = append(c.Policies, pol.cfg)
	}
	return c
}

// LeastDeadline and LastInstant bound what the engine accepts.
const (
	LeastDeadline = leastDeadline
	Never         = never
	Forever       = forever
	LastInstant   = lastInstant
)

// Span and Percent format figures as reasons have them.
var (
	Span    = span
	Percent = percent
)

// DefaultConfig is the default configuration for fiber and lte.
func DefaultConfig() Config {
	return Config{
		Uplinks:  []Uplink{DefaultUplink("fiber"), DefaultUplink("lte")},
		Policies: []Policy{{Name: "default", Tiers: [][]Share{{{Uplink: "fiber", Weight: 1}}, {{Uplink: "lte", Weight: 1}}}}},
		Failback: Failback{After: 30 * time.Second, MinInterval: 10 * time.Second},
		Sessions: Sessions{MoveOnDown: true},
	}
}

// DefaultUplink is an uplink with the default settings.
func DefaultUplink(name string) Uplink {
	u := Uplink{
		Name: name, Enabled: true,
		Probe: ProbeConfig{
			Interval: time.Second, StandbyInterval: 30 * time.Second, LostAfter: time.Second,
			Burst: Burst{Probes: 3, Spacing: 20 * time.Millisecond},
		},
		Health: Health{
			Patience: 500 * time.Millisecond, LearnPatience: true, Window: time.Minute,
			Loss: Limit{Degraded: 0.2, Clear: 0.05}, Unusable: 0.5, Latency: Limit{Degraded: 0.5, Clear: 0.3}, Jitter: Limit{Never: true},
			Damping: Damping{HalfLife: 15 * time.Minute, Suppress: 3, Reuse: 1, Max: 12},
		},
	}
	u.Family[IPv4] = FamilyConfig{Enabled: true, Quorum: 1, Targets: []string{"1.1.1.1", "8.8.8.8", "9.9.9.9"}}
	u.Family[IPv6] = FamilyConfig{Enabled: true, Quorum: 1, Targets: []string{"2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe"}}
	return u
}
