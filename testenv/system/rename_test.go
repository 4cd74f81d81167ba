package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// put puts another configuration in force.
func (g *gateway) put(config string) {
	g.Helper()
	g.Configure(config)
	if out, errs, code := g.swerve("reload"); code != 0 {
		g.Fatalf("swerve reload: exit code %d: %s%s", code, out, errs)
	}
}

// up waits until uplinks of these names are up in both families.
func (g *gateway) up(names ...string) {
	g.Helper()
	g.Await(fmt.Sprintf("%v to be up", names), func(s *control.Status) bool {
		n := 0
		for _, u := range s.Uplinks {
			for _, name := range names {
				if u.Name == name && u.IPv4.State == control.Up && u.IPv6.State == control.Up {
					n++
				}
			}
		}
		return n == len(names)
	})
}

func uplinksAt(pairs ...string) string {
	text := "uplinks:\n"
	for i := 0; i < len(pairs); i += 2 {
		text += fmt.Sprintf("  - {name: %s, interface: %s}\n", pairs[i], pairs[i+1])
	}
	return text
}

// What belongs to an interface keeps it under whatever name its uplink has: its lane,
// and with it all sessions, at a reload and at a restart.
func TestRenamedUplinks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config  string
		names   []string // of the uplinks by wan0 and wan1
		restart bool
	}{
		"one":       {uplinksAt("glass", "wan0", "lte", "wan1"), []string{"glass", "lte"}, false},
		"both":      {uplinksAt("lte", "wan0", "fiber", "wan1"), []string{"lte", "fiber"}, false},
		"reordered": {uplinksAt("lte", "wan1", "glass", "wan0") + "policies: [{name: default, tiers: [glass, lte]}]\n", []string{"glass", "lte"}, false},
		"restart":   {uplinksAt("lte", "wan0", "fiber", "wan1"), []string{"lte", "fiber"}, true},
		"to auto":   {"uplinks: auto\n", []string{"wan0", "wan1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, twoUplinks)
				p := g.clients(fiber)
				own := g.session(g.Gateway, traffic.TCPStream, lab.Server4, 50)
				g.goBy(fiber, own)
				began := time.Now()
				if c.restart {
					g.Stop()
					g.Configure(c.config)
					g.Start()
				} else {
					g.put(c.config)
				}
				g.up(c.names...)
				g.goBy(fiber, append(p.all(), own)...)
				awaitResults()
				for _, s := range append(p.all(), own) {
					s.undisturbed(name, began)
				}
				rules := g.out("ip -4 rule")
				for i, link := range []string{"wan0", "wan1"} {
					if want := fmt.Sprintf("oif %s lookup %d", link, 5301+i); !strings.Contains(rules, want) {
						t.Errorf("no %q in\n%s", want, rules)
					}
				}
				for _, e := range g.Events() {
					if d, ok := e.Detail.(control.HealthDetail); ok && (d.To == control.Down || d.To == control.Shunned) {
						t.Errorf("%+v", d)
					}
				}
			})
		})
	}
}

// The sessions of an uplink that is used no more, or by another interface, end at once
// and go on elsewhere. Its default route in main, which is the best one, leads nobody
// there.
func TestUplinkThatIsUsedNoMore(t *testing.T) {
	t.Parallel()
	const sat = 2
	for name, c := range map[string]struct {
		config string
		names  []string
		to     int
	}{
		"removed":     {uplinksAt("lte", "wan1"), []string{"lte"}, lte},
		"disabled":    {strings.Replace(twoUplinks, "wan0}", "wan0, enabled: false}", 1), []string{"lte"}, lte},
		"replaced":    {uplinksAt("fiber", "wan2", "lte", "wan1"), []string{"fiber", "lte"}, sat},
		"in exchange": {uplinksAt("sat", "wan2", "lte", "wan1") + "failback: {after: 0s, min_interval: 0s}\n", []string{"sat", "lte"}, sat},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, lab.Options{Uplinks: 3}, twoUplinks)
				g.leaks = true // what the gateway's own sockets send before they are closed
				p := g.clients(fiber)
				own := g.session(g.Gateway, traffic.TCPStream, lab.Server4, 50)
				g.goBy(fiber, own)
				began := time.Now()
				g.put(c.config)
				g.up(c.names...)
				g.goBy(c.to, p.fresh[:]...)
				g.goOn(append(p.long(), own)...)
				awaitResults()
				for _, f := range failover.Families {
					p.tcp[f].wasReset(name, began)
				}
				own.endedAtOnce(name, began)
				if name == "removed" {
					g.Stop()
					g.Start()
					g.up(c.names...)
					g.goBy(c.to, p.fresh[:]...)
				}
				g.put(twoUplinks)
				g.up("fiber", "lte")
				g.Await("fiber to carry", lab.Settled)
				g.goBy(fiber, p.fresh[:]...)
			})
		})
	}
}

// An uplink's interface is put under a bridge that takes its address and default
// route. The bridge is no uplink, so nothing would be masqueraded there: the LAN stays
// online by the other uplink, and is told how to have the bridge used.
func TestUplinkUnderABridge(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		g.leaks = true // what the gateway's own sockets send before they are closed
		p := g.clients(fiber)
		g.shell(`ip link add br-wan type bridge; ip link set br-wan up
ip addr flush dev wan0; ip link set wan0 master br-wan
ip addr add 203.0.113.2/24 dev br-wan; ip -6 addr add 2001:db8:1::2/64 dev br-wan nodad
ip -4 route add default via 203.0.113.1 dev br-wan proto dhcp
ip -6 route add default via 2001:db8:1::1 dev br-wan metric 10`)
		g.goBy(lte, p.all()...)
		g.Await("it to be told", func(s *control.Status) bool {
			for _, q := range s.Problems {
				if q.Code == "default-passed-over" && q.Object == "br-wan" && q.Severity == control.Warning && strings.Contains(q.Text, "ipv4, metric 0; ipv6, metric 10") {
					return s.Policies[0].ForeignDefault == control.ForeignDefaults{}
				}
			}
			return false
		})
		g.put(strings.Replace(twoUplinks, "wan0", "br-wan", 1) + "failback: {after: 0s, min_interval: 0s}\n")
		g.Await("the bridge to carry", lab.Settled)
		g.goBy(fiber, p.fresh[:]...)
		for _, q := range g.Status().Problems {
			if q.Code == "default-passed-over" {
				t.Errorf("%+v", q)
			}
		}
	})
}
