package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// Each order is passed on as it was typed, and answered in a line.
func TestOrders(t *testing.T) {
	d := startDaemon(t, quietStatus())
	for _, c := range []struct {
		args string
		want control.Order
		out  string
	}{
		{"switch fiber", control.Order{Uplink: "fiber"}, "switched to fiber: new flows go by it in IPv4\n"},
		{"switch fiber --policy guests --for 1h30m", control.Order{Uplink: "fiber", Policy: "guests", For: 90 * time.Minute},
			"switched policy guests to fiber: new flows go by it in IPv4\n"},
		{"drain fiber --for=2d", control.Order{Uplink: "fiber", For: 48 * time.Hour},
			"drained fiber: it gets no new flows; those that it has stay\n  a restart of the daemon forgets it: no room\n"},
	} {
		got := d.command(t, strings.Fields(c.args)...)
		if got.code != 0 || got.stdout != c.out || got.stderr != "" || d.order != c.want {
			t.Errorf("%s: %+v, asked %+v", c.args, got, d.order)
		}
	}
	for args, want := range map[string]string{
		"switch":                             "want one UPLINK, not 0 words",
		"drain":                              "want one UPLINK, not 0 words",
		"switch a b":                         "want one UPLINK, not 2 words",
		"switch fiber --for 0s":              `--for: "0s" is too short; at least 1s`,
		"switch fiber --for 366d":            `--for: "366d" is too long; at most 365d`,
		"switch fiber --for 99999999999999h": "is too long",
		"drain fiber --for soon":             `--for: "soon" is no time such as 30s, 2m, 1h30m or 2d`,
		"drain fiber --for -1h":              "is no time",
		"drain fiber --policy guests":        "unknown flag: --policy",
		"switch fibre":                       "there is no such uplink; the uplinks are fiber",
		"reload --confirm 0s":                "--confirm",
		"reload --confirm 8d":                "at most 7d",
		"confirm":                            "no reload waits for a confirmation; swerve reload --confirm 2m begins one",
		"confirm now":                        "unknown command",
	} {
		got := d.command(t, strings.Fields(args)...)
		if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: %+v, want %s", args, got, want)
		}
	}
	for _, args := range [][]string{{"switch", ""}, {"drain", ""}, {"switch", "fiber", "--policy", ""}} {
		if got := d.command(t, args...); got.code != 2 || !strings.Contains(got.stderr, "is empty") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// A reload with a confirmation says until when, and confirm what stays.
func TestConfirm(t *testing.T) {
	s := quietStatus()
	s.Daemon.ConfigPending, s.Daemon.ConfirmUntil = true, control.At(time.Now().Add(2*time.Minute))
	d := startDaemon(t, s)
	got := d.command(t, "reload", "--confirm", "2m")
	if got.code != 0 || d.confirm != 2*time.Minute || !strings.Contains(got.stdout, "\n  it is undone at ") || !strings.Contains(got.stdout, " unless `swerve confirm` is typed until then\n") {
		t.Errorf("%+v, asked %v", got, d.confirm)
	}
	if got := d.command(t, "confirm"); got.code != 0 || got.stdout != "confirmed /etc/swerve/swerve.yaml, generation 8\n" {
		t.Errorf("%+v", got)
	}
	if got := d.command(t, "status"); !strings.Contains(got.stdout, "this configuration is undone unless `swerve confirm` comes until") || !strings.Contains(got.stdout, "left)") {
		t.Errorf("%+v", got)
	}
}

// An explanation is one screen, in the daemon's words; with --json it is the daemon's.
func TestExplain(t *testing.T) {
	d := startDaemon(t, quietStatus())
	src, source, via := netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.1")
	d.explained = control.Explanation{Src: &src, Dst: netip.MustParseAddr("198.51.100.7"), Proto: 6, Port: 443, In: "lan0",
		Rule: &control.ExplainedRule{Number: 3, Line: 41, Policy: "guests"}, Policy: new("guests"), Tier: new(2), Uplink: new("fiber"),
		Interface: "wan0", Gateway: &via, Source: &source, Table: 5301, Why: "rule 3 (line 41) sends it by policy guests",
		Others: control.List[control.ExplainedUplink]{{Uplink: "lte", Reason: "is down: no carrier"}}, Notes: control.List[string]{"this is of a new flow"}}
	want := strings.TrimLeft(`
packet   192.168.1.20 to 198.51.100.7, tcp port 443, in by lan0
rule     3, line 41 of the configuration: use guests
policy   guests, tier 2
uplink   fiber (wan0), via 203.0.113.1
source   203.0.113.2, by our NAT
why      rule 3 (line 41) sends it by policy guests
others   lte is down: no carrier
notes    this is of a new flow
`, "\n")
	got := d.command(t, "explain", "192.168.1.20", "198.51.100.7", "tcp", "443", "--in", "lan0")
	if got.code != 0 || got.stdout != want || got.stderr != "" {
		t.Errorf("%+v\nwant\n%s", got, want)
	}
	if q := (control.Question{Src: src, Dst: d.explained.Dst, Proto: 6, Port: 443, In: "lan0"}); d.question != q {
		t.Errorf("asked %+v", d.question)
	}
	if got := d.command(t, "explain", "192.168.1.20", "198.51.100.7", "--json"); got.code != 0 || !strings.Contains(got.stdout, "\n  \"rule\": {\n    \"number\": 3,") {
		t.Errorf("%+v", got)
	}
	d.explained = control.Explanation{Dst: netip.MustParseAddr("198.51.100.7"), DSCP: 46, Mark: 0x10, Why: "no route leads there"}
	if got := d.command(t, "explain", "192.168.1.20", "198.51.100.7", "--dscp", "ef", "--mark", "16"); !strings.HasPrefix(got.stdout, "packet   198.51.100.7, DSCP 46, mark 0x10, this machine's own\n") || d.question.DSCP != 46 || d.question.Mark != 0x10 {
		t.Errorf("%+v, asked %+v", got, d.question)
	}
	d.explained = control.Explanation{Dst: netip.MustParseAddr("198.51.100.7"), Why: "no route leads there"}
	if got := d.command(t, "explain", "192.168.1.20", "198.51.100.7"); got.stdout != "packet   198.51.100.7, this machine's own\nuplink   none\nwhy      no route leads there\n" {
		t.Errorf("%+v", got)
	}
	for args, want := range map[string]string{"explain 192.0.2.1": "want SRC DST", "explain a b": "no IPv4 or IPv6 address", "explain 192.0.2.1 192.0.2.2 tcp x": "not 1 to 65535",
		"explain 192.0.2.1 192.0.2.2 --dscp gold": "no code point", "explain 192.0.2.1 192.0.2.2 --mark 0x": "no packet mark", "explain 192.0.2.1 192.0.2.2 --mark=": "--mark is empty"} {
		if got := d.command(t, strings.Fields(args)...); got.code != 2 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}
