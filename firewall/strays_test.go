package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// Answers to flows that came in by an uplink never leave by another one, also if the
// uplinks' addresses are not known.
func TestInboundAnswersNeverLeaveElsewhere(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].Addresses, l.goal.Uplinks[1].Addresses = nil, nil
	l.apply()
	l.watchWrong()
	p := plans[0]
	server, err := l.gw.ListenPacket("udp", at(p.a, 2222))
	l.must(err)
	defer server.Close()
	c := dialFromUDP(t, l.net, p.host, at(p.a, 2222))
	c.Write([]byte("?"))
	buf := make([]byte, 10)
	_, from, err := server.ReadFrom(buf)
	l.must(err)
	server.WriteTo([]byte("!"), from)
	l.prefer("wan1", "wan0")
	l.batch(p.flag, "route flush table 5301") // so that neither lane nor address leads there
	before := l.counters().Stray.Packets
	if _, err := server.WriteTo([]byte("!"), from); !errors.Is(err, unix.EPERM) {
		t.Errorf("the answer was sent: %v", err)
	}
	if got := l.counters().Stray.Packets; got != before+1 {
		t.Errorf("%d strays, want %d", got, before+1)
	}
	l.noneWrong()
}

// Even if nothing is masqueraded, a socket bound to one uplink's address cannot send
// by the other.
func TestOthersAddressesNeverLeave(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			for i := range l.goal.Uplinks {
				l.goal.Uplinks[i].SNAT, l.goal.Uplinks[i].SNAT6 = false, None
			}
			l.apply()
			l.watchWrong()
			p := plans[f]
			serveUDP(t, l.net, at(p.host, 5000))
			l.prefer("wan1", "wan0")
			l.batch(p.flag, "rule del pref 5451")
			c := dialFromUDP(t, l.gw, p.a, at(p.host, 5000))
			if _, err := c.Write([]byte("?")); !errors.Is(err, unix.EPERM) {
				t.Errorf("a packet from %s was sent by the other uplink: %v", p.a, err)
			}
			if got := l.counters().Stray.Packets; got != 1 {
				t.Errorf("%d strays were counted, want 1", got)
			}
			if got := askUDP(t, dialFromUDP(t, l.gw, p.b, at(p.host, 5000))); got != p.b {
				t.Errorf("from its own address the server saw %s", got)
			}
			l.noneWrong()
		})
	}
}

// Packets to an address that is gone are dropped, whether the kernel knows their flow
// or not. Otherwise they would be forwarded, and leave masqueraded as another
// uplink.
func TestLateAnswersStayInside(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			server, err := l.net.ListenPacket("udp", at(p.host, 5000))
			l.must(err)
			defer server.Close()
			known := l.asks(server, dialUDP(t, l.gw, at(p.host, 5000)))
			forgotten := l.asks(server, dialUDP(t, l.client, at(p.host, 5000)))
			l.loseAddress(p)
			for _, to := range []net.Addr{known, forgotten} {
				// The kernel removes the entries of an address with a delay: an early
				// answer is still delivered.
				before := l.counters().Stray.Packets
				until(t, "a stray", func() bool {
					server.WriteTo([]byte("!"), to)
					return l.counters().Stray.Packets > before
				})
			}
			l.noneWrong()
		})
	}
}

// asks sends a packet to a server, and returns the client's address as the server
// sees it.
func (l *lab) asks(server net.PacketConn, client net.Conn) (from net.Addr) {
	l.t.Helper()
	client.Write([]byte("?"))
	_, from, err := server.ReadFrom(make([]byte, 10))
	l.must(err)
	return from
}

// loseAddress removes wan0's address, and has new flows use wan1. The ISP still
// sends packets for the address to wan0.
func (l *lab) loseAddress(p plan) {
	l.t.Helper()
	link, err := l.gw.Netlink().LinkByName("wan0")
	l.must(err)
	run(l.t, l.net, "ip", "neigh", "replace", p.a, "lladdr", link.Attrs().HardwareAddr.String(), "dev", "ispA", "nud", "permanent")
	run(l.t, l.gw, "ip", "addr", "del", fmt.Sprintf("%s/%d", p.a, p.bits), "dev", "wan0")
	l.prefer("wan1", "wan0")
}

// A segment that conntrack considers invalid is not translated, so it is dropped.
func TestInvalidPacketsStayInside(t *testing.T) {
	l := newLab(t)
	l.apply()
	l.watchWrong()
	p := plans[0]
	serveTCP(t, l.net, at(p.host, 5000))
	run(t, l.gw, "sh", "-c", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose")
	c := dialTCP(t, l.client, at(p.host, 5000))
	askTCP(c)
	run(t, l.gw, "conntrack", "-F")
	c.Write([]byte("?\n"))
	until(t, "a stray", func() bool { return l.counters().Stray.Packets > 0 })
	l.noneWrong()
}

// Pokes leave no trace in conntrack.
func TestPokesAreNotTracked(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	dialMarked(t, l.gw, at(p.client, 7), 0).Write([]byte("?"))
	dialMarked(t, l.gw, at(p.client, 8), 0x7f000000).Write([]byte("?"))
	out := l.flows("-p", "udp")
	if !strings.Contains(out, "dport=7 ") || strings.Contains(out, "dport=8 ") {
		t.Errorf("of the two, the poke alone should have no entry:\n%s", out)
	}
}

// The user's rules apply to the first packets of flows, never to answers: those of a
// flow that came in from a VPN would match too.
func TestRulesSeeNoAnswers(t *testing.T) {
	l := newLab(t)
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 65, Name: "guests", Uplinks: []lane.Lane{2}})
	l.veth(l.gw, "vpn0", l.net, "vpn1")
	l.address(l.gw, "vpn0", "10.9.0.1", 24)
	l.address(l.net, "vpn1", "10.9.0.2", 24)
	run(t, l.net, "ip", "route", "add", "192.168.1.0/24", "via", "10.9.0.1")
	l.apply()
	loadText(t, l.gw, "add rule inet swerve by_rules ip saddr 192.168.1.0/24 goto new_65\n"+
		"add rule inet swerve by_rules ip saddr 192.168.1.1 goto new_65\n")
	p := plans[0]
	serveUDP(t, l.client, at(p.client, 5000))
	serveUDP(t, l.gw, at(p.lan, 5000))
	for _, to := range []string{p.client, p.lan} {
		if got := askUDP(t, dialUDP(t, l.net, at(to, 5000))); got != "10.9.0.2" {
			t.Errorf("%s saw %s", to, got)
		}
	}
	if out := l.flows("-p", "udp"); strings.Count(out, "mark=0 ") != 2 {
		t.Errorf("a flow of the VPN has lanes:\n%s", out)
	}
}

// The user's rules do not apply to marked sockets of the gateway either.
func TestRulesSeeNoMarkedSockets(t *testing.T) {
	l := newLab(t)
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 65, Name: "guests", Uplinks: []lane.Lane{2}})
	l.apply()
	loadText(t, l.gw, "add rule inet swerve by_rules udp dport 5000 goto new_65\n")
	p := plans[0]
	serveUDP(t, l.net, at(p.host, 5000))
	l.batch(p.flag, "rule add pref 100 fwmark 0xca6c lookup 5301")
	if got := askUDP(t, dialMarked(t, l.gw, at(p.host, 5000), 0xca6c)); got != p.a {
		t.Errorf("it left as %s", got)
	}
	if out := l.flows("-p", "udp"); !strings.Contains(out, "mark=0 ") {
		t.Errorf("its flow has lanes:\n%s", out)
	}
}

// dialFromUDP opens a connected UDP socket that is bound to an address.
func dialFromUDP(t *testing.T, ns *netns.NS, from, to string) (c net.Conn) {
	t.Helper()
	return dialFromPort(t, ns, from, 0, to)
}

func dialFromPort(t *testing.T, ns *netns.NS, from string, port int, to string) (c net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from), Port: port}, Timeout: 10 * time.Second}
	inside(t, ns, func() (err error) {
		c, err = d.DialContext(t.Context(), "udp", to)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// Where masquerading would choose another source than the route prefers, sources are
// translated to that one, except on the uplink's own link. By another uplink it is a
// stray, unless that carries its network without NAT.
func TestPreferredSourceOfAnUplink(t *testing.T) {
	g := twoUplinks()
	u := &g.Uplinks[0]
	u.Addresses = nil
	for _, a := range []string{"10.66.0.2", "198.51.77.9", "2001:db8:66::2", "2001:db8:77::9"} {
		u.Addresses = append(u.Addresses, netip.MustParseAddr(a))
	}
	u.Source = [2]netip.Addr{netip.MustParseAddr("198.51.77.9"), netip.MustParseAddr("2001:db8:77::9")}
	u.Links, u.Native6 = prefixes("10.66.0.0/30", "2001:db8:66::/64"), nil
	for _, want := range []string{
		"ip saddr { 10.66.0.2, 198.51.77.9 } accept",
		"meta nfproto ipv4 ip daddr 10.66.0.0/30 masquerade\n    meta nfproto ipv4 snat ip to 198.51.77.9\n",
		"meta nfproto ipv6 ip6 daddr 2001:db8:66::/64 masquerade\n    meta nfproto ipv6 snat ip6 to 2001:db8:77::9\n",
	} {
		if text := Ruleset(g).String(); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	strays := func() string { return fmt.Sprint(builder{g.sorted()}.othersAddresses(g.Uplinks[1], failover.IPv4)) }
	if got := strays(); !strings.Contains(got, "198.51.77.9") {
		t.Errorf("strays by the other uplink: %s", got)
	}
	g.Uplinks[1].Native4 = prefixes("198.51.77.0/24")
	if got := strays(); strings.Contains(got, "198.51.77.9") || !strings.Contains(got, "10.66.0.2") {
		t.Errorf("strays by one that carries the network: %s", got)
	}
}
