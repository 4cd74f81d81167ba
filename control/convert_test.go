package control

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"swerve/failover"
)

// testClock counts from an epoch one day before noon.
func testClock(at failover.Instant) time.Time { return noon.Add(-24 * time.Hour).Add(at) }

func TestUplinkOf(t *testing.T) {
	v := failover.UplinkView{
		Name: "fiber", Enabled: true, Metered: true, Admin: "drained", Until: 25 * time.Hour,
		HeldUntil: 26 * time.Hour, Proven: 24 * time.Hour,
		Link: failover.Link{Interface: "eth0", Present: true, Carrier: true},
	}
	v.Link.Family[failover.IPv4].Gateway = netip.MustParseAddr("192.0.2.1")
	v.Family[failover.IPv4] = failover.FamilyView{
		State: failover.Degraded, Reason: "loss 31 %", Since: time.Hour, Loss: new(0.31256789),
		RTT: new(12345678 * time.Nanosecond), Jitter: new(time.Duration(0)), Patience: 750 * time.Millisecond,
		Targets: []failover.TargetView{{Target: "1.1.1.1", Answering: new(true), Loss: new(math.NaN()), SetAside: true}},
	}
	v.Family[failover.IPv6] = failover.FamilyView{State: failover.Absent}
	never := failover.UplinkView{Name: "lte", Proven: -1}
	golden(t, "converted.json", indented(t, []Uplink{UplinkOf(v, testClock), UplinkOf(never, testClock)}))
}

func TestPolicyOf(t *testing.T) {
	v := failover.PolicyView{Name: "guests"}
	v.Family[failover.IPv6] = []failover.Share{{Uplink: "fiber", Weight: 3}, {Uplink: "lte", Weight: 1}}
	p := PolicyOf(v, nil)
	if p.Name != "guests" || len(p.IPv4) != 0 || len(p.IPv6) != 2 || p.IPv6[0] != (Share{"fiber", 3}) {
		t.Errorf("%+v", p)
	}
}

func TestRecords(t *testing.T) {
	r := failover.Record{At: time.Hour, Switch: &failover.SwitchChange{Policy: "default", Family: failover.IPv6,
		Kind: failover.Return, From: []string{"lte"}, To: []string{"fiber"}, Reason: "good for 30s", Evidence: -1}}
	s := SwitchOf(r, new(900*time.Microsecond), testClock)
	if s.Kind != "failback" || s.Family != "ipv6" || s.EvidenceMS != nil || *s.SwitchMS != 0.9 ||
		!s.Time.Equal(testClock(time.Hour)) {
		t.Errorf("%+v", s)
	}
	if SwitchOf(r, nil, testClock).SwitchMS != nil {
		t.Error("a switch that is not done has a time")
	}
	if e := SwitchEvent(s); !e.Time.Equal(s.Time.Time) || !reflect.DeepEqual(e.Detail, s.SwitchDetail) {
		t.Errorf("%+v", e)
	}
	e := HealthEvent(failover.Record{Health: &failover.HealthChange{Uplink: "lte", From: failover.Suspect,
		To: failover.Down, Evidence: 120234567 * time.Nanosecond}}, testClock)
	if d, ok := e.Detail.(HealthDetail); !ok || d.From != Suspect || d.To != Down || *d.EvidenceMS != 120.235 {
		t.Errorf("%+v", e.Detail)
	}
}
