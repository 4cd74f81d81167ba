package firewall

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// proxies has the gateway answer what the LAN sends to TCP port 7000 of any host, by a
// transparent proxy, under conditions of nft(8).
func (l *lab) proxies(f failover.Family, conditions string) {
	l.t.Helper()
	var proxy net.Listener
	transparent := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		level, option := unix.SOL_IP, unix.IP_TRANSPARENT
		if f == failover.IPv6 {
			level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		if failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); failed != nil {
			return failed
		}
		return err
	}}
	to := map[failover.Family]string{failover.IPv4: "127.0.0.1:9000", failover.IPv6: "[::1]:9000"}[f]
	run(l.t, l.gw, "ip", "link", "set", "lo", "up")
	inside(l.t, l.gw, func() (err error) {
		proxy, err = transparent.Listen(context.Background(), "tcp", to)
		return err
	})
	l.t.Cleanup(func() { proxy.Close() })
	go func() {
		for {
			c, err := proxy.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	p := plans[f]
	everything := map[failover.Family]string{failover.IPv4: "0.0.0.0/0", failover.IPv6: "::/0"}[f]
	run(l.t, l.gw, "ip", p.flag, "route", "add", "local", everything, "dev", "lo", "table", "99")
	run(l.t, l.gw, "ip", p.flag, "rule", "add", "pref", "50", "fwmark", "1/1", "lookup", "99")
	loadText(l.t, l.gw, fmt.Sprintf(`table inet proxy { chain pre { type filter hook prerouting priority mangle;
	meta nfproto %s tcp dport 7000 %s tproxy %s to %s meta mark set meta mark | 1 accept;
}
}`, map[failover.Family]string{failover.IPv4: "ipv4", failover.IPv6: "ipv6"}[f], conditions, p.family, to))
}

// What a transparent proxy on this machine answers never left by an uplink, and shows no
// native network; what the proxy does not take does.
func TestProxiedFlowsShowNothing(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			loadText(t, l.gw, trackOwnEarly)
			l.proxies(f, `iifname "lan0"`)
			dialTCP(t, l.client, at(p.host, 7000))
			if a := l.adopt(1, 2); len(a.Native)+len(a.Plain) > 0 {
				t.Fatalf("by a flow to the proxy: %+v", a)
			}
			serveTCP(t, l.net, at(p.host, 5000))
			l.carriesLAN(f)
			askTCP(dialTCP(t, l.client, at(p.host, 5000)))
			if a := l.adopt(1, 2); len(a.Native) != 1 || !slices.Equal(a.Native[1], []netip.Prefix{lanOf(f)}) {
				t.Errorf("by a flow beside the proxy: %+v", a)
			}
		})
	}
}

// The conditions of rules for transparent proxies are understood where they are simple;
// others exclude nothing.
func TestConditionsOfProxies(t *testing.T) {
	to := func(protocol byte, port uint16, dst string) flow {
		return flow{protocol: protocol, ports: [2]uint16{1000, port}, dst: netip.MustParseAddr(dst)}
	}
	for _, c := range []struct {
		rule  string
		flow  flow
		lo    bool // it comes in by lo, else by another device
		takes bool
	}{
		{"meta l4proto tcp", to(6, 443, "192.0.2.1"), true, true},
		{"meta l4proto tcp", to(17, 443, "192.0.2.1"), true, false},
		{"meta l4proto { tcp, udp }", to(17, 443, "192.0.2.1"), true, true},
		{"meta l4proto { tcp, udp }", to(1, 0, "192.0.2.1"), true, false},
		{"ip protocol tcp th dport 80", to(6, 80, "192.0.2.1"), true, true},
		{"ip protocol tcp th dport 80", to(6, 81, "192.0.2.1"), true, false},
		{"tcp dport { 80, 443 }", to(6, 443, "192.0.2.1"), true, true},
		{"tcp dport { 80, 443 }", to(6, 444, "192.0.2.1"), true, false},
		{"tcp dport 80-90", to(6, 444, "192.0.2.1"), true, true},
		{"tcp dport { 80-90, 443 }", to(6, 444, "192.0.2.1"), true, true},
		{"tcp dport != 80", to(6, 444, "192.0.2.1"), true, true},
		{`iifname "lo" tcp dport 80`, to(6, 80, "192.0.2.1"), true, true},
		{`iifname "lo" tcp dport 80`, to(6, 80, "192.0.2.1"), false, false},
		{`iifname "l*" tcp dport 80`, to(6, 80, "192.0.2.1"), false, true},
		{`iifname "absent" tcp dport 80`, to(6, 80, "192.0.2.1"), true, false},
		{"ip daddr 192.0.2.1 tcp dport 80", to(6, 80, "192.0.2.1"), true, true},
		{"ip daddr 192.0.2.1 tcp dport 80", to(6, 80, "192.0.2.2"), true, false},
		{"ip daddr 192.0.2.0/24 tcp dport 80", to(6, 80, "192.0.3.2"), true, true},
		{"ip saddr 192.0.2.1 tcp dport 80", to(6, 80, "192.0.3.2"), true, true},
	} {
		ns := netns.New(t)
		run(t, ns, "nft", "table ip t { chain pre { type filter hook prerouting priority mangle; "+c.rule+" tproxy to :9000 accept; }; }")
		err := ns.Do(func() error {
			w, err := newWays(Goal{})
			if err != nil {
				return err
			}
			defer w.close()
			found, device := readProxies(w.handle), 7
			if c.lo {
				device = 1
			}
			if len(found) != 1 || found[0].takes(c.flow, device) != c.takes {
				t.Errorf("%s: %+v; want %t for %+v by %d", c.rule, found, c.takes, c.flow, device)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
