package failover

import "time"

// View is a copy of what the engine holds to be so, for people to look at.
type View struct {
	Uplinks  []UplinkView
	Policies []PolicyView
	// Switches counts the switches since the start; Last is the newest one.
	Switches uint64
	Last     *Record
}

// UplinkView is one uplink, in configuration order.
type UplinkView struct {
	Name    string
	Enabled bool
	Metered bool
	Link    Link
	// Admin is "auto", "drained" or "switched"; Until ends it, 0 for never.
	Admin string
	Until Instant
	// HeldUntil is when damping is expected to let go; 0 when it does not hold.
	HeldUntil Instant
	// Proven is the last answer in any family; negative when there was none.
	Proven Instant
	Family [2]FamilyView
}

// FamilyView is an uplink's health in one family. A nil figure is unknown.
type FamilyView struct {
	State  State
	Reason string
	// Since is when the state was entered.
	Since Instant
	// Seen says that the family is, or once was, offered here.
	Seen bool
	// Loss is a ratio over the window; RTT the window's mean; Jitter the mean
	// deviation of successive RTTs (RFC 3550).
	Loss        *float64
	RTT, Jitter *time.Duration
	Patience    time.Duration
	Targets     []TargetView
}

// TargetView is one target of an uplink's family.
type TargetView struct {
	Target string
	// Answering is nil until the first probe was answered or lost.
	Answering *bool
	Loss      *float64
	RTT       *time.Duration
	// SetAside: it fails on every uplink while others answer, and counts for
	// nothing meanwhile.
	SetAside bool
}

// PolicyView names the uplinks that carry a policy's new flows by family,
// the first rung of its ladder.
type PolicyView struct {
	Name   string
	Family [2][]Share
}
