package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/rule"
	"swerve/target"
)

const minimal = `uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: wwan0}
`

// good parses a text that must be good.
func good(t *testing.T, text string) *Config {
	t.Helper()
	c, list := Parse("test.yaml", []byte(text))
	if c == nil || len(list) > 0 {
		t.Fatalf("problems in\n%s\n%s", text, lines(list))
	}
	c.Source = nil // is the text
	return c
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestMinimal(t *testing.T) {
	c := good(t, minimal)
	fiber, lte := newUplink(defaultProbe(), defaultHealth()), newUplink(defaultProbe(), defaultHealth())
	fiber.Name, fiber.Interface, fiber.Line = "fiber", "eth0", 2
	lte.Name, lte.Interface, lte.Line = "lte", "wwan0", 3
	want := Default()
	want.AutoUplinks = false
	want.Uplinks = []Uplink{fiber, lte}
	want.Policies[0].Tiers = [][]failover.Share{{{Uplink: "fiber", Weight: 1}}, {{Uplink: "lte", Weight: 1}}}
	equal(t, "minimal", c, want)
}

func TestAutoWord(t *testing.T) {
	equal(t, "auto", good(t, "uplinks: auto\n"), Default())
}

// every gives every key a value that is not its default, in block style, flow
// style, and as one value or a list.
const every = `%YAML 1.2
---
log: {level: debug, format: json}
metrics: {listen: "127.0.0.1:9773"}
state: /srv/swerve/
control: {socket: /tmp/s.sock, group: "100"}
kernel:
  mark_mask: 0x0000fe00
  ct_mask: 0x0000fffe
  first_priority: 100
  first_table: 0
  main_default: leave
  sysctls: off
  foreign_defaults: overrule
sessions:
  on_down: keep
  on_degraded: move
  on_failback: drain 1h30m
rules:
- {from: 192.168.20.0/24, use: guests}
- {in: lan1, to: [198.51.100.0/24, "2001:db8::1"], proto: tcp, ports: [443, 8000-8100, 8050-8200], dscp: ef, mark: 0x1/0xff, use: guests}
- in: [lan1, lan2]
  proto: 50
  dscp: 0
  mark: 5
  use: default
policies:
  - name: guests
    tiers: lte
    last_resort: block
    spread: clients
  - name: default
    tiers: [{fiber: 3, cable: 0x1}, lte]
    spread: flows
failback: {mode: manual, after: 0s, min_interval: 1d}
health:
  patience: 700ms
  window: 2m
  loss: {degraded: 0.5, clear: 1.5%, unusable: 75%}
  latency: {degraded: never}
  jitter: {degraded: 50ms}
  damping: {half_life: 1d, suppress: 2.5, reuse: 0.5, max: 4}
probe:
  targets: [TCP://192.0.2.9:443, "http://[2001:db8::1]/x?y", https://192.0.2.1, dns://9.9.9.9/example.com, gateway]
  interval: 200ms
  standby_interval: 5m
  lost_after: 2s
  quorum: 2
  burst: {probes: 5, spacing: 10ms}
uplinks:
  - name: fiber
    interface: 02:00:5E:00:53:01
    enabled: yes
    gateway: 192.0.2.1
    gateway6: fe80::1
    ipv6: on
    snat: off
    snat6: npt
    npt: {fd00:1::/56: 2001:db8:1:100::/56, "fd00:2::/64": auto/3, fd00:3::/64: '2001:db8:9::/64', fd00:4::/64: "2001:db8:a::/64"}
    prefix6: "2001:db8:1::/48"
    metered: yes
    dns: [192.0.2.53, "2001:db8::53"]
    route: {mtu: 1400, advmss: 1360, window: 65535, initcwnd: 20, initrwnd: 30, hoplimit: 63, rto_min: 40ms, congctl: bbr, quickack: off, src: 192.0.2.7}
    route6: {mtu: 1280, quickack: 1, src: "2001:db8::7"}
    probe: {interval: 2s, burst: {spacing: 30ms}}
    health: {loss: {degraded: 3%}, damping: {max: 5}}
  - name: cable
    interface: enx0123456789ab
    gateway: none
    gateway6: none
    ipv6: false
    prefix6: [2001:db8:2::/48, 2001:db8:3::/48]
    snat6: none
    snat_except: 10.0.0.0/8
  - {name: lte, interface: wwan0, metered: false}
...
`

func TestEveryKey(t *testing.T) {
	c := good(t, every)
	equal(t, "log", c.Log, Log{Level: "debug", Format: "json"})
	equal(t, "metrics", c.Metrics, Metrics{Listen: "127.0.0.1:9773"})
	equal(t, "state", c.State, "/srv/swerve")
	equal(t, "control", c.Control, Control{Socket: "/tmp/s.sock", Group: "100"})
	equal(t, "kernel", c.Kernel, Kernel{MarkMask: 0xfe00, CTMask: 0xfffe, FirstPriority: 100})
	equal(t, "sessions", c.Sessions, Sessions{MoveOnDegraded: true, OnFailback: OnFailback{SessionsDrain, 90 * time.Minute}})
	equal(t, "failback", c.Failback, failover.Failback{Manual: true, MinInterval: day})
	equal(t, "rules", c.Rules, []Rule{
		{Match: rule.Match{From: prefixes("192.168.20.0/24")}, Use: "guests", Line: 20},
		{Match: rule.Match{
			In: []string{"lan1"}, To: prefixes("198.51.100.0/24", "2001:db8::1/128"), Proto: 6,
			Ports:   []rule.PortRange{{First: 443, Last: 443}, {First: 8000, Last: 8200}},
			HasDSCP: true, DSCP: 46, Mark: rule.Mark{Value: 1, Mask: 0xff},
		}, Use: "guests", Line: 21},
		{Match: rule.Match{
			In: []string{"lan1", "lan2"}, Proto: 50, HasDSCP: true, Mark: rule.Mark{Value: 5, Mask: 0xffff01ff},
		}, Use: DefaultPolicy, Line: 22},
	})
	equal(t, "policies", c.Policies, []Policy{
		{
			Name:   DefaultPolicy,
			Tiers:  [][]failover.Share{{{Uplink: "fiber", Weight: 3}, {Uplink: "cable", Weight: 1}}, {{Uplink: "lte", Weight: 1}}},
			Spread: SpreadFlows, Line: 32,
		},
		{Name: "guests", Tiers: [][]failover.Share{{{Uplink: "lte", Weight: 1}}}, Block: true, Spread: SpreadClients, Line: 28},
	})
}

func TestEveryUplinkKey(t *testing.T) {
	c := good(t, every)
	probe := Probe{
		Targets: []target.Target{
			{Method: target.TCP, Addr: netip.MustParseAddr("192.0.2.9"), Port: 443, Text: "TCP://192.0.2.9:443"},
			{Method: target.HTTP, Addr: netip.MustParseAddr("2001:db8::1"), Port: 80, Path: "/x?y", Text: "http://[2001:db8::1]/x?y"},
			{Method: target.HTTPS, Addr: netip.MustParseAddr("192.0.2.1"), Port: 443, Path: "/", Text: "https://192.0.2.1"},
			{Method: target.DNS, Addr: netip.MustParseAddr("9.9.9.9"), Port: 53, Name: "example.com", Text: "dns://9.9.9.9/example.com"},
			{Method: target.Gateway, Text: "gateway"},
		},
		Interval: 200 * time.Millisecond, StandbyInterval: 5 * time.Minute, LostAfter: 2 * time.Second, Quorum: 2,
		Burst: failover.Burst{Probes: 5, Spacing: 10 * time.Millisecond},
	}
	health := failover.Health{
		Patience: 700 * time.Millisecond, Window: 2 * time.Minute,
		Loss: failover.Limit{Degraded: 0.5, Clear: 0.015}, Unusable: 0.75, Latency: failover.Limit{Never: true},
		Jitter:  failover.Limit{Degraded: 0.05, Clear: 0.03},
		Damping: failover.Damping{HalfLife: day, Suppress: 2.5, Reuse: 0.5, Max: 4},
	}
	equal(t, "probe", c.Probe, probe)
	equal(t, "health", c.Health, health)

	fiber := Uplink{
		Name: "fiber", Interface: "02:00:5e:00:53:01", Line: lineOf(t, every, "- name: fiber"), Enabled: true, IPv6: true,
		Gateway: Gateway{Addr: netip.MustParseAddr("192.0.2.1")}, Gateway6: Gateway{Addr: netip.MustParseAddr("fe80::1")},
		SNAT: NoSNAT, SNAT6: NPT, NPT: []Translation{
			{Inside: netip.MustParsePrefix("fd00:1::/56"), Outside: netip.MustParsePrefix("2001:db8:1:100::/56")},
			{Inside: netip.MustParsePrefix("fd00:2::/64"), Subnet: 3},
			{Inside: netip.MustParsePrefix("fd00:3::/64"), Outside: netip.MustParsePrefix("2001:db8:9::/64")},
			{Inside: netip.MustParsePrefix("fd00:4::/64"), Outside: netip.MustParsePrefix("2001:db8:a::/64")},
		}, Prefix6: Prefix6{Prefixes: prefixes("2001:db8:1::/48")},
		Metered: MeteredYes, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		Probe: probe, Health: health,
	}
	fiber.Probe.Interval, fiber.Probe.Burst.Spacing = 2*time.Second, 30*time.Millisecond
	fiber.Health.Loss, fiber.Health.Damping.Max = failover.Limit{Degraded: 0.03, Clear: 0.015}, 5
	fiber.Route[failover.IPv4] = failover.Override{
		Shape: failover.Shape{
			Metrics:    [18]uint32{2: 1400, 3: 65535, 8: 1360, 10: 63, 11: 20, 13: 40, 14: 30},
			Congestion: "bbr", Source: netip.MustParseAddr("192.0.2.7"),
		},
		Told: 1<<2 | 1<<3 | 1<<8 | 1<<10 | 1<<11 | 1<<13 | 1<<14 | 1<<15,
	}
	fiber.Route[failover.IPv6] = failover.Override{
		Shape: failover.Shape{Metrics: [18]uint32{2: 1280, 15: 1}, Source: netip.MustParseAddr("2001:db8::7")}, Told: 1<<2 | 1<<15,
	}
	cable := newUplink(probe, health)
	cable.Name, cable.Interface, cable.Line = "cable", "enx0123456789ab", lineOf(t, every, "- name: cable")
	cable.SNATExcept = prefixes("10.0.0.0/8")
	cable.Gateway, cable.Gateway6, cable.IPv6, cable.SNAT6 = Gateway{None: true}, Gateway{None: true}, false, NoSNAT
	cable.Prefix6 = Prefix6{Prefixes: prefixes("2001:db8:2::/48", "2001:db8:3::/48")}
	lte := newUplink(probe, health)
	lte.Name, lte.Interface, lte.Line, lte.Metered = "lte", "wwan0", lineOf(t, every, "- {name: lte"), MeteredNo
	equal(t, "uplinks", c.Uplinks, []Uplink{fiber, cable, lte})
}

// lineOf returns the number of the line on which a part of a text begins.
func lineOf(t *testing.T, text, part string) int {
	t.Helper()
	before, _, found := strings.Cut(text, part)
	if !found {
		t.Fatalf("no %q in the text", part)
	}
	return strings.Count(before, "\n") + 1
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestSame compares different ways to write the same thing.
func TestSame(t *testing.T) {
	for _, c := range []struct{ what, one, other string }{
		{"line ends", minimal, strings.ReplaceAll(minimal, "\n", "\r\n")},
		{"byte order mark", minimal, "\ufeff" + minimal},
		{"quotes", minimal, "\"uplinks\": [{'name': \"fiber\", interface: 'eth0'}\n, {name: lte, interface: wwan0}]"},
		{"empty parts", minimal, minimal + "probe:\nhealth: {}\npolicies:\nrules: []\nfailback: ~\n"},
		{"comments", minimal, strings.ReplaceAll(minimal, "\n", " # : - [\n")},
		{
			"aliases", minimal + "probe: {burst: {probes: 4}, quorum: 2}\nhealth: {patience: 1s}\n",
			minimal + "health: {patience: &s 1s}\nprobe: {burst: &b {probes: 4}, quorum: &q 2}\n",
		},
		{
			"the block scalar", minimal + "state: /a/b\n", minimal + "state: |\n  /a/b\n",
		},
		{"seconds and minutes", minimal + "failback: {after: 1h}\n", minimal + "failback: {after: 60m0s}\n"},
		{"loss", minimal + "health: {loss: {degraded: 10%, clear: 1%}}", minimal + "health: {loss: {degraded: 0.1, clear: 0.01}}"},
		{"never", minimal + "health: {loss: {degraded: never}}", minimal + "health: {loss: {degraded: off, clear: no}}"},
	} {
		a, b := good(t, c.one), good(t, c.other)
		for i := range b.Uplinks {
			b.Uplinks[i].Line = a.Uplinks[i].Line
		}
		equal(t, c.what, b, a)
	}
}

func TestMergeKey(t *testing.T) {
	c := good(t, `uplinks:
  - &base {name: fiber, interface: eth0, ipv6: false, snat: none}
  - {<<: *base, name: lte, interface: wwan0, snat: masquerade}
`)
	lte := c.Uplinks[1]
	if lte.Name != "lte" || lte.Interface != "wwan0" || lte.IPv6 || lte.SNAT != Masquerade {
		t.Errorf("merged uplink: %+v", lte)
	}
}

// TestWordsAsNames: YAML's own words are valid names nevertheless.
func TestWordsAsNames(t *testing.T) {
	c := good(t, `uplinks:
  - {name: on, interface: off}
  - {name: no, interface: 5}
  - {name: true, interface: 0x10}
  - {name: y, interface: "null"}
policies:
  - {name: off, tiers: [on, {no: 2, true: 1}, y]}
rules: [{in: yes, use: off}]
`)
	var got []string
	for _, u := range c.Uplinks {
		got = append(got, u.Name+" "+u.Interface)
	}
	equal(t, "uplinks", got, []string{"on off", "no 5", "true 0x10", "y null"})
	equal(t, "tiers", c.Policies[1].Tiers[1], []failover.Share{{Uplink: "no", Weight: 2}, {Uplink: "true", Weight: 1}})
	equal(t, "rule", c.Rules[0], Rule{Match: rule.Match{In: []string{"yes"}}, Use: "off", Line: 8})
}

// Masks are chosen where the file has none, or says so; one that it has is the user's.
func TestMasksOfTheFile(t *testing.T) {
	for kernel, want := range map[string]Kernel{
		"{}":                                   {MarkMask: 0x7f000000, CTMask: 0x7fff0000, AutoMasks: true},
		"{mark_mask: auto, ct_mask: auto}":     {MarkMask: 0x7f000000, CTMask: 0x7fff0000, AutoMasks: true},
		"{mark_mask: 0x7f000000}":              {MarkMask: 0x7f000000, CTMask: 0x7fff0000},
		"{ct_mask: 0x7fff0000}":                {MarkMask: 0x7f000000, CTMask: 0x7fff0000},
		"{mark_mask: 0xfe00, ct_mask: 0xfffe}": {MarkMask: 0xfe00, CTMask: 0xfffe},
	} {
		k := good(t, minimal+"kernel: "+kernel+"\n").Kernel
		equal(t, kernel, Kernel{MarkMask: k.MarkMask, CTMask: k.CTMask, AutoMasks: k.AutoMasks}, want)
	}
}
