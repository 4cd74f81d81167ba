package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// Another program routes the LAN, and sockets of its own, by marks whose bits are ours:
// they go by its rule as before, wherever that stands, and a problem tells of it, where the
// masks are the user's. A rule
// that takes the packets of a lane is a warning that names free masks.
func TestRulesByBitsOfOurMark(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, masqueraded, quickRecovery+"kernel: {mark_mask: 0x7f000000, ct_mask: 0x7fff0000}\n")
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

// Another program routes the LAN by a mark that it keeps with connections, in bits that
// are ours by default, as OpenWrt's pbr does: its flows live over the start, a failover and
// a restart, since we use other bits, and a problem tells of it. So does the plan before
// the start, and the teardown leaves none of those bits in flows.
func TestConnmarkInOurBits(t *testing.T) {
	for _, pref := range []string{"1000", "10000"} {
		t.Run(pref, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, masqueraded, quickRecovery)
				g.shell(strings.ReplaceAll(`for f in 4 6; do
					for net in $(ip -$f route show dev lan0 proto kernel | cut -d ' ' -f 1); do ip -$f route add $net dev lan0 table 102; done
					ip -$f rule add pref PREF fwmark 0x20000/0xff0000 lookup 102
				done
				ip route add default via 198.51.100.1 dev wan1 table 102
				ip -6 route add default via fe80::1 dev wan1 table 102
				nft 'table inet other { chain pre { type filter hook prerouting priority mangle
					ct mark and 0xff0000 != 0 meta mark set ct mark and 0xff0000 return
					iifname "lan0" meta mark set 0x20000 ct mark set meta mark and 0xff0000
				}; }'`, "PREF", pref))
				p := g.newClients()
				g.goBy(lte, p.all()...)
				if plan := g.plan(); !strings.Contains(plan, "/0x0000fe00") || strings.Contains(plan, "/0x7f000000") {
					t.Errorf("the plan:\n%s", plan)
				}
				g.Start()
				s := g.Await("fiber to carry, and all to be up", lab.Settled)
				if c := problem(s, "mark-clash", "kernel.mark_mask"); c == nil || c.Severity != control.Info ||
					!strings.Contains(c.Text, "fwmark 0x00020000/0x00ff0000 lookup 102") || !strings.Contains(c.Text, "ct_mask 0x0000fffe in their place") {
					t.Errorf("the problem is %+v", c)
				}
				if c := problem(s, "mark-clash", "rule "+pref); c != nil {
					t.Errorf("a clash in spite of other masks: %+v", c)
				}
				later := g.newClients()
				g.goBy(lte, append(p.all(), later.all()...)...)

				own := g.session(g.Gateway, traffic.UDPSessions, lab.Servers[failover.IPv4], 50)
				g.goBy(fiber, own)
				f := g.Break(fiber, "black-hole")
				g.goBy(lte, append(later.all(), own)...)
				g.Mend(f)
				g.Await("fiber to carry again", lab.Settled)
				g.restarts(1)
				g.Await("fiber to carry after the restart", lab.Settled)
				if now := g.ours(); !strings.Contains(now, "/0xfe00") || strings.Contains(now, "/0x7f000000") {
					t.Errorf("after a restart:\n%s", now)
				}
				g.goBy(fiber, own)
				g.goBy(lte, append(p.all(), later.all()...)...)
				for _, s := range append(p.long(), later.long()...) {
					s.livedOn("the start, a failover and a restart")
				}
				g.Stop()
				if _, errs, code := g.swerve("teardown", "-c", g.daemon.Config()); code != 0 {
					t.Fatalf("teardown: %s", errs)
				}
				for _, f := range failover.Families {
					for line := range strings.Lines(g.out("conntrack -L -f " + f.String())) {
						if strings.Contains(line, "mark=") && !strings.Contains(line, "mark=0 ") && !strings.Contains(line, "mark=131072 ") {
							t.Errorf("left in the mark of a flow: %s", line)
						}
					}
				}
				g.goBy(lte, append(p.all(), later.all()...)...)
			})
		})
	}
}

// A VPN takes what lacks its mark: all of it, by a mark with bits wherever ours could be, as
// Mullvad's does; or what goes to a network, as wg-quick's. What it leaves out, of the LAN's
// and the gateway's own, goes as before over the start and a failover, and so does what it
// takes. The problem says so.
func TestRuleForWhatLacksAMark(t *testing.T) {
	t.Run("all", func(t *testing.T) { scenario(t, func(t *trial) { lacksMark(t, "1836018789", "default", true) }) })
	t.Run("a network", func(t *testing.T) { scenario(t, func(t *trial) { lacksMark(t, "51820", "198.18.0.0/24", false) }) })
}

func lacksMark(t *trial, mark, network string, clashes bool) {
	g := newGateway(t, masqueraded, quickRecovery)
	g.shell(strings.NewReplacer("MARK", mark, "NETWORK", network).Replace(`ip route add NETWORK via 198.51.100.1 dev wan1 table 77
			ip rule add pref 19999 lookup main suppress_prefixlength 0
			ip rule add pref 20000 not fwmark MARK lookup 77
			nft 'table inet other { chain pre { type filter hook prerouting priority mangle; iifname "lan0" meta l4proto tcp meta mark set MARK; }; }'`))
	before := g.newClients()
	left, taken := []*session{before.tcp[failover.IPv4]}, []*session{before.fresh[failover.IPv4], before.udp[failover.IPv4]}
	g.goBy(fiber, left...)
	g.goBy(lte, taken...)
	g.Start()
	s := g.Await("fiber to carry, and all to be up", lab.Settled)
	if c := problem(s, "mark-clash", "rule 20000"); (c != nil) != clashes || clashes && (c.Severity != control.Info || !strings.Contains(c.Text, "it is used as before")) {
		t.Errorf("the problem is %+v", c)
	}
	after := g.newClients()
	left, taken = append(left, after.tcp[failover.IPv4]), append(taken, after.fresh[failover.IPv4], after.udp[failover.IPv4])
	both := func(when string) {
		g.Helper()
		g.goBy(fiber, left...)
		g.goBy(lte, taken...)
		for _, s := range append(left, before.udp[failover.IPv4], after.udp[failover.IPv4]) {
			s.livedOn(when)
		}
		g.out("ping -n -q -c 3 -i 0.2 -W 2 -m " + mark + " " + lab.Servers[failover.IPv4].String())
	}
	both("the start")
	g.restarts(1)
	g.Await("fiber to carry after the restart", lab.Settled)
	both("a restart")
	f := g.Break(fiber, "black-hole")
	g.goBy(lte, append(taken, after.tcp[failover.IPv4])...)
	for _, s := range []*session{before.udp[failover.IPv4], after.udp[failover.IPv4]} {
		s.livedOn("a failover")
	}
	g.Mend(f)
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
