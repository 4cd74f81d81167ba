package others

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// What follows needs no program but ip(8) and nft(8): nft is one of the others itself, and
// the rest does what other programs do.

// masqueraded is a lab that works without a daemon.
var masqueraded = lab.Options{Firewall: lab.FirewallMasquerade}

// ruleset is what Debian's /etc/nftables.conf is like on a router: it begins with the
// removal of everything.
const ruleset = `#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	chain input { type filter hook input priority filter; policy drop
		ct state established,related accept
		iif lo accept
		meta l4proto { icmp, ipv6-icmp } accept
		iifname "lan0" accept
	}
	chain forward { type filter hook forward priority filter; policy drop
		ct state established,related accept
		iifname "lan0" accept
	}
	chain output { type filter hook output priority filter; policy accept; }
}
`

// translation is the part of it on a router that has done without us.
const translation = `table inet nat {
	chain post { type nat hook postrouting priority srcnat
		oifname "wan*" meta nfproto ipv4 masquerade
		oifname "wan*" ip6 saddr fc00::/7 masquerade
	}
}
`

// A ruleset that begins with `flush ruleset` is loaded again and again. Where it
// translates itself, as before us, nothing is lost; where only we do, no more than what is
// on its way in the few milliseconds until our table is back. Each time that is told.
func TestFlushRuleset(t *testing.T) {
	for name, text := range map[string]string{"translating": ruleset + translation, "filtering alone": ruleset} {
		if text != ruleset && *folder == "" {
			continue // the canary is short
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, lab.Options{Firewall: lab.FirewallNone}, quick)
			file := filepath.Join(t.TempDir(), "nftables.conf")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			load := func() { h.sh("nft -f " + file) }
			load()
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			p := h.clients()
			h.goBy(fiber, p.all()...)
			began := time.Now()
			for n := range 3 {
				load()
				h.Until("the table to be back, and that to be told", func() bool {
					_, err := h.Gateway.Run("nft", "list", "table", "inet", "swerve")
					return err == nil && len(h.repairs()) > n
				})
				time.Sleep(2500 * time.Millisecond) // a person is no faster
			}
			h.goBy(fiber, p.all()...)
			if text == ruleset {
				most := 15 // of fifty a second
				if *folder == "" {
					most = 150 // this machine may be busy with other tests
				}
				worst := h.disturbed("three reloads", began, most, append(p.fresh[:], p.udp[:]...)...)
				t.Logf("at most %d of a session's packets were lost in three reloads", worst)
			} else {
				h.undisturbed("three reloads", began, p.all()...)
			}
			h.unmoved("three reloads")
			h.inPlace("after three reloads")
			h.calm("nft", 3*time.Second)
			f := h.Break(fiber, "black-hole")
			load()
			h.goBy(lte, p.fresh[:]...)
			h.Mend(f)
			h.Await("fiber to carry again", lab.Settled)
			h.Stop()
			load()
			h.Start()
			h.Await("fiber to carry after a reload without us", lab.Settled)
			h.goBy(fiber, p.fresh[:]...)
			h.inPlace("after a restart")
		})
	}
}

// A program that flushes everything all the time is countered at a bounded rate, and the
// status says that somebody does.
func TestFlushesAllTheTime(t *testing.T) {
	t.Parallel()
	h := startHouse(t, masqueraded, quick)
	w, stop := h.watchWrites()
	began, flushes := time.Now(), 0
	var p *control.Problem
	h.Until("the problem", func() bool {
		h.sh("nft flush ruleset")
		flushes++
		p = h.problem("contested", "kernel")
		return p != nil
	})
	span := time.Since(began)
	stop()
	n := len(h.repairs())
	t.Logf("%d flushes in %v, %d repairs; %d lines of changes by us", flushes, span, n, w.ours)
	if p.Severity != control.Warning || !strings.Contains(p.Text, "table inet swerve") {
		t.Errorf("the problem is %+v", p)
	}
	// Each pause is twice the one before.
	if n > 8+int(span/(5*time.Second)) {
		t.Errorf("%d repairs in %v", n, span)
	}
	h.inPlace("in the end")
}

// vpn connects the gateway with the internet past all uplinks, as a VPN does, and has
// the gateway masquerade there.
func (h *house) vpn() {
	h.t.Helper()
	if err := netns.Veth(h.Gateway, "vpn0", h.Internet, "vpn0"); err != nil {
		h.t.Fatal(err)
	}
	h.at(h.Internet, "ip addr add 10.8.0.1/24 dev vpn0; ip -6 addr add fd08::1/64 dev vpn0 nodad; ip link set vpn0 up")
	h.sh(`ip addr add 10.8.0.2/24 dev vpn0; ip -6 addr add fd08::2/64 dev vpn0 nodad; ip link set vpn0 up
		nft 'table inet vpn { chain post { type nat hook postrouting priority srcnat; oifname "vpn0" masquerade; }; }'`)
}

// beyond are the gateway's addresses by the VPN.
var beyond = [2]netip.Addr{netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("fd08::2")}

// What VPNs write when they take all traffic: wg-quick, tailscale with an exit node, and
// OpenVPN with halves of the default route or one in its place. They come and go while we
// run, and are there at a start of ours: new sessions go by them from then on, as without
// us, also over a failover, and by the uplinks when they are gone.
func TestRoutesOfVPNs(t *testing.T) {
	for _, c := range vpns() {
		if c.name != "wg-quick" && *folder == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, masqueraded, quick)
			h.vpn()
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			p := h.clients()
			h.goBy(fiber, p.all()...)
			byVPN := func() {
				t.Helper()
				for _, f := range failover.Families {
					h.goFrom(beyond[f], p.fresh[f])
				}
			}
			h.sh(c.up)
			byVPN()
			h.Await("both uplinks to stay up beside it", lab.AllUp)
			h.calm(c.name, 3*time.Second)
			f := h.Break(fiber, "black-hole")
			h.Await("lte to carry", lab.CarriedBy("lte"))
			byVPN()
			h.Mend(f)
			h.Await("fiber to carry again", lab.Settled)
			h.Stop()
			byVPN()
			h.Start()
			h.Await("fiber to carry after our start", lab.Settled)
			byVPN()
			h.sh(c.down)
			h.goBy(fiber, p.fresh[:]...)
			h.inPlace("after its end")
			h.calm(c.name+", ended", 2*time.Second)
		})
	}
}

// OpenVPN without def1 deletes main's default route and puts its own in its place, behind
// a host route to its server by the uplink. The VPN has the traffic meanwhile; the uplink
// keeps its gateway, and the status says that the server is tied to it.
func TestDefaultOfOpenVPN(t *testing.T) {
	if *folder == "" {
		return // in the long run only
	}
	t.Parallel()
	h := newHouse(t, masqueraded, quick)
	h.at(h.Internet, `ip addr add 198.18.0.20/32 dev lo
		ip link add vpn0 type vxlan id 7 dstport 4789 local 198.18.0.20 noudpcsum; ip addr add 10.8.0.1/24 dev vpn0; ip link set vpn0 mtu 1400 up`)
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	p := h.clients()
	h.goBy(fiber, p.all()...)
	h.sh(`ip link add vpn0 type vxlan id 7 remote 198.18.0.20 dstport 4789 noudpcsum; ip addr add 10.8.0.2/24 dev vpn0; ip link set vpn0 mtu 1400 up
		nft 'table inet vpn { chain post { type nat hook postrouting priority srcnat; oifname "vpn0" masquerade; }; }'
		ip route add 198.18.0.20 via 203.0.113.1 dev wan0; ip route del default via 203.0.113.1; ip route add default via 10.8.0.1 dev vpn0`)
	h.goFrom(beyond[failover.IPv4], p.fresh[failover.IPv4])
	h.goBy(fiber, p.fresh[failover.IPv6])
	h.Await("both uplinks to stay up beside it", lab.AllUp)
	if p := h.problem("foreign-default", "vpn0"); p == nil {
		t.Errorf("problems: %+v", h.Status().Problems)
	}
	f := h.Break(fiber, "black-hole")
	h.Await("lte to carry", lab.CarriedBy("lte"))
	h.goBy(lte, p.fresh[failover.IPv6])
	h.silent(p.fresh[failover.IPv4]) // as without us: its server is reached by fiber alone
	if p := h.problem("pinned-route", "198.18.0.20"); p == nil || !strings.Contains(p.Text, "wan0") {
		t.Errorf("the problem is %+v of %+v", p, h.Status().Problems)
	}
	h.Mend(f)
	h.Await("fiber to carry again", lab.Settled)
	h.goFrom(beyond[failover.IPv4], p.fresh[failover.IPv4])
	h.Await("no pin any more", func(*control.Status) bool { return h.problem("pinned-route", "198.18.0.20") == nil })
	h.sh(`ip route del 198.18.0.20; ip route del default via 10.8.0.1; ip route add default via 203.0.113.1 dev wan0; ip link del vpn0`)
	h.goBy(fiber, p.fresh[:]...)
	h.inPlace("after its end")
	h.calm("OpenVPN, ended", 2*time.Second)
}

// A routing daemon's own default routes are what it chose, and stay where it put them:
// beside one by a dead uplink no route of ours stands that is better, since it would take
// its own out for that, and ours away in turn. The mirror in main is worse than what FRR
// takes from the kernel, so that it announces none of it.
func TestDefaultsOfRoutingDaemons(t *testing.T) {
	t.Parallel()
	h := newHouse(t, masqueraded, quick)
	h.sh(`ip route del default dev wan0; ip route del default dev wan1
		ip route add default via 203.0.113.1 dev wan0 proto bgp metric 20; ip route add default via 198.51.100.1 dev wan1 proto bgp metric 21`)
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	p := h.clients()
	h.goBy(fiber, p.all()...)
	h.calm("a routing daemon", 2*time.Second)
	f := h.Break(fiber, "black-hole")
	h.Await("lte to carry", lab.CarriedBy("lte"))
	h.goBy(lte, p.fresh[:]...)
	if main := h.sh("ip -4 route show table main default"); strings.Contains(main, "metric 19 ") || strings.Contains(main, "metric 5") {
		t.Errorf("in main:\n%s", main)
	}
	h.Await("the problem", func(*control.Status) bool { return h.problem("main-leads-to-dead", "wan0") != nil })
	h.Await("fiber to be down in IPv6", func(s *control.Status) bool { return s.Uplinks[fiber].IPv6.State == control.Down })
	if main := h.sh("ip -6 route show table main default"); !strings.Contains(main, "proto 83") {
		t.Errorf("in main:\n%s", main)
	}
	h.calm("a routing daemon", 2*time.Second)
	h.Mend(f)
	h.Await("fiber to carry again", lab.Settled)
}

// Other programs filter reverse paths as the kernel's rp_filter does, firewalld in IPv6: an
// uplink that was down is seen to answer again.
func TestFilterOfReversePaths(t *testing.T) {
	t.Parallel()
	h := newHouse(t, masqueraded, quick)
	h.sh(`nft 'table inet reverse { chain pre { type filter hook prerouting priority mangle + 10; iifname "wan*" fib saddr . mark . iif oif missing drop; }; }'`)
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	p := h.clients()
	h.goBy(fiber, p.all()...)
	for range 2 {
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		h.Await("fiber to be down", func(s *control.Status) bool {
			return s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
		})
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		h.goBy(fiber, p.fresh[:]...)
	}
	h.inPlace("in the end")
}

// keepalived adds addresses to the LAN and to an uplink, and takes them away: nothing
// moves, and what uses the uplink's own address goes on.
func TestAddressesThatComeAndGo(t *testing.T) {
	if *folder == "" {
		return // in the long run only
	}
	t.Parallel()
	h := startHouse(t, masqueraded, quick)
	p := h.clients()
	h.goBy(fiber, p.all()...)
	began := time.Now()
	for range 3 {
		h.sh(`ip addr add 192.168.10.254/32 dev lan0; ip addr add 203.0.113.50/24 dev wan0; ip addr add 203.0.113.51/32 dev wan0
			ip -6 addr add fd00:10::fe/128 dev lan0 nodad; ip -6 addr add 2001:db8:1::50/128 dev wan0 nodad preferred_lft 0`)
		time.Sleep(500 * time.Millisecond)
		h.goBy(fiber, p.all()...)
		h.sh(`ip addr del 192.168.10.254/32 dev lan0; ip addr del 203.0.113.50/24 dev wan0; ip addr del 203.0.113.51/32 dev wan0
			ip -6 addr del fd00:10::fe/128 dev lan0; ip -6 addr del 2001:db8:1::50/128 dev wan0`)
		time.Sleep(500 * time.Millisecond)
	}
	h.goBy(fiber, p.all()...)
	h.undisturbed("addresses that come and go", began, p.all()...)
	h.unmoved("addresses that come and go")
	h.inPlace("without them")
}

// vpns are what VPNs do to routes and rules, and how they take it back.
func vpns() []struct{ name, up, down string } {
	const each = "for f in 4 6; do [ $f = 4 ] && via=10.8.0.1 || via=fd08::1; %s; done"
	return []struct{ name, up, down string }{
		{"wg-quick", fmt.Sprintf(each, `ip -$f route add default via $via dev vpn0 table 51820
			ip -$f rule add not fwmark 51820 table 51820; ip -$f rule add table main suppress_prefixlength 0`) + `
			nft 'table ip wg-quick-vpn0 { chain premangle { type filter hook prerouting priority mangle; meta l4proto udp meta mark set ct mark; }
				chain postmangle { type filter hook postrouting priority mangle; meta l4proto udp mark 51820 ct mark set mark; }; }'`,
			// As the script does: while there is one, whoever made it.
			fmt.Sprintf(each, `while ip -$f rule show | grep -q 'lookup 51820'; do ip -$f rule delete table 51820; done
			while ip -$f rule show | grep -q 'from all lookup main suppress_prefixlength 0'; do ip -$f rule delete table main suppress_prefixlength 0; done
			ip -$f route flush table 51820`) + `
			nft delete table ip wg-quick-vpn0`},
		{"tailscale", fmt.Sprintf(each, `ip -$f route add default via $via dev vpn0 table 52
			ip -$f rule add pref 5210 fwmark 0x80000/0xff0000 lookup main; ip -$f rule add pref 5230 fwmark 0x80000/0xff0000 lookup default
			ip -$f rule add pref 5250 fwmark 0x80000/0xff0000 unreachable; ip -$f rule add pref 5270 lookup 52`) + `
			ip route add throw 192.168.10.0/24 table 52; ip -6 route add throw fd00:10::/64 table 52
			nft 'table ip ts { chain post { type nat hook postrouting priority srcnat; meta mark and 0xff0000 == 0x40000 masquerade; }
				chain forward { type filter hook forward priority filter; iifname "vpn0" meta mark set meta mark and 0xff00ffff or 0x40000; }; }'`,
			fmt.Sprintf(each, `for pref in 5210 5230 5250 5270; do ip -$f rule del pref $pref; done; ip -$f route flush table 52`) + `
			nft delete table ip ts`},
		{"OpenVPN, def1", `ip route add 198.18.0.20 via 203.0.113.1 dev wan0
			ip route add 0.0.0.0/1 via 10.8.0.1; ip route add 128.0.0.0/1 via 10.8.0.1; ip -6 route add ::/3 dev vpn0 via fd08::1; ip -6 route add 2000::/4 via fd08::1`,
			`ip route del 198.18.0.20; ip route del 0.0.0.0/1; ip route del 128.0.0.0/1; ip -6 route del ::/3; ip -6 route del 2000::/4`},
	}
}

// A rule leads TCP to a policy of lte. Beside a VPN's halves of a default in main it goes by
// it, from the VPN's start to its end, while uplinks fail; a VPN whose rules come before
// ours, or whose routes are narrower, takes it with all else, and gives it back. The VPN's
// rules stay as they are.
func TestPoliciesBesideVPNs(t *testing.T) {
	const office = quick + "policies: [{name: office, tiers: [lte]}]\nrules: [{proto: tcp, use: office}]\n"
	for _, c := range vpns() {
		if c.name == "tailscale" && *folder == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, masqueraded, office)
			h.vpn()
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			var tcp, udp [2]*session
			for _, f := range failover.Families {
				tcp[f], udp[f] = h.session(h.Client, traffic.TCPSessions, lab.Servers[f]), h.session(h.Client, traffic.UDPSessions, lab.Servers[f])
			}
			byVPN := func(office int) {
				t.Helper()
				for _, f := range failover.Families {
					h.goFrom(beyond[f], udp[f])
					if halves := c.name == "OpenVPN, def1" && f == failover.IPv4; halves {
						h.goBy(office, tcp[f])
					} else {
						h.goFrom(beyond[f], tcp[f])
					}
				}
			}
			foreign := func() string { return h.sh("(ip rule; ip -6 rule) | grep -v 'proto 83'") }
			h.goBy(fiber, udp[:]...)
			h.goBy(lte, tcp[:]...)
			h.sh(c.up)
			rules := foreign()
			byVPN(lte)
			for _, uplink := range []int{fiber, lte} {
				f := h.Break(uplink, "black-hole")
				if uplink == lte {
					byVPN(fiber)
				} else {
					h.Await("lte to carry", lab.CarriedBy("lte"))
					byVPN(lte)
				}
				h.Mend(f)
				h.Await("fiber to carry again", lab.Settled)
			}
			h.Stop()
			byVPN(lte)
			h.Start()
			h.Await("fiber to carry after our start", lab.Settled)
			byVPN(lte)
			if now := foreign(); now != rules {
				t.Errorf("rules of others were\n%s\nand are\n%s", rules, now)
			}
			h.sh(c.down)
			h.goBy(fiber, udp[:]...)
			h.goBy(lte, tcp[:]...)
			h.inPlace("after its end")
		})
	}
}
