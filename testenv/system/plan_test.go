package system

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"swerve/control"
	"swerve/testenv/lab"
)

// The script that plan prints, run by a shell, changes the kernel exactly as the daemon
// does. In steady state plan prints nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		opts   lab.Options
		config string
	}{
		{"two uplinks", usual, twoUplinks},
		{"three uplinks, one without IPv6", lab.Options{Uplinks: 3, IPv4Only: []int{2}}, "uplinks: auto\n"},
		{"strict rp_filter", lab.Options{RPFilter: 1}, twoUplinks},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, tc.opts, tc.config)
				before := g.steady()
				script := g.plan()
				g.differ("plan itself changed something", before, g.everything())
				g.shell(script)
				if again := g.plan(); strings.Contains(again, "\nip ") || strings.HasPrefix(again, "ip ") {
					t.Errorf("after its own script plan still prints routes and rules\n%s", again)
				}
				byScript := g.ours()
				g.Start()
				g.Await("all uplinks to be taken, and the first to carry", g.allTaken)
				if rest := g.plan(); rest != "" {
					t.Errorf("beside the daemon plan prints\n%s", rest)
				}
				g.differ("the daemon found something to change", byScript, g.ours())
				g.Stop()
				if _, errs, code := g.swerve("teardown", "-c", g.daemon.Config()); code != 0 {
					t.Fatalf("teardown: %s", errs)
				}
				if err := os.RemoveAll(g.daemon.File("state")); err != nil {
					t.Fatal(err)
				}
				g.Start()
				g.Await("all uplinks to be taken, and the first to carry", g.allTaken)
				g.becomes("daemon and script differ", byScript)
			})
		})
	}
}

// allTaken reports whether the gateway has all its uplinks, the first of them carries
// both families, and all is well. Under "uplinks: auto" they are taken one by one.
func (g *gateway) allTaken(s *control.Status) bool {
	return s.Overall == control.OK && len(s.Uplinks) == len(g.Uplinks) && lab.Carries(s, s.Uplinks[0].Name)
}

// plan returns what swerve plan prints, and checks that --json prints the same. Nothing
// may change the kernel meanwhile.
func (g *gateway) plan() string {
	g.Helper()
	script := g.script()
	text, errs, code := g.swerve("plan", "-c", g.daemon.Config(), "--json")
	if code != 0 || errs != "" || !json.Valid([]byte(text)) {
		g.Errorf("plan --json: exit code %d: %s%s", code, errs, text)
	}
	if strings.Contains(text, "inet swerve") != strings.Contains(script, "inet swerve") {
		g.Errorf("plan and plan --json differ:\n%s\n%s", script, text)
	}
	return script
}

// script returns what swerve plan prints.
func (g *gateway) script() string {
	g.Helper()
	out, errs, code := g.swerve("plan", "-c", g.daemon.Config())
	if code != 0 || errs != "" {
		g.Fatalf("plan: exit code %d: %s", code, errs)
	}
	return out
}

// What check, init, plan and doctor say of `uplinks: auto` is what the daemon does: a LAN
// with a default route by mistake is no uplink, beside the daemon and after it. Where
// nothing is known they say so.
func TestCommandsKnowWhatAutoTook(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, "uplinks: auto\n")
		g.shell("ip route add default via 192.168.10.50 dev lan0 metric 500 onlink")
		file := g.daemon.Config()
		say := func(args ...string) string {
			out, errs, code := g.swerve(args...)
			if code != 0 || errs != "" {
				t.Errorf("swerve %v: exit code %d: %s", args, code, errs)
			}
			return out
		}
		const silent = "no target has answered"
		if got := say("check", file); !strings.Contains(got, "note: wan0, wan1 and lan0: "+silent) || !strings.Contains(got, "then lan0") {
			t.Errorf("check where nothing is known:\n%s", got)
		}
		knows := func(when string) {
			t.Helper()
			if got := say("check", "-c", file); !strings.Contains(got, "order of preference: wan0, then wan1\n") || !strings.Contains(got, "note: lan0: "+silent) {
				t.Errorf("check %s:\n%s", when, got)
			}
			out, _, _ := g.swerve("doctor", "-c", file)
			if !strings.Contains(out, "not-an-uplink, lan0") || strings.Contains(out, "conf/lan0") {
				t.Errorf("doctor %s:\n%s", when, out)
			}
		}
		g.Start()
		g.Await("both uplinks to be taken", g.allTaken)
		knows("beside the daemon")
		if got := say("init"); strings.Contains(got, "\n    interface: lan0\n") || !strings.Contains(got, "\n    interface: wan1\n") || !strings.Contains(got, "# lan0: "+silent) {
			t.Errorf("init beside the daemon:\n%s", got)
		}
		if got := say("plan", "-c", file); got != "" {
			t.Errorf("plan beside the daemon:\n%s", got)
		}
		g.Stop()
		knows("after the daemon")
		say("teardown", "-c", file)
		if got := say("plan", "-c", file); !strings.HasPrefix(got, "# lan0: "+silent) || strings.Contains(got, "dev lan0") || !strings.Contains(got, "dev wan1") {
			t.Errorf("plan after the daemon:\n%s", got)
		}
	})
}
