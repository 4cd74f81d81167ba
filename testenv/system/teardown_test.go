package system

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
)

// After teardown the kernel is as it was before the first start, byte for byte: rules,
// all routes of all tables, the whole ruleset, and the settings of all links; and no flow
// has a mark of the daemon's.
func TestTeardown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts lab.Options
	}{
		{"plain", masqueraded},
		{"settings that somebody made", lab.Options{Firewall: lab.FirewallMasquerade, RPFilter: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, tc.opts, quickRecovery)
				g.flicker()
				if tc.opts.RPFilter > 0 {
					g.shell("sysctl -q -w net.ipv4.conf.wan1.ignore_routes_with_linkdown=1 net.ipv4.conf.wan0.src_valid_mark=1")
				}
				before := g.steady()
				g.Start()
				g.Await("fiber to carry", lab.Settled)
				p := g.clients(fiber)
				f := g.Break(fiber, "carrier")
				g.Await("lte to carry", lab.CarriedBy("lte"))
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				g.refusesTeardown()
				g.Stop()
				g.noStrays()
				g.leaks = true // from here on the machine works without the daemon
				if out, errs, code := g.swerve("teardown", "-c", g.daemon.Config()); code != 0 || out+errs != "" {
					t.Errorf("teardown: exit code %d, %s%s", code, out, errs)
				}
				g.differ("teardown left something, or removed too much", before, g.everything())
				g.nothingIsMarked()
				g.goOn(p.all()...) // by the machine's own routes
				if out, errs, code := g.swerve("teardown", "-c", g.daemon.Config()); code != 0 {
					t.Errorf("a second teardown: exit code %d, %s%s", code, out, errs)
				}
			})
		})
	}
}

// flicker pulls and plugs every uplink once: a link that comes back has its routes in
// another order.
func (g *gateway) flicker() {
	g.Helper()
	for i := range g.Uplinks {
		g.Mend(g.Break(i, "carrier"))
	}
}

// steady returns everything once the kernel has finished its own changes.
func (g *gateway) steady() (now string) {
	g.Helper()
	g.Until("the kernel to stop changing", func() bool {
		before := now
		now = g.everything()
		time.Sleep(200 * time.Millisecond)
		return before == now && !strings.Contains(now, " linkdown")
	})
	return now
}

// refusesTeardown checks that teardown refuses while the daemon runs, and reports the
// reason in one line.
func (g *gateway) refusesTeardown() {
	g.Helper()
	before := g.ours()
	out, errs, code := g.swerve("teardown", "-c", g.daemon.Config())
	if code != 1 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, fmt.Sprintf("pid %d", g.daemon.Pid())) {
		g.Errorf("teardown beside a daemon: exit code %d, %q, %q; want 1 and one line with its pid", code, out, errs)
	}
	g.differ("the refused teardown changed something", before, g.ours())
}

// everything lists what teardown has to leave as it was.
func (g *gateway) everything() string {
	g.Helper()
	return g.routing() + "# nft list ruleset\n" + still(g.out("nft list ruleset")) + g.settings()
}

// settings lists the sysctls of all links, of both families.
func (g *gateway) settings() string {
	g.Helper()
	var lines []string
	err := g.Gateway.Do(func() error {
		for _, root := range []string{"/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"} {
			err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				// Some have no value yet, which is an error.
				value, _ := os.ReadFile(path)
				lines = append(lines, path+" = "+string(value))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// nothingIsMarked checks with conntrack(8) that no flow has a mark.
func (g *gateway) nothingIsMarked() {
	g.Helper()
	for _, f := range failover.Families {
		for _, line := range strings.Split(g.out("conntrack -L -f "+f.String()), "\n") {
			if strings.Contains(line, "mark=") && !strings.Contains(line, "mark=0 ") {
				g.Errorf("a flow is marked: %s", line)
				return
			}
		}
	}
}

// A second daemon in the namespace reports which one holds it, changes nothing and exits.
func TestSecondDaemon(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		before := g.ours()
		began := time.Now()
		out, errs, code := g.swerve("run", "-c", g.daemon.Config())
		if code != 1 || out != "" || strings.Count(errs, "\n") != 1 ||
			!strings.Contains(errs, fmt.Sprintf("pid %d", g.daemon.Pid())) || !strings.Contains(errs, g.daemon.Socket()) {
			t.Errorf("a second daemon: exit code %d, %q, %q; want 1 and one line with pid and socket of the first", code, out, errs)
		}
		t.Logf("it reported that after %v", time.Since(began))
		g.differ("the second daemon changed something", before, g.ours())
		g.Status() // still of the first
	})
}
