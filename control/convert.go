package control

import (
	"math"
	"net/netip"
	"time"

	"swerve/failover"
)

// Clock returns the wall time of one of the engine's instants.
type Clock func(failover.Instant) time.Time

// UplinkOf converts the engine's view of an uplink. The caller adds the counters,
// and the interface's configured name while there is no such interface.
func UplinkOf(v failover.UplinkView, clock Clock) Uplink {
	u := Uplink{
		Name:          v.Name,
		Interface:     v.Link.Interface,
		Enabled:       v.Enabled,
		Metered:       v.Metered,
		Admin:         Admin(v.Admin),
		ResumePending: v.Awaited,
		OverrideUntil: clock.unlessZero(v.Until),
		HeldUntil:     clock.unlessZero(v.HeldUntil),
		DrainingUntil: clock.unlessZero(v.DrainingUntil),
		IPv4:          familyOf(v.Family[failover.IPv4], v.Link.Family[failover.IPv4], clock),
		IPv6:          familyOf(v.Family[failover.IPv6], v.Link.Family[failover.IPv6], clock),
		Native:        []netip.Prefix{},
	}
	if u.Admin == "" {
		u.Admin = Auto
	}
	if v.Link.Present {
		u.Carrier = &v.Link.Carrier
	}
	if v.Proven >= 0 {
		u.LastProven = At(clock(v.Proven))
	}
	return u
}

func familyOf(v failover.FamilyView, l failover.FamilyLink, clock Clock) FamilyStatus {
	f := FamilyStatus{
		State:          State(v.State.String()),
		Reason:         v.Reason,
		Since:          At(clock(v.Since)),
		Gateway:        gatewayOf(l.Gateway),
		OnLink:         l.Direct,
		Loss:           ratioOf(v.Loss),
		RTTMS:          millisOf(v.RTT),
		JitterMS:       millisOf(v.Jitter),
		PatienceMS:     millis(v.Patience),
		PatienceLearnt: v.Learnt,
		HoldOffMS:      millis(v.HeldOff),
		Suspicions:     v.Suspicions,
	}
	f.Unsent = v.Unsent
	if v.UnsentErrno != "" {
		f.UnsentErrno = &v.UnsentErrno
	}
	for _, t := range v.Targets {
		f.Targets = append(f.Targets, targetOf(t))
	}
	return f
}

func targetOf(v failover.TargetView) Target {
	t := Target{
		Target:    v.Target,
		Answering: v.Answering,
		Loss:      ratioOf(v.Loss),
		RTTMS:     millisOf(v.RTT),
		SetAside:  v.SetAside,
	}
	if v.Fault.Cause != "" {
		t.Fault = &v.Fault.Cause
	}
	return t
}

// PolicyOf converts the engine's view of a policy.
func PolicyOf(v failover.PolicyView, clock Clock) Policy {
	p := Policy{
		Name:          v.Name,
		IPv4:          sharesOf(v.Family[failover.IPv4]),
		IPv6:          sharesOf(v.Family[failover.IPv6]),
		OverrideUntil: clock.unlessZero(v.Until),
		Overflowing: ByFamily{
			IPv4: len(v.Overflow[failover.IPv4]) > 0,
			IPv6: len(v.Overflow[failover.IPv6]) > 0,
		},
		Blocked: ByFamily{IPv4: v.Blocked[failover.IPv4], IPv6: v.Blocked[failover.IPv6]},
		OverflowTo: Overflowing{
			IPv4: sharesOf(v.Overflow[failover.IPv4]),
			IPv6: sharesOf(v.Overflow[failover.IPv6]),
		},
	}
	if v.Switched != "" {
		p.SwitchedTo = &v.Switched
	}
	return p
}

// RateOf converts a rate.
func RateOf(r failover.Rate) *Rate {
	known := func(v uint64) *uint64 {
		if v == 0 {
			return nil
		}
		return &v
	}
	return &Rate{DownBPS: known(r.Down), UpBPS: known(r.Up)}
}

func sharesOf(shares []failover.Share) List[Share] {
	out := make(List[Share], len(shares))
	for i, s := range shares {
		out[i] = Share{Uplink: s.Uplink, Weight: s.Weight}
	}
	return out
}

// SwitchOf converts a record that holds a switch. Took is the time from the decision
// until the kernel was read back, nil while that is pending.
func SwitchOf(r failover.Record, took *time.Duration, clock Clock) Switch {
	c := r.Switch
	return Switch{
		Time: At(clock(r.At)),
		SwitchDetail: SwitchDetail{
			Policy:     c.Policy,
			Family:     c.Family.String(),
			Kind:       c.Kind.String(),
			From:       c.From,
			To:         c.To,
			Reason:     c.Reason,
			EvidenceMS: evidenceOf(c.Evidence),
			SwitchMS:   millisOf(took),
		},
	}
}

// SwitchEvent is the event of a switch.
func SwitchEvent(s Switch) Event {
	return Event{Time: s.Time, Detail: s.SwitchDetail}
}

// OverflowEvent is the event of a record that holds an overflow.
func OverflowEvent(r failover.Record, clock Clock) Event {
	c := r.Overflow
	d := OverflowDetail{
		Action: c.Phase.String(), Policy: c.Policy, Family: c.Family.String(), From: c.From, To: c.To, Reason: c.Reason,
		Limit: *ratioOf(&c.Limit),
	}
	for _, l := range c.Loads {
		load := TierLoad{Uplinks: l.Uplinks, Share: ratioOf(&l.Share), Direction: "down", Full: l.Full}
		if l.Up {
			load.Direction = "up"
		}
		d.Loads = append(d.Loads, load)
	}
	return Event{Time: At(clock(r.At)), Detail: d}
}

// HealthEvent is the event of a record that holds a change of health.
func HealthEvent(r failover.Record, clock Clock) Event {
	c := r.Health
	return Event{Time: At(clock(r.At)), Detail: HealthDetail{
		Uplink:     c.Uplink,
		Family:     c.Family.String(),
		From:       State(c.From.String()),
		To:         State(c.To.String()),
		Reason:     c.Reason,
		EvidenceMS: evidenceOf(c.Evidence),
	}}
}

func (c Clock) unlessZero(at failover.Instant) Time {
	if at == 0 {
		return Time{}
	}
	return At(c(at))
}

func gatewayOf(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return &a
}

// Millis is a duration in milliseconds, to the microsecond, for the fields whose
// names end in MS.
func Millis(d time.Duration) *float64 { return new(millis(d)) }

func millis(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}

func millisOf(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	return Millis(*d)
}

// evidenceOf is nil for the negative durations that mean in the engine that there is
// no such time.
func evidenceOf(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	return Millis(d)
}

// ratioOf rounds to four places. JSON has no NaN, and a single one would make the
// whole status fail: it becomes unknown.
func ratioOf(r *float64) *float64 {
	if r == nil || math.IsNaN(*r) || math.IsInf(*r, 0) {
		return nil
	}
	return new(math.Round(*r*1e4) / 1e4)
}
