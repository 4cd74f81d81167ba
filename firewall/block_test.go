package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// blockLab is a lab in which the policy strict, lane 66, has the client's flows to one
// port and the gateway's to another. Its only uplink is wan1; those that leave by wan0
// are counted in the internet.
func blockLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 66, Name: "strict", Uplinks: []lane.Lane{2}, Block: true})
	l.goal.Rules = []Rule{toPort(unix.IPPROTO_UDP, 7000), toPort(unix.IPPROTO_TCP, 7000)}
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf(`
			rule add pref 5366 fwmark 0x42000000/0x7f000000 lookup 5366
			route replace default table 5366 metric 1 via %s dev wan1 onlink
			route replace unreachable default table 5366 metric 9999
		`, p.nextB))
		serveUDP(t, l.net, at(p.host, 7000))
		serveTCP(t, l.net, at(p.host, 7000))
	}
	l.watchLeaks("ispA")
	l.apply()
	return l
}

// watchLeaks counts, in the internet, the policy's packets that come by a provider.
func (l *lab) watchLeaks(isp string) {
	l.t.Helper()
	loadText(l.t, l.net, fmt.Sprintf(`table inet witness {
		counter leaked { }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			iifname %q meta l4proto { tcp, udp } th dport 7000 counter name leaked
		}
	}`, isp))
}

func toPort(proto uint8, port uint16) Rule {
	r := Rule{Policy: 66}
	r.Proto = proto
	r.Ports = append(r.Ports, struct{ First, Last uint16 }{port, port})
	return r
}

func (l *lab) noneLeaked() {
	l.t.Helper()
	if out := run(l.t, l.net, "nft", "list", "counter", "inet", "witness", "leaked"); !strings.Contains(out, "packets 0 ") {
		l.t.Errorf("packets left by an uplink that their policy never uses: %s", out)
	}
}

// refusedUDP sends until an error about it comes back.
func refusedUDP(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { // what is not fatal, too
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	})
	var last error
	for range 40 {
		if _, err := c.Write([]byte("x")); err != nil && !errors.Is(err, syscall.EPERM) {
			return
		}
		c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		_, last = c.Read(make([]byte, 100))
		if last != nil && !errors.Is(last, context.DeadlineExceeded) && !isTimeout(last) {
			return
		}
	}
	t.Errorf("%s hears of no error: %v", c.LocalAddr(), last)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// refusedTCP dials, and is refused within a time.
func refusedTCP(t *testing.T, ns *netns.NS, to string, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	began := time.Now()
	c, err := ns.DialTCP(ctx, netip.MustParseAddrPort(to))
	if err == nil {
		c.Close()
	}
	if err == nil || isTimeout(err) || time.Since(began) > within {
		t.Errorf("dialling %s took %v, and gave: %v", to, time.Since(began), err)
	}
}

// While the only uplink of a policy that blocks has no carrier, its packets are answered
// at once, with nobody at work but the kernel: new flows and established ones, and none
// leaves by another uplink.
func TestBlockWithoutCarrier(t *testing.T) {
	l := blockLab(t)
	var udps []net.Conn
	var tcps []*net.TCPConn
	for _, p := range plans {
		u, c := dialUDP(t, l.client, at(p.host, 7000)), dialTCP(t, l.client, at(p.host, 7000))
		if from := askUDP(t, u); from != p.b {
			t.Fatalf("the server sees %q, want %s", from, p.b)
		}
		if from, err := askTCP(c); from != p.b || err != nil {
			t.Fatalf("the server sees %q, want %s: %v", from, p.b, err)
		}
		udps, tcps = append(udps, u), append(tcps, c)
	}
	run(t, l.net, "ip", "link", "set", "ispB", "down")
	for f, p := range plans {
		until(t, "the carrier to be gone", func() bool {
			return strings.Contains(run(t, l.gw, "ip", "link", "show", "wan1"), "NO-CARRIER")
		})
		if _, err := udps[f].Write([]byte("x")); err != nil {
			t.Logf("an established UDP flow: %v", err)
		}
		if _, err := askTCP(tcps[f]); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("an established TCP flow: %v", err)
		}
		// The kernel sends such errors to an address once a second, and a few more at first.
		refusedTCP(t, l.client, at(p.host, 7000), 5*time.Second)
		refusedUDP(t, dialUDP(t, l.client, at(p.host, 7000)))
		// Own ones hear of it in UDP; TCP's own segments are dropped by the lookup.
		refusedUDP(t, dialUDP(t, l.gw, at(p.host, 7000)))
	}
	l.noneLeaked()
	if c := l.counters(); c.Guard.Packets == 0 {
		t.Errorf("nothing is counted as kept off: %+v", c)
	}
}

// While it is down by a verdict alone, new flows are answered at once, also those of
// sockets here, and what is established goes on by it.
func TestBlockByVerdict(t *testing.T) {
	l := blockLab(t)
	for f, p := range plans {
		old := dialUDP(t, l.client, at(p.host, 7000))
		if from := askUDP(t, old); from != p.b {
			t.Fatalf("the server sees %q, want %s", from, p.b)
		}
		l.move(func(g *Goal) { g.Refused[f] = []Pair{{0, 66}} })
		for _, ns := range []*netns.NS{l.client, l.gw} {
			refusedUDP(t, dialUDP(t, ns, at(p.host, 7000)))
			refusedTCP(t, ns, at(p.host, 7000), 900*time.Millisecond) // before it would be sent again
		}
		if from := askUDP(t, old); from != p.b {
			t.Errorf("the established flow is seen as %q, want %s", from, p.b)
		}
		refused := Packet{Family: failover.Family(f), From: netip.MustParseAddr(p.client), To: netip.MustParseAddr(p.host), In: "lan0", Proto: unix.IPPROTO_UDP, ToPort: 7000}
		for _, in := range []string{"lan0", ""} {
			refused.In = in
			if c := Ruleset(l.goal).Classify(refused); c.Policy != 66 || !c.Refused {
				t.Errorf("in %q: %+v", in, c)
			}
		}
		// Without carrier nothing of the old flow leaves, and its uplink is not here either.
		l.move(func(g *Goal) { g.Refused[f] = []Pair{{0, 66}, {2, 66}} })
		refusedUDP(t, old)
		l.move(func(g *Goal) { g.Refused[f] = nil })
		for _, ns := range []*netns.NS{l.client, l.gw} {
			if from := askUDP(t, dialUDP(t, ns, at(p.host, 7000))); from != p.b {
				t.Errorf("afterwards the server sees %q, want %s", from, p.b)
			}
		}
	}
	l.noneLeaked()
}

// What stays on the link of an uplink that a policy never uses is not kept off it, nor
// refused, whatever the rules say: a modem's page, and the gateway's own DHCP, also of a
// server beyond the link.
func TestBlockKeepsNothingOffLinks(t *testing.T) {
	l := blockLab(t)
	l.goal.Rules = []Rule{{Policy: 66}}
	l.goal.Rules[0].Proto = unix.IPPROTO_UDP
	ports := [2][2]int{{68, 67}, {546, 547}}
	for f, p := range plans {
		near := netip.PrefixFrom(netip.MustParseAddr(p.a), p.bits).Masked()
		l.goal.Uplinks[0].Links = append(l.goal.Uplinks[0].Links, near)
		serveUDP(t, l.net, at(p.nextA, 7001))
		serveUDP(t, l.net, at(p.host, ports[f][1]))
	}
	for _, refused := range []bool{false, true} {
		if refused {
			l.goal.Refused = [2][]Pair{{{Policy: 66}}, {{Policy: 66}}}
		}
		l.apply()
		run(t, l.gw, "conntrack", "-F")
		for f, p := range plans {
			for what, c := range map[string]net.Conn{
				"the LAN asks the modem":        dialUDP(t, l.client, at(p.nextA, 7001)),
				"the gateway asks the modem":    dialUDP(t, l.gw, at(p.nextA, 7001)),
				"the gateway renews an address": dialFromPort(t, l.gw, p.a, ports[f][0], at(p.host, ports[f][1])),
			} {
				if got := askUDP(t, c); got != p.a {
					t.Errorf("refused %t: %s from %q, want %s", refused, what, got, p.a)
				}
				c.Close()
			}
		}
	}
}
