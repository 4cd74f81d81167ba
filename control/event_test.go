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
		{Time: at(0), Type: EventDaemon, Detail: &Detail{Action: "started", Reason: "adopted what the kernel holds"}},
		{Time: at(1), Type: EventHealth, Health: &HealthDetail{Uplink: "fiber", Family: "ipv4", From: Suspect,
			To: Shunned, Reason: "0 of 9 probes of the burst answer", EvidenceMS: new(118.25)}},
		{Time: at(2), Type: EventSwitch, Switch: &SwitchDetail{Policy: "default", Family: "ipv4", Kind: "failover",
			From: []string{"fiber"}, To: []string{"lte"}, Reason: "fiber is shunned", EvidenceMS: new(118.25), SwitchMS: new(0.9)}},
		{Time: at(3), Type: EventSessions, Detail: &Detail{Action: "moved", Uplink: "fiber", Policy: "default",
			Family: "ipv4", Reason: "fiber is down", Count: new(int64(0)), TookMS: new(3.5)}},
		{Time: at(4), Type: EventRepair, Detail: &Detail{Action: "restored", Object: "rule 5301", Reason: "deleted by another program"}},
		{Time: at(5), Type: EventOperator, Detail: &Detail{Action: "drained", Uplink: "lte", Reason: "by uid 0", Until: at(3600_000)}},
		{Time: at(6), Type: EventConfig, Detail: &Detail{Action: "refused", Object: "swerve.yaml", Reason: "1 problem", Generation: 7,
			Problems: []string{"swerve.yaml:3: uplinks[0].name: missing; a name"}}},
		{Time: at(7), Type: EventHealth, Health: &HealthDetail{Uplink: "lte", Family: "ipv6", From: Unknown, To: Up}},
		{Time: at(8), Type: EventSwitch, Switch: &SwitchDetail{Policy: "default", Family: "ipv6", Kind: "switchover"}},
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
		if e.Switch != nil && e.Switch.From == nil {
			e.Switch.From, e.Switch.To = List[string]{}, List[string]{}
		}
		if !reflect.DeepEqual(back, e) {
			t.Errorf("read back %s as %+v", line, back)
		}
	}
	golden(t, "events.ndjson", []byte(b.String()))
}

func TestEventOfUnknownTypeIsRead(t *testing.T) {
	var e Event
	if err := json.Unmarshal([]byte(`{"time":null,"type":"weather","reason":"rain","wind":3}`), &e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "weather" || e.Detail == nil || e.Detail.Reason != "rain" {
		t.Errorf("%+v", e)
	}
}

func TestEventWithTheWrongDetail(t *testing.T) {
	for _, e := range []Event{
		{},
		{Type: EventHealth},
		{Type: EventHealth, Switch: &SwitchDetail{}},
		{Type: EventSwitch, Switch: &SwitchDetail{}, Detail: &Detail{}},
		{Type: EventDaemon, Health: &HealthDetail{}},
		{Type: EventDaemon},
	} {
		if b, err := json.Marshal(e); err == nil {
			t.Errorf("%+v is written as %s", e, b)
		}
		h := NewHub()
		h.Publish(e)
		lines, _ := h.cursor(time.Time{}).read(nil)
		if len(lines) != 1 || !strings.Contains(string(lines[0]), `"type":"daemon"`) ||
			!strings.Contains(string(lines[0]), `"action":"lost"`) {
			t.Errorf("%+v is published as %s", e, lines)
		}
	}
	h := NewHub()
	h.Publish(Event{Type: EventHealth, Health: &HealthDetail{EvidenceMS: new(math.NaN())}})
	if lines, _ := h.cursor(time.Time{}).read(nil); !json.Valid(lines[0]) {
		t.Errorf("a figure that JSON lacks: %s", lines[0])
	}
}
