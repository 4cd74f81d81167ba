package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// EventType says what kind of thing happened.
type EventType string

// The types of events.
const (
	// EventHealth: an uplink's state changed in one family.
	EventHealth EventType = "health"
	// EventSwitch: the uplinks that carry a policy's new flows changed.
	EventSwitch EventType = "switch"
	// EventSessions: sessions were moved, reset or closed.
	EventSessions EventType = "sessions"
	// EventOverflow: new flows go to other uplinks since those that carry their policy
	// are full, or they do so no more. It is no switch.
	EventOverflow EventType = "overflow"
	// EventRepair: something of Swerve's that another program removed from the
	// kernel was restored.
	EventRepair EventType = "repair"
	// EventOperator: a person or a program asked for something.
	EventOperator EventType = "operator"
	// EventConfig: a configuration was applied or refused.
	EventConfig EventType = "config"
	// EventDaemon: the daemon itself started, stopped or met a problem.
	EventDaemon EventType = "daemon"
)

// Event is one thing that happened, with its evidence: one line of NDJSON, in which
// the fields of Detail follow time, type and number.
type Event struct {
	Time Time
	// Seq numbers the events of one daemon's life from 1, so that a reader knows
	// where it was and what it missed. The hub assigns it; 0, and not on the wire,
	// where an event is meant for one reader only.
	Seq uint64
	// Detail says what happened, and by its type of what kind that is.
	Detail Detail
}

// Type is the type of the event's detail; empty without one.
func (e Event) Type() EventType {
	if e.Detail == nil {
		return ""
	}
	return e.Detail.eventType()
}

// Detail is what an event says about what happened. It is one of a closed set, one
// for each type of event: [HealthDetail], [SwitchDetail], [SessionsDetail],
// [OverflowDetail], [RepairDetail], [OperatorDetail], [ConfigDetail], [DaemonDetail], and for a client
// that is older than the daemon [OtherDetail]. They are used as values, not as
// pointers.
type Detail interface {
	eventType() EventType
	// bounded returns a copy with its texts and lists cut to what an event may hold.
	bounded() Detail
}

// HealthDetail is the detail of an event of type health.
type HealthDetail struct {
	Uplink string `json:"uplink"`
	Family string `json:"family"`
	From   State  `json:"from"`
	To     State  `json:"to"`
	Reason string `json:"reason"`
	// EvidenceMS runs from the sending of the first unanswered probe, or from the
	// kernel's event, to the verdict; nil where that has no meaning.
	EvidenceMS *float64 `json:"evidence_ms"`
}

// SwitchDetail is the detail of an event of type switch, and of a status's last
// switch.
type SwitchDetail struct {
	Policy string `json:"policy"`
	Family string `json:"family"`
	// Kind is "failover" (forced), "failback" (a return) or "switchover" (planned).
	Kind   string       `json:"kind"`
	From   List[string] `json:"from"`
	To     List[string] `json:"to"`
	Reason string       `json:"reason"`
	// EvidenceMS is as in HealthDetail, of the change that caused the switch.
	EvidenceMS *float64 `json:"evidence_ms"`
	// SwitchMS runs from the decision until the kernel was read back or, where that
	// takes long, had accepted all changes; nil where that has not been completed.
	SwitchMS *float64 `json:"switch_ms"`
}

// SessionsDetail is the detail of an event of type sessions. Its optional fields are
// absent from the wire where they do not apply, as are those of the types below.
type SessionsDetail struct {
	// Action is "moved", "settled" (soon after: the entries of a policy that were deleted, or
	// of all policies what the kernel has counted since), "healed" or "failed"; and of
	// addresses that the uplink does not reach "rescued", and "returned" where none is any more.
	Action string `json:"action,omitempty"`
	// Uplink, Policy and Family say whose sessions; empty for all.
	Uplink string `json:"uplink,omitempty"`
	Policy string `json:"policy,omitempty"`
	Family string `json:"family,omitempty"`
	Reason string `json:"reason"`
	// Count is how many flows were healed or dropped, or how many addresses are rescued; nil
	// where they were not counted.
	Count *int64 `json:"count,omitempty"`
	// Moved, Reset and Destroyed are as in [Sessions], of this act alone. Which flows left by
	// themselves, and which were reset, only the kernel knows, and counting entries takes
	// time, so that "settled" tells it. Nil also for none.
	Moved     *int64 `json:"moved,omitempty"`
	Reset     *int64 `json:"reset,omitempty"`
	Destroyed *int64 `json:"destroyed,omitempty"`
	// Poked is how many clients of established TCP connections were made to speak, so
	// that they meet their reset; LeftOut is how many more there were.
	Poked   *int64 `json:"poked,omitempty"`
	LeftOut *int64 `json:"left_out,omitempty"`
	// SilentMS runs from the first sign of the loss until this was done, through pauses of
	// this machine, which EvidenceMS leaves out: for so long the gateway had no way for these
	// sessions. Nil where they moved without a loss.
	SilentMS *float64 `json:"silent_ms,omitempty"`
	// TookMS is how long it took, in milliseconds: with "moved" until the kernel led the
	// flows elsewhere and had a reset for the others, with "settled" until entries were
	// deleted.
	TookMS *float64 `json:"took_ms,omitempty"`
}

// OverflowDetail is the detail of an event of type overflow.
type OverflowDetail struct {
	// Action is "begin", "change" (new flows go to other uplinks than before) or "end".
	Action string `json:"action"`
	Policy string `json:"policy"`
	Family string `json:"family"`
	// From are the uplinks that carry and are full, or were; To those to which new flows
	// go instead, none at the end.
	From   List[string] `json:"from"`
	To     List[string] `json:"to"`
	Reason string       `json:"reason"`
	// Limit is the share of their rates, from 0 to 1, from which on tiers are full.
	Limit float64 `json:"limit"`
	// Loads are those of the policy's tiers that are measured.
	Loads List[TierLoad] `json:"loads"`
}

// TierLoad is what the live uplinks of a tier carry.
type TierLoad struct {
	Uplinks List[string] `json:"uplinks"`
	// Share of their rates over the last second, in Direction, which is "down" or "up".
	Share     *float64 `json:"share"`
	Direction string   `json:"direction"`
	// Full: the share was over the limit for 2 s, and has not been 15 points under it for
	// 10 s since.
	Full bool `json:"full"`
}

// RepairDetail is the detail of an event of type repair.
type RepairDetail struct {
	// Action is "restored", and Object what was.
	Action string `json:"action,omitempty"`
	Object string `json:"object,omitempty"`
	Reason string `json:"reason"`
	// Count is how many pieces were missing; nil where they were not counted.
	Count *int64 `json:"count,omitempty"`
	// TookMS runs from the discovery to the repair, in milliseconds.
	TookMS *float64 `json:"took_ms,omitempty"`
}

// OperatorDetail is the detail of an event of type operator.
type OperatorDetail struct {
	// Action is what was asked for, "switched", "drained" or "resumed", and Uplink for
	// which uplink; empty for all. Policy is that of a switch; empty for all.
	Action string `json:"action,omitempty"`
	Uplink string `json:"uplink,omitempty"`
	Policy string `json:"policy,omitempty"`
	Reason string `json:"reason"`
	// Until is when it ends by itself; zero where it does not.
	Until Time `json:"until,omitzero"`
}

// ConfigDetail is the detail of an event of type config.
type ConfigDetail struct {
	// Action is "reloaded", "refused", "confirmed" or "reverted", and Object what was.
	Action string `json:"action,omitempty"`
	Object string `json:"object,omitempty"`
	Reason string `json:"reason"`
	// Generation is that of the configuration in force afterwards.
	Generation uint64 `json:"generation,omitempty"`
	// Problems are those of a refused configuration, one a line, at most
	// MaxEventProblems: the hub drops the rest and says how many.
	Problems []string `json:"problems,omitempty"`
}

// DaemonDetail is the detail of an event of type daemon.
type DaemonDetail struct {
	// Action is "started", "skipped" (events, for a slow reader) or "lost" (an event
	// that could not be written), and Object what it was done to. It is "offline" where
	// a policy, in Object, has no uplink any more that answers in Family, and "online"
	// when one does again; "placed" where its traffic goes by other uplinks without a
	// switch, as after a start with a dead one.
	Action string `json:"action,omitempty"`
	Object string `json:"object,omitempty"`
	Family string `json:"family,omitempty"`
	Reason string `json:"reason"`
	// Generation is the configuration's.
	Generation uint64 `json:"generation,omitempty"`
	// Missed is how many events before this one the reader was too slow for.
	Missed uint64 `json:"missed,omitempty"`
}

// OtherDetail is what a client keeps of an event whose type it does not know,
// because the daemon is newer: the words that events of most types have.
type OtherDetail struct {
	Type   EventType `json:"-"`
	Action string    `json:"action,omitempty"`
	Object string    `json:"object,omitempty"`
	Uplink string    `json:"uplink,omitempty"`
	Policy string    `json:"policy,omitempty"`
	Family string    `json:"family,omitempty"`
	Reason string    `json:"reason"`
}

func (HealthDetail) eventType() EventType   { return EventHealth }
func (SwitchDetail) eventType() EventType   { return EventSwitch }
func (SessionsDetail) eventType() EventType { return EventSessions }
func (OverflowDetail) eventType() EventType { return EventOverflow }
func (RepairDetail) eventType() EventType   { return EventRepair }
func (OperatorDetail) eventType() EventType { return EventOperator }
func (ConfigDetail) eventType() EventType   { return EventConfig }
func (DaemonDetail) eventType() EventType   { return EventDaemon }
func (d OtherDetail) eventType() EventType  { return d.Type }

func (d HealthDetail) bounded() Detail {
	d.Reason = cut(d.Reason)
	return d
}

func (d SwitchDetail) bounded() Detail {
	d.Reason, d.From, d.To = cut(d.Reason), slices.Clone(d.From), slices.Clone(d.To)
	return d
}

func (d OverflowDetail) bounded() Detail {
	d.Reason, d.From, d.To, d.Loads = cut(d.Reason), slices.Clone(d.From), slices.Clone(d.To), slices.Clone(d.Loads)
	return d
}

func (d SessionsDetail) bounded() Detail {
	d.Reason = cut(d.Reason)
	return d
}

func (d RepairDetail) bounded() Detail {
	d.Object, d.Reason = cut(d.Object), cut(d.Reason)
	return d
}

func (d OperatorDetail) bounded() Detail {
	d.Reason = cut(d.Reason)
	return d
}

func (d ConfigDetail) bounded() Detail {
	d.Object, d.Reason, d.Problems = cut(d.Object), cut(d.Reason), boundedProblems(d.Problems)
	return d
}

func (d DaemonDetail) bounded() Detail {
	d.Object, d.Reason = cut(d.Object), cut(d.Reason)
	return d
}

func (d OtherDetail) bounded() Detail {
	d.Object, d.Reason = cut(d.Object), cut(d.Reason)
	return d
}

func boundedProblems(problems []string) []string {
	var out []string
	for i, p := range problems {
		if i == MaxEventProblems {
			return append(out, fmt.Sprintf("and %d more", len(problems)-i))
		}
		out = append(out, cut(p))
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	return s[:maxEventText] + "..." // a rune cut in two becomes U+FFFD in JSON
}

// decoders read the detail of each type that this version knows.
var decoders = map[EventType]func([]byte) (Detail, error){
	EventHealth:   decodeDetail[HealthDetail],
	EventSwitch:   decodeDetail[SwitchDetail],
	EventSessions: decodeDetail[SessionsDetail],
	EventOverflow: decodeDetail[OverflowDetail],
	EventRepair:   decodeDetail[RepairDetail],
	EventOperator: decodeDetail[OperatorDetail],
	EventConfig:   decodeDetail[ConfigDetail],
	EventDaemon:   decodeDetail[DaemonDetail],
}

func decodeDetail[D Detail](b []byte) (Detail, error) {
	var d D
	err := json.Unmarshal(b, &d)
	return d, err
}

// eventHead is what every event begins with.
type eventHead struct {
	Time Time      `json:"time"`
	Type EventType `json:"type"`
	Seq  uint64    `json:"seq,omitempty"`
}

// MarshalJSON implements json.Marshaler. It fails on an event without a detail, and
// on an OtherDetail that has no type, or one that has a detail of its own.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Detail == nil {
		return nil, errors.New("control: event without a detail")
	}
	if o, other := e.Detail.(OtherDetail); other && (o.Type == "" || decoders[o.Type] != nil) {
		return nil, fmt.Errorf("control: event of type %q without the detail of that type", o.Type)
	}
	head, err := json.Marshal(eventHead{e.Time, e.Type(), e.Seq})
	if err != nil {
		return nil, err
	}
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return nil, err
	}
	// Two objects become one. Neither is ever empty.
	head[len(head)-1] = ','
	return append(head, detail[1:]...), nil
}

// UnmarshalJSON implements json.Unmarshaler. An event of a type that it does not know
// gets an OtherDetail.
func (e *Event) UnmarshalJSON(b []byte) error {
	var head eventHead
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	*e = Event{Time: head.Time, Seq: head.Seq}
	if decode, known := decoders[head.Type]; known {
		var err error
		e.Detail, err = decode(b)
		return err
	}
	other := OtherDetail{Type: head.Type}
	err := json.Unmarshal(b, &other)
	e.Detail = other
	return err
}
