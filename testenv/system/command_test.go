package system

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// Each command's exit code is as documented, and an error is one line.
func TestExitCodes(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, twoUplinks)
		file := g.daemon.Config()
		bad := g.daemon.File("bad.yaml")
		if err := os.WriteFile(bad, []byte("uplinks: [{name: fiber, interface: wan0, colour: red}]\nfail: back\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		g.exits(3, "status")
		g.exits(3, "status", "--json")
		g.exits(3, "events")
		g.exits(3, "reload")
		g.exits(2, "frobnicate")
		g.exits(2, "status", "--frobnicate")
		g.exits(2, "plan", "unasked")
		g.exits(0, "check", file)
		g.exits(0, "version")
		g.exits(0, "plan", "-c", file)
		g.exits(0, "init")
		for _, args := range [][]string{{"check", bad}, {"run", "-c", bad}, {"plan", "-c", bad}} {
			out, errs, code := g.swerve(args...)
			if code != 2 || out != "" || !strings.Contains(errs, bad+":1: uplinks[0].colour: ") || !strings.Contains(errs, bad+":2: fail: ") {
				t.Errorf("swerve %v: exit code %d, %q, %q; want 2 and both problems with file and line", args, code, out, errs)
			}
		}
		g.shell("sysctl -qw net.ipv4.ip_forward=0")
		out, errs, code := g.swerve("doctor", "-c", bad)
		g.shell("sysctl -qw net.ipv4.ip_forward=1")
		if code != 2 || !strings.Contains(errs, bad+":2: fail: ") || !strings.HasPrefix(out, "critical config-refused, "+bad) || !strings.Contains(out, "forwarding-off") {
			t.Errorf("doctor with a bad file: exit code %d, %q, %q; want 2, both problems, and what else it found", code, errs, out)
		}
		g.Start()
		g.Await("all to be up", lab.Settled)
		g.exits(0, "status")
		g.exits(0, "events")
		g.exits(0, "reload")
		g.exits(1, "run", "-c", file)
		g.exits(1, "teardown", "-c", file)
		g.tearsDownBy(bad, 1)
		g.Break(lte, "carrier")
		g.Await("a warning", func(s *control.Status) bool { return s.Overall == control.Warning })
		g.exits(1, "status")
		g.exits(1, "status", "--json")
		g.Stop()
		g.exits(3, "status")
		g.tearsDownBy(bad, 0)
		if left, err := g.Gateway.Run("ip", "route", "show", "table", "all", "proto", "83"); err != nil || left != "" {
			t.Errorf("teardown with a broken file left (%v)\n%s", err, left)
		}
		g.exits(0, "teardown", "-c", file)
	})
}

// tearsDownBy tears down with a broken file; teardown has to report what is wrong with it.
func (g *gateway) tearsDownBy(bad string, want int) {
	g.Helper()
	out, errs, code := g.swerve("teardown", "-c", bad)
	if code != want || out != "" || !strings.Contains(errs, bad+":2: fail: ") || !strings.Contains(errs, "with the default marks") {
		g.Errorf("swerve teardown with a broken file: exit code %d, want %d: %q, %q", code, want, out, errs)
	}
}

// exits runs a command and checks its exit code, and that a failure with a reason has
// one line on standard error.
func (g *gateway) exits(want int, args ...string) {
	g.Helper()
	out, errs, code := g.swerve(args...)
	if code != want {
		g.Errorf("swerve %v: exit code %d, want %d: %s%s", args, code, want, out, errs)
	}
	warned := code == 1 && args[0] == "status" // reports everything on standard output
	if lines := strings.Count(errs, "\n"); (code == 0 || warned) && lines != 0 || code != 0 && !warned && lines != 1 {
		g.Errorf("swerve %v: exit code %d, on standard error %q", args, code, errs)
	}
}

// A bad file changes nothing, neither in the daemon nor in the kernel.
func TestBadReload(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		before := g.ours()
		g.Configure(twoUplinks + "probe: {interval: 1parsec}\n")
		_, errs, code := g.swerve("reload")
		if code != 2 || !strings.Contains(errs, "probe.interval: ") {
			t.Errorf("exit code %d, %q; want 2 and the problem", code, errs)
		}
		g.differ("a refused reload changed something", before, g.ours())
		if n := g.Status().Daemon.Generation; n != 1 {
			t.Errorf("generation %d after a refused reload", n)
		}
		refused := slices.ContainsFunc(g.Events(), func(e control.Event) bool {
			d, ok := e.Detail.(control.ConfigDetail)
			return ok && d.Action == "refused" && len(d.Problems) > 0
		})
		if !refused {
			t.Error("no event reports it")
		}
	})
}

// A kind of a JSON value; alternatives are separated by bars.
type kind string

// family, share and so on are the status's objects as documented. They may have more
// fields.
var (
	target = map[string]any{"target": kind("string"), "answering": kind("bool|null"), "loss": kind("ratio|null"), "rtt_ms": kind("number|null")}
	family = map[string]any{
		"state": kind("string"), "reason": kind("string"), "since": kind("time"), "gateway": kind("string|null"),
		"loss": kind("ratio|null"), "rtt_ms": kind("number|null"), "jitter_ms": kind("number|null"),
		"patience_ms": kind("number"), "targets": []any{target},
	}
	share  = map[string]any{"uplink": kind("string"), "weight": kind("number")}
	uplink = map[string]any{
		"name": kind("string"), "interface": kind("string"), "carrier": kind("bool|null"), "metered": kind("bool"),
		"admin": kind("string"), "override_until": kind("time|null"), "held_until": kind("time|null"),
		"last_proven": kind("time|null"), "ipv4": family, "ipv6": family,
		"rx_bytes": kind("number|null"), "tx_bytes": kind("number|null"), "rx_bps": kind("number|null"),
		"tx_bps": kind("number|null"), "new_flows": kind("number|null"), "probe_bytes": kind("number|null"),
		"native": []any{kind("string")}, "began_elsewhere": kind("number|null"),
		"sessions": map[string]any{
			"moved": kind("number|null"), "reset": kind("number|null"), "poked": kind("number|null"), "destroyed": kind("number|null"),
		},
	}
	change = map[string]any{
		"time": kind("time"), "policy": kind("string"), "family": kind("string"), "kind": kind("string"),
		"from": []any{kind("string")}, "to": []any{kind("string")}, "reason": kind("string"),
		"evidence_ms": kind("number|null"), "switch_ms": kind("number|null"),
	}
	status = map[string]any{
		"version": kind("number"), "now": kind("time"), "overall": kind("string"), "software": kind("string"),
		"daemon": map[string]any{
			"pid": kind("number"), "since": kind("time"), "config": kind("string"), "generation": kind("number"),
			"config_pending": kind("bool"),
		},
		"problems": []any{map[string]any{
			"code": kind("string"), "severity": kind("string"), "object": kind("string"), "since": kind("time"),
			"text": kind("string"), "remedy": kind("string"),
		}},
		"uplinks":        []any{uplink},
		"policies":       []any{map[string]any{"name": kind("string"), "ipv4": []any{share}, "ipv6": []any{share}}},
		"switches_total": kind("number"),
	}
)

// mismatches lists where a value differs from its description.
func mismatches(path string, want, got any) (found []string) {
	switch want := want.(type) {
	case kind:
		if !want.fits(got) {
			found = append(found, fmt.Sprintf("%s is %v, want %s", path, got, want))
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want a list", path, got)}
		}
		for i, v := range list {
			found = append(found, mismatches(fmt.Sprintf("%s[%d]", path, i), want[0], v)...)
		}
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want an object", path, got)}
		}
		if object["state"] == "absent" && len(object) == 1 {
			return nil // that family is not offered: the state only
		}
		for field, wanted := range want {
			v, there := object[field]
			if !there {
				found = append(found, fmt.Sprintf("%s.%s is missing", path, field))
				continue
			}
			found = append(found, mismatches(path+"."+field, wanted, v)...)
		}
	}
	return found
}

// fits reports whether a value is of one of the kinds.
func (k kind) fits(v any) bool {
	for _, one := range strings.Split(string(k), "|") {
		var ok bool
		switch v := v.(type) {
		case nil:
			ok = one == "null"
		case bool:
			ok = one == "bool"
		case float64:
			ok = one == "number" || one == "ratio" && v >= 0 && v <= 1
		case string:
			_, err := time.Parse(time.RFC3339, v)
			ok = one == "string" || one == "time" && err == nil
		}
		if ok {
			return true
		}
	}
	return false
}

// statusJSON returns what swerve status --json prints, checked against the documentation.
func (g *gateway) statusJSON(wantCode int) map[string]any {
	g.Helper()
	out, errs, code := g.swerve("status", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != wantCode || errs != "" {
		g.Fatalf("status --json: exit code %d, %v: %s%s", code, err, errs, out)
	}
	for _, m := range mismatches("status", status, got) {
		g.Error(m)
	}
	if last, there := got["last_switch"]; !there {
		g.Error("status.last_switch is missing")
	} else if last != nil {
		for _, m := range mismatches("status.last_switch", change, last) {
			g.Error(m)
		}
	}
	return got
}

// The status has every documented field, null where nothing was measured: for an uplink
// without an interface, for one without IPv6, and after a switch.
func TestStatusJSON(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, lab.Options{IPv4Only: []int{lte}}, twoUplinks+"  - {name: sat, interface: wan9}\n")
		g.Start()
		g.Await("fiber to carry", func(s *control.Status) bool {
			return lab.Carries(s, "fiber") && s.Uplinks[lte].IPv4.State == control.Up && s.Uplinks[2].IPv4.State == control.Down
		})
		got := g.statusJSON(1)
		uplinks := got["uplinks"].([]any)
		if got["last_switch"] != nil || got["switches_total"] != 0.0 || got["version"] != 1.0 || got["overall"] != "warning" {
			t.Errorf("before any switch: version %v, %v, last switch %v of %v", got["version"], got["overall"], got["last_switch"], got["switches_total"])
		}
		if six := uplinks[lte].(map[string]any)["ipv6"]; fmt.Sprint(six) != "map[state:absent]" {
			t.Errorf("an uplink without IPv6 has %v, want only the state", six)
		}
		absent := uplinks[2].(map[string]any)
		four := absent["ipv4"].(map[string]any)
		for _, v := range []any{absent["carrier"], absent["last_proven"], absent["rx_bytes"], absent["rx_bps"], four["loss"], four["rtt_ms"], four["jitter_ms"], four["gateway"]} {
			if v != nil {
				t.Errorf("a missing interface has a measured %v: %v", v, absent)
			}
		}
		if reason := four["reason"].(string); !strings.Contains(reason, "interface") {
			t.Errorf("the reason %q does not report the missing interface", reason)
		}
		g.Break(fiber, "carrier")
		g.Await("lte to carry IPv4", func(s *control.Status) bool {
			return lab.CarriesFamily(s, "lte", failover.IPv4) && s.LastSwitch != nil
		})
		last := g.statusJSON(1)["last_switch"].(map[string]any)
		if last["kind"] != "failover" || fmt.Sprint(last["from"], last["to"]) != "[fiber] [lte]" || last["switch_ms"] == nil {
			t.Errorf("the last switch is %v", last)
		}
	})
}

// Events are one JSON object a line, with time, type and evidence, and can be listed
// from a time on.
func TestEventsJSON(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		f := g.Break(fiber, "carrier")
		g.Await("lte to carry", lab.CarriedBy("lte"))
		g.Mend(f)
		g.Await("fiber to carry", lab.CarriedBy("fiber"))
		g.Break(fiber, "delete-rules")
		g.Until("a repair", func() bool { return len(g.repairs()) > 0 })
		g.exits(0, "reload")
		out, errs, code := g.swerve("events", "--json")
		if code != 0 || errs != "" {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		seen := map[string]int{}
		kinds := map[string]int{}
		for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			for _, m := range mismatches("event", map[string]any{"time": kind("time"), "type": kind("string"), "reason": kind("string")}, e) {
				t.Errorf("%s: %s", m, line)
			}
			seen[e["type"].(string)]++
			if e["type"] == "switch" {
				kinds[e["kind"].(string)]++
				for _, m := range mismatches("event", change, e) {
					t.Errorf("%s: %s", m, line)
				}
			}
		}
		for _, typ := range []string{"health", "switch", "sessions", "repair", "config", "daemon"} {
			if seen[typ] == 0 {
				t.Errorf("no event of type %s in\n%s", typ, out)
			}
		}
		if kinds["failover"] != 2 || kinds["failback"] != 2 {
			t.Errorf("switches %v, want a failover and a failback in each family", kinds)
		}
		if out, _, code := g.swerve("events", "--json", "--since", "2099-01-01T00:00:00Z"); code != 0 || out != "" {
			t.Errorf("events of the future: exit code %d, %q", code, out)
		}
	})
}
