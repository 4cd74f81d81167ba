package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"swerve/failover"
)

// Version is the version of the contract, which Status.Version reports. It rises only
// when a field changes its meaning or goes; fields may be added at any time.
const Version = 1

// Status is the current state of everything. What is not measured is nil, and null on
// the wire, never 0. One that has been passed on is immutable.
type Status struct {
	Version int  `json:"version"`
	Now     Time `json:"now"`
	// Overall is [Overall] of the rest; the server fills it in.
	Overall  Severity      `json:"overall"`
	Software string        `json:"software"`
	Daemon   Daemon        `json:"daemon"`
	Problems List[Problem] `json:"problems"`
	// Uplinks in the configuration's order of preference.
	Uplinks List[Uplink] `json:"uplinks"`
	// Policies in the configuration's order, the default policy first.
	Policies List[Policy] `json:"policies"`
	// Sets of addresses that others fill, in the configuration's order.
	Sets List[Set] `json:"sets"`
	// SwitchesTotal counts the switches since the daemon's start.
	SwitchesTotal uint64 `json:"switches_total"`
	// LastSwitch is nil until there was one.
	LastSwitch *Switch `json:"last_switch"`
}

// Set is a set of addresses in nftables that others fill.
type Set struct {
	Name string `json:"name"`
	// IPv4 and IPv6 are how many elements it has; nil while that is not known.
	IPv4 *int `json:"ipv4"`
	IPv6 *int `json:"ipv6"`
	// Size is how many it may have in each family.
	Size int `json:"size"`
}

// Daemon describes the process that answers.
type Daemon struct {
	PID   int  `json:"pid"`
	Since Time `json:"since"`
	// Config is the path of its file; empty where it runs without one.
	Config string `json:"config"`
	// Generation counts the configurations it has applied, from 1.
	Generation uint64 `json:"generation"`
	// ConfigPending: a reload waits for its confirmation, else it is undone.
	ConfigPending bool `json:"config_pending"`
	// ConfirmUntil is when that is; zero without one.
	ConfirmUntil Time `json:"confirm_until"`
}

// Severity grades a problem, and the whole.
type Severity string

// The severities. OK is that of a whole without problems.
const (
	OK       Severity = "ok"
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Problem is something that needs a person's attention, for as long as it lasts.
type Problem struct {
	// Code names the kind of problem for programs, such as "uplink-down".
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Object is what has the problem, such as an uplink's name.
	Object string `json:"object"`
	Since  Time   `json:"since"`
	// Text says what is wrong and Remedy what to do, each as one phrase without
	// a full stop.
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// Uplink is one uplink with what is known of it in each family.
type Uplink struct {
	Name string `json:"name"`
	// Interface is the kernel's present name of it; while there is none, what
	// the configuration says.
	Interface string `json:"interface"`
	// Enabled is false where the user switched the uplink off.
	Enabled bool `json:"enabled"`
	// Carrier is nil while there is no such interface.
	Carrier *bool `json:"carrier"`
	Metered bool  `json:"metered"`
	Admin   Admin `json:"admin"`
	// ResumePending: the operator has resumed it before it was up, under failback.mode
	// manual, so it is returned to once it is.
	ResumePending bool `json:"resume_pending"`
	// OverrideUntil ends Admin by itself; HeldUntil is when the uplink is
	// expected to count as up again.
	OverrideUntil Time `json:"override_until"`
	HeldUntil     Time `json:"held_until"`
	// DrainingUntil is when the sessions move that a failback has left on the uplink.
	DrainingUntil Time `json:"draining_until"`
	// LastProven is the last answer in any family.
	LastProven Time `json:"last_proven"`

	IPv4 FamilyStatus `json:"ipv4"`
	IPv6 FamilyStatus `json:"ipv6"`

	// Rate is what the line can carry by the configuration; nil where it has none.
	Rate *Rate `json:"rate"`

	// Native are the networks that were found native on the uplink, whose sources are
	// not masqueraded there; never nil.
	Native []netip.Prefix `json:"native"`

	Counters
}

// Carries reports whether an uplink carries new flows of some policy in some family, or
// takes what overflows there. Where a policy blocks now, nothing carries it.
func (s *Status) Carries(uplink string) bool {
	is := func(share Share) bool { return share.Uplink == uplink }
	return slices.ContainsFunc(s.Policies, func(p Policy) bool {
		return slices.ContainsFunc(failover.Families[:], func(f failover.Family) bool {
			return !p.BlockedIn(f) && slices.ContainsFunc(slices.Concat(p.Family(f), p.OverflowIn(f)), is)
		})
	})
}

// Rate is what a line can carry, in bits a second; nil where that is not configured.
type Rate struct {
	DownBPS *uint64 `json:"down_bps"`
	UpBPS   *uint64 `json:"up_bps"`
}

// Admin is what the operator asked of an uplink.
type Admin string

// What the operator may ask of an uplink.
const (
	Auto     Admin = "auto"
	Drained  Admin = "drained"
	Switched Admin = "switched"
)

// Counters are an uplink's figures since the daemon's start; nil is not measured.
type Counters struct {
	// RxBytes and TxBytes are the interface's own.
	RxBytes *uint64 `json:"rx_bytes"`
	TxBytes *uint64 `json:"tx_bytes"`
	// RxBPS and TxBPS are rates in bits a second.
	RxBPS *uint64 `json:"rx_bps"`
	TxBPS *uint64 `json:"tx_bps"`
	// NewFlows counts the flows that began on the uplink.
	NewFlows *uint64 `json:"new_flows"`
	// ProbeBytes counts the traffic of its probes in both directions.
	ProbeBytes *uint64 `json:"probe_bytes"`
	// Sessions is what became of its sessions when they had to leave it.
	Sessions Sessions `json:"sessions"`
	// BeganElsewhere counts new flows that began on other uplinks while it was shunned, if
	// it was not down then: the price of leaving early.
	BeganElsewhere *uint64 `json:"began_elsewhere"`
}

// Sessions are an uplink's sessions that had to leave it, by what became of them; nil is not
// measured.
type Sessions struct {
	// Moved counts flows that went on by another uplink, or would with their next packet.
	Moved *uint64 `json:"moved"`
	// Reset counts TCP connections that were answered with a reset.
	Reset *uint64 `json:"reset"`
	// Poked counts clients that were made to speak, so that they meet their reset.
	Poked *uint64 `json:"poked"`
	// Destroyed counts connections of the gateway's own programs that were ended.
	Destroyed *uint64 `json:"destroyed"`
}

// FamilyStatus is an uplink's health in one family. In state Absent nothing else
// is on the wire.
type FamilyStatus struct {
	State State `json:"state"`
	// Reason for the state in words with its figures; may be empty when up.
	Reason string `json:"reason"`
	// Since is when the state was entered.
	Since Time `json:"since"`
	// Gateway is nil while unknown, and where there is none.
	Gateway *netip.Addr `json:"gateway"`
	// OnLink: there is no gateway although the interface has neighbours, as an
	// Ethernet has, so each destination is looked for on the link itself.
	OnLink bool `json:"on_link,omitempty"`
	// Loss is a ratio from 0 to 1 over the window; RTTMS its mean and JitterMS
	// the mean deviation of successive RTTs (RFC 3550), in milliseconds.
	Loss     *float64 `json:"loss"`
	RTTMS    *float64 `json:"rtt_ms"`
	JitterMS *float64 `json:"jitter_ms"`
	// PatienceMS is the silence after which sessions are moved, in milliseconds.
	PatienceMS float64 `json:"patience_ms"`
	// PatienceLearnt: it is not the configured one, but what the path's stalls, or that
	// it has none, have taught.
	PatienceLearnt bool `json:"patience_learnt"`
	// HoldOffMS is for how long a silence must last before new flows leave, in
	// milliseconds, 500 at most: the path has shorter ones time and again. 0 where the
	// first evidence is enough.
	HoldOffMS float64 `json:"hold_off_ms"`
	// Suspicions counts how often a late probe or traffic made the path suspect, since
	// the daemon's start. Those that come to nothing are no events.
	Suspicions uint64 `json:"suspicions"`
	// Unsent counts the probes that this machine could not send, each since the last
	// one that it sent to the same target; UnsentErrno names the kernel's last error
	// among them, such as "EPERM", and is nil where there was none.
	Unsent      int     `json:"unsent"`
	UnsentErrno *string `json:"unsent_errno"`
	// Rescued counts the addresses that this uplink does not reach, and that are used by the
	// next one of their policy; nil where that is off, or not known.
	Rescued *int `json:"rescued"`
	// Handshakes are those of TCP by this uplink; nil while they are not known.
	Handshakes *Handshakes  `json:"handshakes"`
	Targets    List[Target] `json:"targets"`
}

// Handshakes counts TCP connections as the packet filter sees them begin, since its table was
// made.
type Handshakes struct {
	Begun uint64 `json:"begun"`
	// Again counts first segments that were sent once more, as nothing had answered.
	Again    uint64 `json:"again"`
	Finished uint64 `json:"finished"`
}

// MarshalJSON implements json.Marshaler.
func (f FamilyStatus) MarshalJSON() ([]byte, error) {
	if f.State == Absent {
		return json.Marshal(struct {
			State State `json:"state"`
		}{Absent})
	}
	type plain FamilyStatus // without this method
	return json.Marshal(plain(f))
}

// Target is one target of an uplink's family.
type Target struct {
	// Target as the configuration writes it.
	Target string `json:"target"`
	// Answering is nil until the first probe was answered or lost.
	Answering *bool    `json:"answering"`
	Loss      *float64 `json:"loss"`
	RTTMS     *float64 `json:"rtt_ms"`
	// SetAside: it fails on every uplink while others answer, so it is
	// ignored meanwhile.
	SetAside bool `json:"set_aside"`
	// Fault is what came of its latest probe in place of an answer; nil for nothing.
	Fault *string `json:"fault"`
}

// Policy names the uplinks that carry a policy's new flows now.
type Policy struct {
	Name string      `json:"name"`
	IPv4 List[Share] `json:"ipv4"`
	IPv6 List[Share] `json:"ipv6"`
	// Overflowing: the uplinks above are full, and new flows go to those of OverflowTo,
	// which else is empty. Some may be in both, where all are full.
	Overflowing ByFamily    `json:"overflowing"`
	OverflowTo  Overflowing `json:"overflow_to"`
	// Blocked: the policy blocks (last_resort: block), and all of its uplinks are down, so
	// that new flows are refused. What carried last is above.
	Blocked ByFamily `json:"blocked"`
	// ForeignDefault names the default routes of other programs that stay in force for
	// the policy: its new flows leave by them, and not by its uplinks.
	ForeignDefault ForeignDefaults `json:"foreign_default"`
	// SwitchedTo is the uplink that the operator has switched the policy to, which is first
	// while it answers, and OverrideUntil when that ends by itself.
	SwitchedTo    *string `json:"switched_to"`
	OverrideUntil Time    `json:"override_until"`
}

// ByFamily is something that is so or not in each family.
type ByFamily struct {
	IPv4 bool `json:"ipv4"`
	IPv6 bool `json:"ipv6"`
}

// Overflowing are the uplinks that take what overflows, by family.
type Overflowing struct {
	IPv4 List[Share] `json:"ipv4"`
	IPv6 List[Share] `json:"ipv6"`
}

// ForeignDefaults are the defaults of others by family; nil where there is none.
type ForeignDefaults struct {
	IPv4 *ForeignDefault `json:"ipv4"`
	IPv6 *ForeignDefault `json:"ipv6"`
}

// ForeignDefault is a route of another program in the main table.
type ForeignDefault struct {
	// Interface it leads by; empty where it leads nowhere.
	Interface string `json:"interface"`
	// Destination is "default", or the first of two halves of it, such as "0.0.0.0/1".
	Destination string `json:"destination"`
	Metric      uint32 `json:"metric"`
}

// Share is an uplink's part in carrying a policy.
type Share struct {
	Uplink string `json:"uplink"`
	// Weight is relative to the other shares, 1 to 255.
	Weight int `json:"weight"`
}

// Switch is a change of the uplinks that carry a policy's new flows.
type Switch struct {
	Time Time `json:"time"`
	SwitchDetail
}

// Family returns the uplink's health in family f.
func (u Uplink) Family(f failover.Family) FamilyStatus {
	return [...]FamilyStatus{failover.IPv4: u.IPv4, failover.IPv6: u.IPv6}[f]
}

// Family returns the shares that carry the policy in family f.
func (p Policy) Family(f failover.Family) List[Share] {
	return [...]List[Share]{failover.IPv4: p.IPv4, failover.IPv6: p.IPv6}[f]
}

// OverflowIn returns the shares that take what overflows of the policy in family f; none
// while it does not overflow.
func (p Policy) OverflowIn(f failover.Family) List[Share] {
	return [...]List[Share]{failover.IPv4: p.OverflowTo.IPv4, failover.IPv6: p.OverflowTo.IPv6}[f]
}

// BlockedIn reports whether new flows of the policy are refused in family f.
func (p Policy) BlockedIn(f failover.Family) bool {
	return [...]bool{failover.IPv4: p.Blocked.IPv4, failover.IPv6: p.Blocked.IPv6}[f]
}

// ParseStatus reads a status as the server writes it.
func ParseStatus(body []byte) (*Status, error) {
	s := new(Status)
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("control: read a status: %w", err)
	}
	return s, nil
}
