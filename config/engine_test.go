package config

import (
	"reflect"
	"testing"
	"time"

	"swerve/failover"
	"swerve/lane"
)

func TestEngine(t *testing.T) {
	c := good(t, `uplinks:
  - {name: fiber, interface: eth0, probe: {quorum: 2, interval: 2s}}
  - {name: lte, interface: wwan0, gateway: none, ipv6: false}
  - {name: spare, interface: eth9, enabled: false, probe: {targets: []}, health: {patience: 1s}}
probe:
  targets: [1.1.1.1, 8.8.8.8, "2620:fe::fe", tcp://192.0.2.9:443, gateway]
policies:
  - {name: guests, tiers: [{lte: 2, fiber: 1}], last_resort: block}
failback: {mode: manual, after: 5s}
sessions: {on_down: keep}
`)
	e := c.Engine(c.Uplinks, func(u string, f failover.Family) bool { return u == "fiber" && f == failover.IPv6 })
	equal(t, "fiber, IPv4", e.Uplinks[0].Family[failover.IPv4], failover.FamilyConfig{
		Enabled: true, Targets: []string{"1.1.1.1", "8.8.8.8", "tcp://192.0.2.9:443", "gateway"}, Quorum: 2,
	})
	equal(t, "fiber, IPv6", e.Uplinks[0].Family[failover.IPv6], failover.FamilyConfig{
		Enabled: true, Seen: true, Targets: []string{"2620:fe::fe", "gateway"}, Quorum: 2,
	})
	equal(t, "lte, IPv4: no gateway to probe", e.Uplinks[1].Family[failover.IPv4], failover.FamilyConfig{
		Enabled: true, Targets: []string{"1.1.1.1", "8.8.8.8", "tcp://192.0.2.9:443"}, Quorum: 1,
	})
	equal(t, "lte, IPv6", e.Uplinks[1].Family[failover.IPv6], failover.FamilyConfig{})
	equal(t, "spare, IPv4", e.Uplinks[2].Family[failover.IPv4], failover.FamilyConfig{Enabled: true})
	equal(t, "probe", e.Uplinks[0].Probe, failover.ProbeConfig{
		Interval: 2 * time.Second, StandbyInterval: 30 * time.Second, LostAfter: time.Second,
		Burst: failover.Burst{Probes: 3, Spacing: 20 * time.Millisecond},
	})
	for i, want := range []failover.Uplink{
		{Name: "fiber", Enabled: true, Health: defaultHealth()},
		{Name: "lte", Enabled: true, Metered: true, Health: defaultHealth()},
		{Name: "spare", Health: defaultHealth()},
	} {
		got := e.Uplinks[i]
		got.Family, got.Probe = want.Family, want.Probe
		if want.Name == "spare" {
			want.Health.Patience, want.Health.LearnPatience = time.Second, false
		}
		equal(t, want.Name, got, want)
	}
	equal(t, "failback", e.Failback, failover.Failback{Manual: true, After: 5 * time.Second, MinInterval: 10 * time.Second})
	equal(t, "sessions", e.Sessions, failover.Sessions{OnFailback: failover.OnFailback{Move: true, After: 10 * time.Minute, MeteredOnly: true}})
	equal(t, "policies", e.Policies, []failover.Policy{
		{Name: "default", Tiers: [][]failover.Share{{{Uplink: "fiber", Weight: 1}}, {{Uplink: "lte", Weight: 1}}, {{Uplink: "spare", Weight: 1}}}},
		{Name: "guests", Block: true, Tiers: [][]failover.Share{{{Uplink: "lte", Weight: 2}, {Uplink: "fiber", Weight: 1}}}},
	})
}

// What each word of sessions.on_failback is to the engine.
func TestEngineOnFailback(t *testing.T) {
	for word, want := range map[string]failover.OnFailback{
		"auto":     {Move: true, After: 10 * time.Minute, MeteredOnly: true},
		"keep":     {},
		"drain 1h": {Move: true, After: time.Hour},
		"move":     {Move: true},
	} {
		c := good(t, "uplinks:\n  - {name: fiber, interface: eth0}\n  - {name: lte, interface: eth1}\nsessions: {on_failback: "+word+"}\n")
		equal(t, word, c.Engine(c.Uplinks, nil).Sessions.OnFailback, want)
	}
}

func TestEngineOfAuto(t *testing.T) {
	c := Default()
	uplinks := c.Auto([]DefaultRoute{{Interface: "wwan0", Metric: 700}, {Interface: "eth0", Metric: 100}})
	e := c.Engine(uplinks, nil)
	equal(t, "policies", e.Policies, []failover.Policy{
		{Name: "default", Tiers: [][]failover.Share{{{Uplink: "eth0", Weight: 1}}, {{Uplink: "wwan0", Weight: 1}}}},
	})
	if !e.Uplinks[1].Metered || e.Uplinks[0].Metered || !e.Uplinks[0].Enabled {
		t.Errorf("uplinks: %+v", e.Uplinks)
	}
	if len(c.Engine(nil, nil).Policies[0].Tiers) != 0 {
		t.Error("tiers without uplinks")
	}
}

// TestLayout: in every layout that checkMasks allows all lanes are distinct; the
// default is that of package lane.
func TestLayout(t *testing.T) {
	equal(t, "default", Default().Layout(), lane.DefaultLayout)
	for _, kernel := range []string{
		"{mark_mask: 0x7f00, ct_mask: 0x7fff}", "{mark_mask: 0xfe000000, ct_mask: 0xfffe0000}",
		"{mark_mask: 0x007f0000, ct_mask: 0x007fff00, first_priority: 1, first_table: 126}", "{first_table: 255}",
	} {
		l := good(t, minimal+"kernel: "+kernel+"\n").Layout()
		for n := lane.FirstUplink; n <= lane.Nobody; n++ {
			u, p := l.CTLanes(l.CTPair(n, lane.Nobody-n) | l.CTEstablished())
			if u != n || p != lane.Nobody-n {
				t.Errorf("%s: lane %d read back as %d, %d", kernel, n, u, p)
			}
			if table := l.Table(n); n <= lane.LastPolicy && table >= 253 && table <= 255 {
				t.Errorf("%s: lane %d has the kernel's table %d", kernel, n, table)
			}
		}
	}
}

func TestAuto(t *testing.T) {
	c := good(t, "uplinks: auto\nprobe: {interval: 3s}\n")
	for _, test := range []struct {
		what   string
		routes []DefaultRoute
		want   []string
	}{
		{"none", nil, nil},
		{"by metric", []DefaultRoute{{Interface: "b", Metric: 200}, {Interface: "a", Metric: 300}, {Interface: "c", Metric: 0}}, []string{"c c", "b b", "a a"}},
		{"both families", []DefaultRoute{{Interface: "eth0", Metric: 1024}, {Interface: "wan", Metric: 200}, {Interface: "eth0", Metric: 100}}, []string{"eth0 eth0", "wan wan"}},
		{"equal metrics", []DefaultRoute{{Interface: "b", Metric: 0}, {Interface: "a", Metric: 0}}, []string{"a a", "b b"}},
		{
			"foreign characters", []DefaultRoute{{Interface: "eth0.100", Metric: 1}, {Interface: "WAN_1", Metric: 2}, {Interface: "4g", Metric: 3}, {Interface: "ünet", Metric: 4}},
			[]string{"eth0-100 eth0.100", "wan-1 WAN_1", "if4g 4g"},
		},
		{
			"the same name twice", []DefaultRoute{{Interface: "eth0.1", Metric: 1}, {Interface: "eth0_1", Metric: 2}, {Interface: "eth0-1", Metric: 3}},
			[]string{"eth0-1-2 eth0.1", "eth0-1-3 eth0_1", "eth0-1 eth0-1"},
		},
		{"no uplink", []DefaultRoute{{Interface: "lo", Metric: 0}, {Interface: "", Metric: 1}}, nil},
	} {
		var got []string
		for _, u := range c.Auto(test.routes) {
			got = append(got, u.Name+" "+u.Interface)
			if u.Probe.Interval != 3*time.Second || !namePattern.MatchString(u.Name) {
				t.Errorf("%s: %+v", test.what, u)
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}
}

func TestAutoIsBounded(t *testing.T) {
	var routes []DefaultRoute
	for i := range 300 {
		routes = append(routes, DefaultRoute{Interface: "x" + string(rune('A'+i%26)) + "_" + FormatDuration(time.Duration(i)), Metric: i})
	}
	list, names := Default().Auto(routes), map[string]bool{}
	for _, u := range list {
		names[u.Name] = true
	}
	if len(list) != maxUplinks || len(names) != maxUplinks {
		t.Errorf("%d uplinks, %d names", len(list), len(names))
	}
}
