package control

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"swerve/failover"
)

// noon is when the tests' statuses are taken.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

func before(d time.Duration) Time { return At(noon.Add(-d)) }

// fullStatus has every field set at least once, and every nullable one null once.
func fullStatus() *Status {
	s := &Status{
		Now: At(noon), Software: "1.0.0",
		Daemon: Daemon{PID: 812, Since: before(26 * time.Hour), Config: "/etc/swerve/swerve.yaml", Generation: 7},
		Problems: []Problem{{Code: "uplink-down", Severity: Warning, Object: "lte", Since: before(192 * time.Second),
			Text: "lte is down in ipv4: 0 of 3 targets answer", Remedy: "check the modem"}},
		Uplinks: []Uplink{fullUplink(), missingUplink()},
		Policies: []Policy{{Name: "default", IPv4: []Share{{Uplink: "fiber", Weight: 1}},
			ForeignDefault: ForeignDefaults{IPv6: &ForeignDefault{Interface: "tun0", Destination: "default", Metric: 50}}},
			{Name: "guests", IPv4: []Share{{"fiber", 3}, {"lte", 1}}, IPv6: []Share{{"fiber", 1}}}},
		SwitchesTotal: 1,
		LastSwitch: &Switch{Time: before(192 * time.Second), SwitchDetail: SwitchDetail{Policy: "default",
			Family: "ipv4", Kind: "failover", From: []string{"lte"}, To: []string{"fiber"},
			Reason: "0 of 3 targets answer", EvidenceMS: new(120.2), SwitchMS: new(0.9)}},
	}
	for i := range s.Policies {
		s.Policies[i].OverflowTo = Overflowing{IPv4: []Share{}, IPv6: []Share{}}
	}
	s.Policies[0].Overflowing.IPv4, s.Policies[0].OverflowTo.IPv4 = true, []Share{{Uplink: "lte", Weight: 1}}
	s.Version, s.Overall = Version, Overall(*s)
	return s
}

func fullUplink() Uplink {
	gateway := netip.MustParseAddr("203.0.113.1")
	return Uplink{
		Name: "fiber", Interface: "eth0", Enabled: true, Carrier: new(true), Admin: Switched,
		OverrideUntil: before(-time.Hour), HeldUntil: before(-time.Minute), LastProven: At(noon),
		IPv4: FamilyStatus{State: Up, Reason: "3 of 3 targets answer", Since: before(time.Hour), Gateway: &gateway,
			Loss: new(0.0), RTTMS: new(12.1), JitterMS: new(0.4), PatienceMS: 500,
			Targets: []Target{
				{Target: "1.1.1.1", Answering: new(true), Loss: new(0.0), RTTMS: new(12.1)},
				{Target: "tcp://192.0.2.1:443", Answering: new(false), Loss: new(1.0), SetAside: true, Fault: new("no route to host")},
				{Target: "9.9.9.9"},
			}},
		IPv6:   FamilyStatus{State: Absent, Reason: "left out", PatienceMS: 500},
		Rate:   &Rate{DownBPS: new(uint64(100_000_000))},
		Native: []netip.Prefix{netip.MustParsePrefix("192.168.5.0/24"), netip.MustParsePrefix("2001:db8:5::/64")},
		Counters: Counters{RxBytes: new(uint64(1 << 40)), TxBytes: new(uint64(2)), RxBPS: new(uint64(3)),
			TxBPS: new(uint64(0)), NewFlows: new(uint64(5)), ProbeBytes: new(uint64(6)),
			Sessions: Sessions{Moved: new(uint64(7)), Reset: new(uint64(8)), Poked: new(uint64(9)), Destroyed: new(uint64(0))}, BeganElsewhere: new(uint64(10))},
	}
}

func missingUplink() Uplink {
	return Uplink{
		Name: "lte", Interface: "wwan0", Enabled: true, Metered: true, Admin: Auto,
		IPv4: FamilyStatus{State: Down, Reason: "no interface wwan0", Since: before(192 * time.Second), PatienceMS: 500},
		IPv6: FamilyStatus{State: Unknown, Since: before(time.Hour), PatienceMS: 500}, Native: []netip.Prefix{},
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestStatusContract(t *testing.T) {
	golden(t, "status.json", indented(t, fullStatus()))
	golden(t, "status-empty.json", indented(t, &Status{Now: At(noon), Overall: OK, Version: Version}))
}

// What the server writes, a client reads back, but for what is not on the wire.
func TestStatusRoundTrip(t *testing.T) {
	want := fullStatus()
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseStatus(body)
	if err != nil {
		t.Fatal(err)
	}
	want.Uplinks[0].IPv6 = FamilyStatus{State: Absent}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, body) {
		t.Errorf("read and written again:\n%s\nwant\n%s", again, body)
	}
	if !reflect.DeepEqual(got.Uplinks[0].IPv6, want.Uplinks[0].IPv6) {
		t.Errorf("absent family: %+v", got.Uplinks[0].IPv6)
	}
	if got.Uplinks[1].IPv4.Loss != nil || got.Uplinks[1].Carrier != nil || got.Uplinks[1].RxBytes != nil {
		t.Errorf("null was read as a figure: %+v", got.Uplinks[1])
	}
	if !got.Uplinks[1].OverrideUntil.IsZero() || !got.Now.Equal(noon) {
		t.Errorf("times: %v, %v", got.Uplinks[1].OverrideUntil, got.Now)
	}
}

func TestParseStatusTakesMoreThanItKnows(t *testing.T) {
	s, err := ParseStatus([]byte(`{"version":1,"overall":"ok","news":{"a":[1]},"uplinks":[{"name":"x","ipv4":{"state":"asleep","mood":1}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Overall != OK || s.Uplinks[0].IPv4.State != "asleep" {
		t.Errorf("%+v", s)
	}
	if _, err := ParseStatus([]byte("{")); err == nil {
		t.Error("half a status is read without an error")
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		what string
		t    Time
		want string
	}{
		{"zero", Time{}, "null"},
		{"zero by At", At(time.Time{}), "null"},
		{"to the millisecond", At(noon.Add(999 * time.Microsecond)), `"2026-03-01T12:00:00.250Z"`},
		{"whole second", At(noon.Truncate(time.Second)), `"2026-03-01T12:00:00.000Z"`},
		{"other zone", At(noon.In(time.FixedZone("", 5400))), `"2026-03-01T12:00:00.250Z"`},
		{"not by At", Time{noon.In(time.FixedZone("", 5400))}, `"2026-03-01T12:00:00.250Z"`},
		{"a clock gone mad", At(time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)), "null"},
	} {
		got, err := json.Marshal(c.t)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.what, got, err, c.want)
		}
		var back Time
		if err := json.Unmarshal(got, &back); err != nil {
			t.Errorf("%s: read back: %v", c.what, err)
		}
		if c.want != "null" && !back.Equal(c.t.Truncate(time.Millisecond)) {
			t.Errorf("%s: read back as %v", c.what, back)
		}
	}
	if err := json.Unmarshal([]byte(`"yesterday"`), new(Time)); err == nil {
		t.Error("yesterday is a time")
	}
}

// The wire's states are the engine's, and agree with it on what answers.
func TestStatesAreTheEngines(t *testing.T) {
	states := []State{Unknown, Absent, Up, Degraded, Suspect, Shunned, Down, Recovering}
	if last := failover.State(len(states) - 1).String(); last != "recovering" {
		t.Fatalf("the engine's last state is %s", last)
	}
	for i, s := range states {
		engine := failover.State(i)
		if string(s) != engine.String() || s.Answering() != engine.Answering() {
			t.Errorf("%s answers %t, the engine's %s %t", s, s.Answering(), engine, engine.Answering())
		}
	}
}
