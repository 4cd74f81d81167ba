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
