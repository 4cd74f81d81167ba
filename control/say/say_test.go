package say

import (
	"os"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// noon is 13:00 on the clock of the tests.
var noon = control.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 3600)
	os.Exit(m.Run())
}

func before(d time.Duration) control.Time { return control.At(noon.Add(-d)) }

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", 192 * time.Second: "3m12s",
		time.Hour: "1h0m", 3*time.Hour + 12*time.Minute + 59*time.Second: "3h12m", 26 * time.Hour: "1d2h",
		99*24*time.Hour + 23*time.Hour: "99d23h", 400 * 24 * time.Hour: "400d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := AgeAt(noon, before(time.Minute)); got != "1m0s" {
		t.Errorf("a minute after: %s", got)
	}
	if a, b := AgeAt(control.Time{}, noon), AgeAt(noon, control.Time{}); a != NotKnown || b != NotKnown {
		t.Errorf("without a time: %s, %s", a, b)
	}
}

func TestMoment(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "12:59:00", -10 * time.Hour: "23:00:00", -11 * time.Hour: "03-02 00:00:00",
		24 * time.Hour: "02-28 13:00:00", 60 * 24 * time.Hour: "2025-12-31 13:00:00",
		365 * 24 * time.Hour: "2025-03-01 13:00:00",
	} {
		if got := Moment(noon, before(d)); got != want {
			t.Errorf("%v before: %s, want %s", d, got, want)
		}
	}
	if got := Moment(control.Time{}, noon); got != "2026-03-01 13:00:00" {
		t.Errorf("of no day: %s", got)
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Percent(nil), NotKnown}, {Percent(new(0.0)), "0.0%"}, {Percent(new(0.00001)), "<0.1%"}, {Percent(new(0.314)), "31.4%"},
		{Percent(new(0.99949)), "99.9%"}, {Percent(new(0.9999)), "100%"}, {Percent(new(1.0)), "100%"},
		{Milliseconds(nil), NotKnown}, {Milliseconds(new(0.04)), "0.0 ms"}, {Milliseconds(new(999.94)), "999.9 ms"},
		{Milliseconds(new(999.96)), "1000 ms"}, {Milliseconds(new(12345.6)), "12346 ms"},
		{Rate(nil), NotKnown}, {Rate(new(uint64(0))), "0 b/s"}, {Rate(new(uint64(999))), "999 b/s"},
		{Rate(new(uint64(1000))), "1.0 kb/s"}, {Rate(new(uint64(99_940))), "99.9 kb/s"}, {Rate(new(uint64(99_960))), "100 kb/s"},
		{Rate(new(uint64(999_600))), "1.0 Mb/s"}, {Rate(new(uint64(1_234_567_890))), "1.2 Gb/s"},
		{Rate(new(uint64(1<<64 - 1))), "18.4 Eb/s"},
		{Timing(nil, nil), ""}, {Timing(new(1.25), nil), "decided after 1.2 ms"},
		{Timing(new(120.2), new(0.9)), "decided after 120.2 ms, done in 0.9 ms"},
		{Family("ipv6"), "IPv6"}, {Family("ipv9"), "IPv9"}, {Family(""), ""},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestCarriers(t *testing.T) {
	for want, shares := range map[string][]control.Share{
		"nothing":               nil,
		"fiber":                 {{Uplink: "fiber", Weight: 3}},
		"fiber (3) + cable (1)": {{Uplink: "fiber", Weight: 3}, {Uplink: "cable", Weight: 1}},
	} {
		if got := Carriers(shares); got != want {
			t.Errorf("%v: %s, want %s", shares, got, want)
		}
	}
}

// What carries a policy, what takes its overflow in which parts, and that it is blocked.
func TestCarried(t *testing.T) {
	p := control.Policy{IPv4: []control.Share{{Uplink: "fiber", Weight: 1}}, IPv6: []control.Share{{Uplink: "lte", Weight: 1}}}
	p.OverflowTo.IPv4 = []control.Share{{Uplink: "fiber", Weight: 255}, {Uplink: "cable", Weight: 153}}
	p.OverflowTo.IPv6 = []control.Share{{Uplink: "cable", Weight: 1}}
	if a, b := Carried(p, failover.IPv4), Carried(p, failover.IPv6); a != "fiber, full: new flows by fiber (62%) + cable (38%)" || b != "lte, full: new flows by cable" {
		t.Errorf("%q, %q", a, b)
	}
	p.Blocked.IPv6 = true
	if got := Carried(p, failover.IPv6); got != "blocked" {
		t.Errorf("blocked: %q", got)
	}
}

// The generation is told once.
func TestReloadedPhrase(t *testing.T) {
	d := control.ConfigDetail{Action: "reloaded", Object: "configuration", Generation: 6}
	for reason, want := range map[string]string{
		"generation 6": "configuration reloaded: generation 6",
		"generation 6, undone after 6s unless it is confirmed": "configuration reloaded: generation 6, undone after 6s unless it is confirmed",
		"it stays in force": "configuration reloaded: it stays in force (generation 6)",
	} {
		d.Reason = reason
		if got := (Phrases{Arrow: "->"}).Event(control.Event{Detail: d}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"fiber is down":                    "fiber is down",
		"a\x1b[2Jb":                        "a?[2Jb",
		"a\x9b2Jb\x00":                     "a?2Jb?",
		"one\r\ntwo\tthree":                "one  two three",
		"\u202eright\u200bzero":            "?right?zero",
		"a\x1b[31mb\x07\u202ec\xffd\té\nf": "a?[31mb??c?d é f",
		"bad \xff utf8":                    "bad ? utf8",
		"ünïcödé 日本 e\u0301":               "ünïcödé 日本 e\u0301",
		"heart \u2764\ufe0f flag":          "heart \u2764? flag",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
		if got, want := OneLine(" "+in+"\r\n"), strings.Join(strings.Fields(want), " "); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestProblem(t *testing.T) {
	for _, c := range []struct {
		p    control.Problem
		want string
	}{
		{control.Problem{Text: "lte is down", Object: "lte", Since: before(time.Minute)}, "lte is down (for 1m0s)"},
		{control.Problem{Text: "lte is down in ipv4: 0 of 3 targets answer for 503ms", Since: before(time.Minute)},
			"lte is down in ipv4: 0 of 3 targets answer for 503ms (since " + Moment(noon, before(time.Minute)) + ")"},
		{control.Problem{Text: "only root may use it", Object: "/run/s"}, "/run/s: only root may use it"},
		{control.Problem{Text: "broken"}, "broken"},
	} {
		if got := Problem(noon, c.p); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Every type of event says what happened.
func TestEvent(t *testing.T) {
	p := Phrases{Arrow: "→", Now: noon}
	for _, c := range []struct {
		detail control.Detail
		want   string
	}{
		{nil, ""},
		{control.HealthDetail{Uplink: "fiber", Family: "ipv4", From: control.Up, To: control.Down, Reason: "no carrier", EvidenceMS: new(1.5)},
			"fiber IPv4 up → down: no carrier (decided after 1.5 ms)"},
		{control.HealthDetail{Uplink: "fiber", Family: "ipv6", From: control.Down, To: control.Recovering}, "fiber IPv6 down → recovering"},
		{control.SwitchDetail{Policy: "default", Family: "ipv4", Kind: "failover", To: []string{"lte", "sat"}, Reason: "no carrier",
			EvidenceMS: new(0.03), SwitchMS: new(0.914)},
			"default IPv4 failover nothing → lte+sat: no carrier (decided after 0.0 ms, done in 0.9 ms)"},
		{control.SessionsDetail{Uplink: "lte", Policy: "guests", Family: "ipv4", Action: "moved", Moved: new(int64(12)), Destroyed: new(int64(1)), Reason: "r", SilentMS: new(521.0), TookMS: new(3.0)},
			"lte guests IPv4 moved 12: r, 1 socket of the gateway closed (silent for 521.0 ms until then, done in 3.0 ms)"},
		{control.SessionsDetail{Uplink: "lte", Policy: "guests", Family: "ipv4", Action: "settled", Moved: new(int64(1)), Reason: "r", SilentMS: new(600.0), TookMS: new(80.0)},
			"lte guests IPv4 settled: r, 1 flow moved (done in 80.0 ms)"},
		{control.SessionsDetail{Uplink: "lte", Action: "settled", Moved: new(int64(3)), Reset: new(int64(12)), Reason: "r"}, "lte settled: r, 3 flows moved, 12 connections reset"},
		{control.SessionsDetail{Uplink: "lte", Family: "ipv6", Action: "moved", Reason: "r", Poked: new(int64(1))}, "lte IPv6 moved: r, 1 client made to speak"},
		{control.SessionsDetail{Uplink: "lte", Family: "ipv6", Action: "moved", Reason: "r", Poked: new(int64(20000)), LeftOut: new(int64(7))},
			"lte IPv6 moved: r, 20000 clients made to speak, 7 more were too many"},
		{control.RepairDetail{Object: "kernel", Action: "restored", Reason: "rule 5301", Count: new(int64(0)), TookMS: new(1000.0)},
			"kernel restored 0: rule 5301 (done in 1000 ms)"},
		{control.OperatorDetail{Uplink: "lte", Action: "drained", Reason: "asked by root", Until: before(-time.Hour)},
			"lte drained: asked by root (until 14:00:00)"},
		{control.OperatorDetail{Uplink: "lte", Action: "drained"}, "lte drained"},
		{control.ConfigDetail{Action: "refused", Reason: "2 problems", Problems: []string{"a:1: x", "a:2: y"}},
			"refused: a:1: x; the rest by swerve check; 2 problems"},
		{control.ConfigDetail{Object: "configuration", Action: "reloaded", Reason: "generation 2", Generation: 2},
			"configuration reloaded: generation 2"},
		{control.ConfigDetail{Object: "configuration", Action: "refused", Reason: "1 problem", Generation: 2, Problems: []string{"a:1: x"}},
			"configuration refused: a:1: x; 1 problem (generation 2)"},
		{control.DaemonDetail{Object: "daemon", Action: "started", Reason: "all is well", Generation: 7},
			"daemon started: all is well (generation 7)"},
		{control.OtherDetail{Type: "weather", Uplink: "lte", Policy: "default", Family: "ipv6", Object: "sky", Action: "darkened", Reason: "rain"},
			"lte default IPv6 sky darkened: rain"},
	} {
		if got := p.Event(control.Event{Detail: c.detail}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
