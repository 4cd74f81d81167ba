package control

import (
	"encoding/json"
	"fmt"
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
	// EventRepair: something of ours that others took from the kernel is back.
	EventRepair EventType = "repair"
	// EventOperator: a person or a program asked for something.
	EventOperator EventType = "operator"
	// EventConfig: a configuration was taken over, or refused.
	EventConfig EventType = "config"
	// EventDaemon: the daemon itself started, stopped or met a problem.
	EventDaemon EventType = "daemon"
)

// Event is one thing that happened, with its evidence: one line of NDJSON. Exactly
// one of Health, Switch and Detail is set, by Type; its fields stand beside time
// and type on the wire.
type Event struct {
	Time Time
	Type EventType
	// Seq counts the events of one daemon's life from 1, so that a reader knows
	// where it was and what it missed. The hub gives it; 0, and not on the wire,
	// where an event is only for one reader.
	Seq uint64

	Health *HealthDetail
	Switch *SwitchDetail
	Detail *Detail
}

// HealthDetail is what an event of type health tells.
type HealthDetail struct {
	Uplink string `json:"uplink"`
	Family string `json:"family"`
	From   State  `json:"from"`
	To     State  `json:"to"`
	Reason string `json:"reason"`
	// EvidenceMS runs from the first unanswered sending, or the kernel's event,
	// to the verdict; nil where that has no meaning.
	EvidenceMS *float64 `json:"evidence_ms"`
}

// SwitchDetail is what an event of type switch, and a status's last switch, tells.
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
	// SwitchMS runs from the decision until the kernel was read back; nil where
	// that has not come to its end.
	SwitchMS *float64 `json:"switch_ms"`
}

// Detail is what events of all other types tell. Fields without a meaning for an
// event are left out of it.
type Detail struct {
	// Action is what was done, in one word of the past: "moved", "restored",
	// "reloaded", "refused", "started".
	Action string `json:"action,omitempty"`
	// Object is what it was done to, where no other field says it.
	Object string `json:"object,omitempty"`
	Uplink string `json:"uplink,omitempty"`
	Policy string `json:"policy,omitempty"`
	Family string `json:"family,omitempty"`
	Reason string `json:"reason"`
	// Count is of what Action was done to, such as conntrack entries; nil where
	// it was not counted.
	Count *int64 `json:"count,omitempty"`
	// TookMS is how long it took.
	TookMS *float64 `json:"took_ms,omitempty"`
	// Until is when it ends by itself.
	Until Time `json:"until,omitzero"`
	// Generation is the configuration's.
	Generation uint64 `json:"generation,omitempty"`
	// Missed is how many events before this one the reader was too slow for.
	Missed uint64 `json:"missed,omitempty"`
	// Problems are a refused configuration's, one a line, at most
	// MaxEventProblems: the hub cuts the rest off and says how many.
	Problems []string `json:"problems,omitempty"`
}

// eventHead is what every event begins with.
type eventHead struct {
	Time Time      `json:"time"`
	Type EventType `json:"type"`
	Seq  uint64    `json:"seq,omitempty"`
}

// MarshalJSON implements json.Marshaler. It fails on an event that has not just
// the detail that its type asks for.
func (e Event) MarshalJSON() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	head := eventHead{e.Time, e.Type, e.Seq}
	switch {
	case e.Health != nil:
		return json.Marshal(struct {
			eventHead
			*HealthDetail
		}{head, e.Health})
	case e.Switch != nil:
		return json.Marshal(struct {
			eventHead
			*SwitchDetail
		}{head, e.Switch})
	}
	return json.Marshal(struct {
		eventHead
		*Detail
	}{head, e.Detail})
}

func (e Event) check() error {
	health, change := e.Type == EventHealth, e.Type == EventSwitch
	if e.Type == "" || (e.Health != nil) != health || (e.Switch != nil) != change ||
		(e.Detail != nil) != (!health && !change) {
		return fmt.Errorf("control: event of type %q has another type's detail, or none", e.Type)
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler. Types that it does not know get what
// they have of a Detail.
func (e *Event) UnmarshalJSON(b []byte) error {
	var head eventHead
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	*e = Event{Time: head.Time, Type: head.Type, Seq: head.Seq}
	switch head.Type {
	case EventHealth:
		e.Health = new(HealthDetail)
		return json.Unmarshal(b, e.Health)
	case EventSwitch:
		e.Switch = new(SwitchDetail)
		return json.Unmarshal(b, e.Switch)
	}
	e.Detail = new(Detail)
	return json.Unmarshal(b, e.Detail)
}
