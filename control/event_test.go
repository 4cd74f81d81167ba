package control

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// someEvents has one event of each type, all optional fields set in one of them.
func someEvents() []Event {
	at := func(ms int) Time { return At(noon.Add(time.Duration(ms) * time.Millisecond)) }
	return []Event{
		{Time: at(0), Detail: DaemonDetail{Action: "started", Reason: "adopted what the kernel holds"}},
		{Time: at(1), Detail: HealthDetail{Uplink: "fiber", Family: "ipv4", From: Suspect,
			To: Shunned, Reason: "0 of 9 probes of the burst answer", EvidenceMS: new(118.25)}},
		{Time: at(2), Detail: SwitchDetail{Policy: "default", Family: "ipv4", Kind: "failover",
			From: []string{"fiber"}, To: []string{"lte"}, Reason: "fiber is shunned", EvidenceMS: new(118.25), SwitchMS: new(0.9)}},
		{Time: at(3), Detail: SessionsDetail{Action: "moved", Uplink: "fiber", Policy: "default",
			Family: "ipv4", Reason: "fiber is down", Moved: new(int64(37)), Destroyed: new(int64(2)), SilentMS: new(521.5), TookMS: new(3.5)}},
		{Time: at(4), Detail: RepairDetail{Action: "restored", Object: "rule 5301", Reason: "deleted by another program"}},
		{Time: at(5), Detail: OperatorDetail{Action: "drained", Uplink: "lte", Reason: "by uid 0", Until: at(3600_000)}},
		{Time: at(6), Detail: ConfigDetail{Action: "refused", Object: "swerve.yaml", Reason: "1 problem", Generation: 7,
			Problems: []string{"swerve.yaml:3: uplinks[0].name: missing; a name"}}},
		{Time: at(7), Detail: HealthDetail{Uplink: "lte", Family: "ipv6", From: Unknown, To: Up}},
		{Time: at(9), Detail: OverflowDetail{Action: "begin", Policy: "default", Family: "ipv4", From: []string{"fiber"}, To: []string{"lte"},
			Reason: "fiber carries 92% of its rate down, limit 85%", Limit: 0.85,
			Loads: []TierLoad{{Uplinks: []string{"fiber"}, Share: new(0.923), Direction: "down", Full: true}}}},
		{Time: at(8), Detail: SwitchDetail{Policy: "default", Family: "ipv6", Kind: "switchover"}},
	}
}

func TestEventContract(t *testing.T) {
	var b strings.Builder
	for i, e := range someEvents() {
		e.Seq = uint64(i + 1)
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
		var back Event
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if d, ok := e.Detail.(SwitchDetail); ok && d.From == nil {
			d.From, d.To = List[string]{}, List[string]{}
			e.Detail = d
		}
		if !reflect.DeepEqual(back, e) {
			t.Errorf("read back %s as %+v", line, back)
		}
	}
	golden(t, "events.ndjson", []byte(b.String()))
}

// What a newer daemon says is shown as far as it has the usual words.
func TestEventOfUnknownTypeIsRead(t *testing.T) {
	var e Event
	line := `{"time":null,"type":"weather","uplink":"lte","reason":"rain","wind":3}`
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	if want := (OtherDetail{Type: "weather", Uplink: "lte", Reason: "rain"}); e.Type() != "weather" || e.Detail != want {
		t.Errorf("%+v", e)
	}
	back, err := json.Marshal(e)
	if want := `{"time":null,"type":"weather","uplink":"lte","reason":"rain"}`; err != nil || string(back) != want {
		t.Errorf("written as %s, %v, want %s", back, err, want)
	}
}

// The event of each type has a detail of its own, and reads it back.
func TestEveryTypeHasItsDetail(t *testing.T) {
	for _, kind := range []EventType{EventHealth, EventSwitch, EventOverflow, EventSessions, EventRepair, EventOperator, EventConfig, EventDaemon} {
		decode := decoders[kind]
		if decode == nil {
			t.Errorf("nothing reads events of type %s", kind)
			continue
		}
		if d, err := decode([]byte("{}")); err != nil || d.eventType() != kind {
			t.Errorf("an event of type %s is read as %T, %v", kind, d, err)
		}
	}
	if len(decoders) != 8 {
		t.Errorf("%d types are read", len(decoders))
	}
}

func TestEventWithTheWrongDetail(t *testing.T) {
	for _, e := range []Event{
		{},
		{Detail: OtherDetail{}},
		{Detail: OtherDetail{Type: EventHealth}},
		{Detail: OtherDetail{Type: EventDaemon}},
	} {
		if b, err := json.Marshal(e); err == nil {
			t.Errorf("%+v is written as %s", e, b)
		}
		h := NewHub()
		h.Publish(e)
		lines := newest(h)
		if len(lines) != 1 || !strings.Contains(string(lines[0].JSON), `"type":"daemon"`) ||
			!strings.Contains(string(lines[0].JSON), `"action":"lost"`) || lines[0].Event.Type() != EventDaemon {
			t.Errorf("%+v is published as %+v", e, lines)
		}
	}
	h := NewHub()
	h.Publish(Event{Detail: HealthDetail{EvidenceMS: new(math.NaN())}})
	if lines := newest(h); !json.Valid(lines[0].JSON) {
		t.Errorf("a figure that JSON lacks: %s", lines[0].JSON)
	}
}
