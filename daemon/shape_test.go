package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/netns"
)

// shapeDefaults adds attributes to the default routes of wan0 and wan1.
func (g *gateway) shapeDefaults(wan0, wan1 string) {
	g.t.Helper()
	g.sh(`ip -4 route replace default via 203.0.113.1 dev wan0 proto dhcp metric 100 ` + wan0 + `
		ip -4 route replace default via 198.51.100.1 dev wan1 proto dhcp metric 101 ` + wan1 + `
		ip -6 route replace default via 2001:db8:1::1 dev wan0 proto ra metric 1024 ` + wan0 + `
		ip -6 route replace default via 2001:db8:2::1 dev wan1 proto ra metric 1025 ` + wan1)
}

// ours returns our default routes by a device, one a line, in all tables.
func (g *gateway) ours(device string) []string {
	g.t.Helper()
	out := g.sh("ip -4 route show table all proto 83; ip -6 route show table all proto 83")
	var lines []string
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "dev "+device+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// awaitShape waits until every route of ours by a device has the same attributes.
func (g *gateway) awaitShape(device, want string) {
	g.t.Helper()
	var last []string
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		last = g.ours(device)
		right := len(last) == 6 // of two families: the uplink's own, the policy's, the copy in main
		for _, line := range last {
			right = right && strings.Contains(line, want+" ")
		}
		if right {
			return
		}
	}
	g.t.Fatalf("the routes by %s do not have %q:\n%s", device, want, strings.Join(last, "\n"))
}

// The attributes of a learned default route are copied to every route of ours,
// follow its changes, and are restored if others change them.
func TestShapeComesAlong(t *testing.T) {
	g := newGateway(t)
	const many = "mtu lock 1400 window 60000 advmss 1300 hoplimit 60 initcwnd 20 rto_min lock 40ms initrwnd 30 quickack 1 congctl lock reno"
	g.shapeDefaults(strings.Replace(many, "rto_min lock", "rto_min", 1), "mtu 1350")
	p := g.run()
	g.awaitShape("wan0", many)
	g.awaitShape("wan1", "mtu 1350")
	if got := g.do("plan", nil); got != "" {
		t.Errorf("there is still to do:\n%s", got)
	}
	g.shapeDefaults("mtu 1300", "mtu 1350")
	g.awaitShape("wan0", "mtu 1300")
	g.sh("ip -4 route replace default via 203.0.113.1 dev wan0 onlink proto 83 metric 1 table 5364 mtu 1000")
	g.awaitShape("wan0", "mtu 1300")
	if s, err := p.client.Status(t.Context()); err != nil || s.SwitchesTotal != 0 {
		t.Errorf("the changes are taken for a switch: %v, %+v", err, s)
	}
	g.configureUplinks(`route: {mtu: 1280, congctl: nonesuch}, route6: {mtu: 1290}`)
	p.reload()
	p.await("the kernel's refusal", func(s *control.Status) bool {
		return hasProblem(s, "uplink-refused", "fiber") && strings.Contains(fmt.Sprint(s.Problems), "refuses congctl nonesuch in the ipv4 default")
	})
	for _, line := range g.ours("wan0") { // one refused value does not cost the others
		if !strings.Contains(line, "mtu 1280 ") && !strings.Contains(line, "mtu 1290 ") || strings.Contains(line, "nonesuch") {
			t.Errorf("with a refused value: %s", line)
		}
	}
	g.configureUplinks(`route: {mtu: 1280}, route6: {mtu: 1280}`)
	p.reload()
	g.awaitShape("wan0", "mtu 1280")
	p.await("no problem", func(s *control.Status) bool { return untroubled(s) })
}

// reload has the daemon read its configuration again.
func (p *process) reload() {
	p.g.t.Helper()
	_, err := p.client.Reload(p.g.t.Context(), 0)
	p.g.must(err)
}

func hasProblem(s *control.Status, code, object string) bool {
	for _, p := range s.Problems {
		if p.Code == code && p.Object == object {
			return true
		}
	}
	return false
}

// A provider silently drops packets over 1400 bytes: uploads of a LAN client and of
// the gateway work by each uplink as they did without the daemon.
func TestUploadsByASmallMTU(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	lan := netns.New(t)
	g.must(netns.Veth(g.ns, "lan0", lan, "lan0"))
	for i, ns := range []*netns.NS{g.ns, lan} {
		g.must(ns.SetUp("lan0"))
		g.must(ns.AddAddr("lan0", netip.MustParsePrefix(fmt.Sprintf("192.168.7.%d/24", i+1))))
		g.must(ns.AddAddr("lan0", netip.MustParsePrefix(fmt.Sprintf("fd00:7::%d/64", i+1))))
	}
	for _, command := range []string{
		"ip link set lan0 gso_max_segs 1", "ip -4 route add default via 192.168.7.1", "ip -6 route add default via fd00:7::1",
	} {
		_, err := lan.Run("sh", "-ec", command)
		g.must(err)
	}
	g.sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		ip link set wan0 gso_max_segs 1; ip link set wan1 gso_max_segs 1; ip link set lan0 gso_max_segs 1
		nft add table inet nat; nft add chain inet nat post '{ type nat hook postrouting priority 100; }'
		nft add rule inet nat post oifname '"wan*"' masquerade`)
	_, err := g.isp.Run("sh", "-ec", `ip addr add 192.0.2.77/32 dev lo; ip -6 addr add 2001:db8:77::1/128 dev lo nodad
		nft add table inet cut; nft add chain inet cut in '{ type filter hook prerouting priority -300; }'
		nft add rule inet cut in iifname '"wan*"' meta length '>' 1400 drop`)
	g.must(err)
	servers := map[string]netip.AddrPort{"IPv4": g.sink("192.0.2.77"), "IPv6": g.sink("2001:db8:77::1")}
	uploads := func(when string) {
		t.Helper()
		for family, server := range servers {
			for who, ns := range map[string]*netns.NS{"the LAN": lan, "the gateway": g.ns} {
				if err := upload(t, ns, server, 20*time.Second); err != nil {
					t.Fatalf("%s: an upload of %s by %s: %v", when, who, family, err)
				}
			}
		}
	}
	if err := upload(t, lan, servers["IPv4"], 2*time.Second); err == nil {
		t.Fatal("the provider drops nothing")
	}
	g.shapeDefaults("mtu 1400", "mtu 1400")
	g.sh("ip -4 route flush cache; ip -6 route flush cache")
	uploads("before the start")
	p := g.run()
	uploads("with the daemon")
	p.await("the start is over", func(s *control.Status) bool { return s.Now.Sub(s.Daemon.Since.Time) > 3*time.Second })
	g.must(g.isp.SetDown("wan0"))
	p.await("traffic left", func(s *control.Status) bool { return s.SwitchesTotal == 2 })
	uploads("by the next rung")
	_ = p.end(syscall.SIGKILL)
	uploads("without the daemon")
}

// sink runs a server behind the providers that reports to each client how many
// bytes it received from it.
func (g *gateway) sink(address string) netip.AddrPort {
	g.t.Helper()
	l, err := g.isp.Listen("tcp", net.JoinHostPort(address, "0"))
	g.must(err)
	g.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				n, _ := io.Copy(io.Discard, c)
				fmt.Fprint(c, n)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// upload sends 300,000 bytes and waits until the server confirms them.
func upload(t *testing.T, ns *netns.NS, to netip.AddrPort, within time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := ns.DialTCP(ctx, to)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write(make([]byte, 300_000)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && string(got) != "300000" {
		err = fmt.Errorf("the server got %s bytes", got)
	}
	return err
}

// An uplink whose interface does not exist, or has a name that no rule can hold,
// does not affect the others.
func TestAbsentAltnameKeepsNothingBack(t *testing.T) {
	g := newGateway(t)
	g.uplinks("- {name: stick, interface: modem-usb-stick-left}\n  - {name: fiber, interface: wan0}\n  - {name: lte, interface: wan1}")
	p := g.start()
	p.await("the others are up", func(s *control.Status) bool {
		return len(s.Uplinks) == 3 && s.Uplinks[1].IPv4.State == control.Up && s.Uplinks[2].IPv4.State == control.Up &&
			s.Uplinks[1].IPv6.State == control.Up && !hasCode(s, "kernel-refused")
	})
	p.await("the start is over", func(s *control.Status) bool { return s.Now.Sub(s.Daemon.Since.Time) > 3*time.Second })
	g.must(g.isp.SetDown("wan0"))
	p.await("traffic left", func(s *control.Status) bool { return s.LastSwitch != nil && s.LastSwitch.To[0] == "lte" })
	for begin := time.Now(); !strings.Contains(g.sh("nft list map inet swerve dead_ipv4"), "dead_"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("fiber's flows are not let go of")
		}
	}
	// The interface appears, under another name.
	g.sh("ip link add wwx1 type veth peer name wwx2; ip link property add dev wwx1 altname modem-usb-stick-left; ip link set wwx1 up")
	for begin := time.Now(); !strings.Contains(g.sh("ip -4 rule"), "oif wwx1"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("no rule for it:\n%s", g.sh("ip -4 rule"))
		}
	}
	if s, err := p.client.Status(t.Context()); err != nil || hasCode(s, "kernel-refused") {
		t.Errorf("%v, %+v", err, s)
	}
}

// Under `uplinks: auto` a default route that two interfaces share becomes one tier,
// with its weights, whether it has its next hops itself or a group of nexthop objects.
func TestAutoSharesATier(t *testing.T) {
	for name, add := range map[string]string{
		"multipath": "ip -4 route add default proto dhcp metric 100 mtu 1400 nexthop via 203.0.113.1 dev wan0 weight 3 nexthop via 198.51.100.1 dev wan1 weight 1",
		"group of nexthop objects": `ip nexthop add id 1 via 203.0.113.1 dev wan0; ip nexthop add id 2 via 198.51.100.1 dev wan1; ip nexthop add id 3 group 1,3/2,1
			ip -4 route add default proto dhcp metric 100 mtu 1400 nhid 3`,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.sh("ip -4 route del default; ip -4 route del default; ip -6 route flush default\n" + add)
			g.must(os.WriteFile(g.config(), []byte(fmt.Sprintf("uplinks: auto\nstate: %s/state\n", g.folder)), 0o600))
			script := g.do("plan", nil)
			const want = "ip -4 route replace default table 5364 proto 83 metric 1 mtu 1400 " +
				"nexthop via 203.0.113.1 dev wan0 onlink weight 3 nexthop via 198.51.100.1 dev wan1 onlink weight 1\n"
			if !strings.Contains(script, want) {
				t.Errorf("the plan lacks\n%s\nit is\n%s", want, script)
			}
		})
	}
}
