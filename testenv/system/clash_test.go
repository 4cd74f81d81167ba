package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// Another program routes the LAN, and sockets of its own, by marks whose bits are ours:
// they go by its rule as before, wherever that stands, and a problem tells of it. A rule
// that takes the packets of a lane is a warning that names free masks.
func TestRulesByBitsOfOurMark(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, masqueraded, quickRecovery)
		g.shell(`ip rule add pref 100 fwmark 0x10000000/0xf0000000 lookup 100
			ip route add default via 198.51.100.1 dev wan1 table 100
			nft 'table ip other { chain pre { type filter hook prerouting priority mangle; iifname "lan0" meta mark set 0x10000000; }; }'`)
		p := g.newClients()
		four := []*session{p.fresh[failover.IPv4], p.udp[failover.IPv4], p.tcp[failover.IPv4]}
		g.goBy(lte, four...)
		g.Start()
		s := g.Await("fiber to carry, and all to be up", lab.Settled)
		g.goBy(lte, four...)
		own := func() { g.out("ping -n -q -c 3 -i 0.2 -W 2 -m 268435456 " + lab.Servers[failover.IPv4].String()) }
		own()
		if c := problem(s, "mark-clash", "rule 100"); c == nil || c.Severity != control.Info {
			t.Errorf("the problem is %+v", c)
		}

		g.shell("ip rule del pref 100")
		g.goBy(fiber, four[0])
		g.shell("ip rule add pref 10000 fwmark 0x10000000/0xf0000000 lookup 100")
		g.goBy(lte, four[0])
		own()
		g.shell("ip rule add pref 99 fwmark 0x01000000/0x0f000000 lookup 100")
		s = g.Await("a warning", func(s *control.Status) bool { return problem(s, "mark-clash", "rule 99") != nil })
		if c := problem(s, "mark-clash", "rule 99"); c.Severity != control.Warning || !strings.Contains(c.Remedy, "kernel.mark_mask: 0x00") {
			t.Errorf("the problem is %+v", c)
		}
		if s.Overall != control.Warning {
			t.Errorf("overall %s", s.Overall)
		}
	})
}

// A rule for all packets looks up main before our rules: the problem names it and what
// to set, and where our own packet filter drops the probes for it, that is what is said.
func TestRuleBeforeOurs(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.shell("ip rule add pref 1000 lookup main; ip -6 rule add pref 1000 lookup main")
		s := g.Await("the problem", func(s *control.Status) bool {
			return problem(s, "foreign-rule", "rule 1000") != nil
		})
		if c := problem(s, "foreign-rule", "rule 1000"); c.Severity != control.Warning || !strings.Contains(c.Remedy, "first_priority to at most 586") {
			t.Errorf("the problem is %+v", c)
		}
		if c := problem(s, "probes-unsent", "lte"); c != nil && (!strings.Contains(c.Text, "Swerve itself drops them") || strings.Contains(c.Remedy, "iptables")) {
			t.Errorf("the problem is %+v", c)
		}
		g.shell("ip rule del pref 1000; ip -6 rule del pref 1000")
		g.Await("all to be well", func(s *control.Status) bool {
			return lab.Settled(s) && problem(s, "foreign-rule", "rule 1000") == nil && problem(s, "probes-unsent", "lte") == nil
		})
	})
}

// A VPN is started beside the daemon, so that its rules come before all of ours: it has
// the traffic, as without us, and the status says so, whatever form the rule has.
func TestVPNBeforeOurs(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		g.shell("ip link add tun0 type veth peer name far0; ip link set far0 up; ip link set tun0 up")
		told := func(s *control.Status) int {
			return slices.IndexFunc(s.Problems, func(p control.Problem) bool { return p.Code == "foreign-rule" })
		}
		for rule, how := range map[string]string{
			"not fwmark 51820 lookup 51820":              "all packets but those with that mark",
			"pref 100 not fwmark 0x20/0x20 lookup 51820": "all packets but those with that mark",
			"pref 100 lookup 51820":                      "all packets before",
		} {
			for _, family := range []string{"-4", "-6"} {
				g.shell(fmt.Sprintf("ip %s route add default dev tun0 table 51820; ip %[1]s rule add %s", family, rule))
				s := g.Await("the problem of "+rule, func(s *control.Status) bool { return told(s) >= 0 })
				if p := s.Problems[told(s)]; p.Severity != control.Info || !strings.Contains(p.Remedy, "nothing, if that is a VPN's") || !strings.Contains(p.Text, how) {
					t.Errorf("%s: the problem is %+v", rule, p)
				}
				g.shell(fmt.Sprintf("ip %s rule del %s; ip %[1]s route flush table 51820", family, rule))
				g.Await("no problem", func(s *control.Status) bool { return told(s) < 0 })
			}
		}
	})
}
