package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

func withMark(mark int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		if mark == 0 {
			return nil
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
		return err
	}
}

// dialMarked opens a connected UDP socket with a packet mark.
func dialMarked(t *testing.T, ns *netns.NS, to string, mark int) (c net.Conn) {
	t.Helper()
	d := net.Dialer{Control: withMark(mark)}
	inside(t, ns, func() (err error) {
		c, err = d.DialContext(context.Background(), "udp", to)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// The gateway's own flows move as those of the LAN do.
func TestOwnSocketsMove(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			serveUDP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.net, at(p.host, 5000))
			udp, tcp := dialUDP(t, l.gw, at(p.host, 5000)), dialTCP(t, l.gw, at(p.host, 5000))
			if got := askUDP(t, udp); got != p.a {
				t.Fatalf("the server saw %s", got)
			}
			if _, err := askTCP(tcp); err != nil {
				t.Fatal(err)
			}
			l.prefer("wan1", "wan0")
			if got := askUDP(t, udp); got != p.a {
				t.Errorf("after the routes changed the server saw %s", got)
			}
			l.lose()
			if got := askUDP(t, udp); got != p.b {
				t.Errorf("after the verdict the server saw %s", got)
			}
			if _, err := askTCP(tcp); err == nil {
				t.Error("the TCP connection of the lost address survives")
			}
			next := dialTCP(t, l.gw, at(p.host, 5000))
			if got, err := askTCP(next); got != p.b {
				t.Errorf("the next connection left as %s, %v", got, err)
			}
			l.noneWrong()
		})
	}
}

// Where a socket cannot be destroyed, its next segment is answered with a reset.
func TestOwnTCPIsReset(t *testing.T) {
	l := newLab(t)
	l.apply()
	serveTCP(t, l.net, at(plans[0].host, 5000))
	c := dialTCP(t, l.gw, at(plans[0].host, 5000))
	askTCP(c)
	l.prefer("wan1", "wan0")
	l.batch("-4", fmt.Sprintf("rule del pref 5451 from %s fwmark 0/0xffffffff lookup 5301", plans[0].a))
	l.move(func(g *Goal) { g.Lost[failover.IPv4] = []Pair{{1, 64}} })
	if _, err := askTCP(c); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("want a reset, got %v", err)
	}
}

// A probe has no lanes, so verdicts do not affect it. It never leaves by an uplink
// other than its own, wherever routes lead.
func TestProbesAreNoSessions(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			serveUDP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.net, at(p.host, 5000))
			udp := dialMarked(t, l.gw, at(p.host, 5000), 0x01000000)
			tcp := dialFrom(t, l.gw, p.a, at(p.host, 5000), 0x01000000)
			if got := askUDP(t, udp); got != p.a {
				t.Fatalf("the probe left as %s", got)
			}
			askTCP(tcp)
			if out := l.flows("-p", "udp"); !strings.Contains(out, "mark=0 ") {
				t.Errorf("the probe has lanes:\n%s", out)
			}
			l.lose()
			if got := askUDP(t, udp); got != p.a {
				t.Errorf("after the verdict the probe left as %s", got)
			}
			if got, err := askTCP(tcp); got != p.a {
				t.Errorf("after the verdict the TCP probe left as %s, %v", got, err)
			}
			run(t, l.gw, "ip", p.flag, "route", "flush", "table", "5301")
			before := l.counters()
			fresh := dialMarked(t, l.gw, at(p.host, 5000), 0x01000000)
			if _, err := fresh.Write([]byte("?")); !errors.Is(err, unix.EPERM) {
				t.Errorf("a probe without its uplink was sent: %v", err)
			}
			if got := l.counters(); got.Guard.Packets != before.Guard.Packets+1 || got.Sent[2].Packets == before.Sent[2].Packets {
				t.Errorf("the probe was not stopped at the other uplink: %+v, before %+v", got, before)
			}
			l.noneWrong()
		})
	}
}

// Packets of a socket with another program's mark go where that program sends them.
func TestForeignMarksAreKept(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	serveUDP(t, l.net, at(p.host, 5000))
	l.batch(p.flag, "rule add pref 100 fwmark 0xca6c lookup 5302")
	c := dialMarked(t, l.gw, at(p.host, 5000), 0xca6c)
	if got := askUDP(t, c); got != p.b {
		t.Errorf("the marked socket left as %s", got)
	}
	if out := l.flows("-p", "udp"); !strings.Contains(out, "mark=0 ") {
		t.Errorf("its flow has lanes:\n%s", out)
	}
	l.batch(p.flag, "rule del pref 100")
	l.batch(p.flag, "rule add pref 100 fwmark 0xca6c lookup 5301")
	if got := askUDP(t, c); got != p.a {
		t.Errorf("after its rule changed it left as %s", got)
	}
}

// The kernel itself removed the entries. With grace, the client of a TCP connection
// gets a reset at its next packet; without, it would wait. The gateway's own programs
// that use an address of the LAN are clients as well.
func TestGrace(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			server := serveTCP(t, l.net, at(p.host, 5000))
			// A server behind a firewall that drops segments of unknown connections.
			loadText(t, l.net, "table inet strict {\nchain input {\ntype filter hook input priority 0;\n"+
				"iifname \"isp*\" tcp flags & (syn | ack) == ack ct state new drop\n}\n}\n")
			run(t, l.net, "sh", "-c", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose")
			all := []net.Conn{dialTCP(t, l.client, at(p.host, 5000)), dialFrom(t, l.gw, p.lan, at(p.host, 5000), 0)}
			for _, c := range all {
				if got, err := askTCP(c); got != p.a {
					t.Fatalf("the server saw %q, %v", got, err)
				}
			}
			l.prefer("wan1", "wan0")
			l.move(func(g *Goal) { g.Lost = [2][]Pair{{{1, 64}}, {{1, 64}}} })
			run(t, l.gw, "conntrack", "-F")
			inside(t, l.gw, func() error { return l.kernel.Grace([]string{"wan1", "wan1"}) })
			inside(t, l.gw, func() error { return l.kernel.Grace([]string{"wan1"}) }) // again, for a full minute
			for _, c := range all {
				before := l.counters().Resets.Packets
				if _, err := askTCP(c); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
					t.Errorf("%s: want a reset, got %v", c.LocalAddr(), err)
				}
				if l.counters().Resets.Packets == before {
					t.Errorf("%s: the reset is not ours", c.LocalAddr())
				}
			}
			next := dialTCP(t, l.client, at(p.host, 5000))
			if got, err := askTCP(next); got != p.b {
				t.Errorf("a new connection left as %s, %v", got, err)
			}
			if ended := server.endings(); len(ended) > 0 {
				t.Errorf("the server saw connections end: %q", ended)
			}
			l.noneWrong()
		})
	}
}

// Grace lasts one minute from the last call.
func TestGraceIsRenewed(t *testing.T) {
	ns := netns.New(t)
	apply(t, ns, twoUplinks())
	loadText(t, ns, "add element inet swerve grace { \"wan1\" timeout 5s }\n")
	inside(t, ns, func() error { return newKernel(t).Grace([]string{"wan1"}) })
	out := run(t, ns, "nft", "list", "set", "inet", "swerve", "grace")
	_, after, _ := strings.Cut(out, "expires ")
	left, err := time.ParseDuration(strings.Fields(after + " x")[0])
	if err != nil || left < 30*time.Second {
		t.Errorf("it expires in %v (%v):\n%s", left, err, out)
	}
}

// Flows of a policy that blocks never leave by an uplink that it does not use.
func TestGuard(t *testing.T) {
	l := newLab(t)
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 66, Name: "strict", Uplinks: []lane.Lane{2}, Block: true})
	l.apply()
	p := plans[0]
	serveUDP(t, l.net, at(p.host, 5000))
	// As a user's rule would; the policy's table leads to the wrong uplink.
	loadText(t, l.gw, "add rule inet swerve by_rules ip saddr 192.168.1.10 goto new_66\n")
	l.batch(p.flag, "rule add pref 5366 fwmark 0x42000000/0x7f000000 lookup 5366")
	l.batch(p.flag, fmt.Sprintf("route replace default table 5366 metric 1 via %s dev wan0 onlink", p.nextA))
	c := dialUDP(t, l.client, at(p.host, 5000))
	c.Write([]byte("?"))
	until(t, "the guard", func() bool { return l.counters().Guard.Packets == 1 })
	l.batch(p.flag, fmt.Sprintf("route replace default table 5366 metric 1 via %s dev wan1 onlink", p.nextB))
	if got := askUDP(t, c); got != p.b {
		t.Errorf("by its own uplink the server saw %s", got)
	}
	if out := l.flows("-m", fmt.Sprint(0x02420000)); !strings.Contains(out, "udp") {
		t.Errorf("the flow has other lanes:\n%s", l.flows())
	}
	l.batch(p.flag, fmt.Sprintf("route replace default table 5366 metric 1 via %s dev wan0 onlink", p.nextA))
	if got := askUDP(t, c); got != p.b {
		t.Errorf("after its table changed the server saw %s", got)
	}
}

// Exceptions from source NAT leave unchanged. Other traffic that was not translated
// does not leave.
func TestSNATExcept(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].SNATExcept = prefixes("192.168.1.0/24")
	l.apply()
	p := plans[0]
	run(t, l.net, "ip", "route", "add", "192.168.1.0/24", "via", p.a)
	serveUDP(t, l.net, at(p.host, 5000))
	c := dialUDP(t, l.client, at(p.host, 5000))
	if got := askUDP(t, c); got != p.client {
		t.Fatalf("the exception left as %s", got)
	}
	if out := l.flows("-m", fmt.Sprint(0x01400000)); !strings.Contains(out, "udp") {
		t.Errorf("the exception has no lanes:\n%s", l.flows())
	}
	l.prefer("wan1", "wan0")
	if got := askUDP(t, c); got != p.client {
		t.Errorf("after the routes changed it left as %s", got)
	}
	l.goal.Uplinks[0].SNATExcept = prefixes("192.168.2.0/24")
	l.apply()
	l.lose()
	if got := askUDP(t, c); got != p.b {
		t.Errorf("by the other uplink it left as %s", got)
	}
}

// A user's static source NAT takes precedence over ours, and its flows never leave by
// another uplink with that address.
func TestStaticSNAT(t *testing.T) {
	for _, priority := range []string{"srcnat", "srcnat + 10", "srcnat + 50", "300"} {
		t.Run(priority, func(t *testing.T) { testStaticSNAT(t, priority) })
	}
}

func testStaticSNAT(t *testing.T, priority string) {
	l := newLab(t)
	l.apply()
	l.watchWrong()
	p := plans[0]
	const static = "203.0.113.77"
	l.address(l.gw, "wan0", static, 24)
	loadText(t, l.gw, "table ip user {\nchain post {\ntype nat hook postrouting priority "+priority+";\noifname \"wan0\" snat to "+static+"\n}\n}\n")
	loadText(t, l.net, "add rule inet witness arriving iifname ispB ip saddr "+static+" counter name wrong\n")
	serveUDP(t, l.net, at(p.host, 5000))
	c := dialUDP(t, l.client, at(p.host, 5000))
	if got := askUDP(t, c); got != static {
		t.Fatalf("the server saw %s", got)
	}
	l.prefer("wan1", "wan0")
	l.move(func(g *Goal) { g.Lost[failover.IPv4] = []Pair{{1, 64}} })
	c.Write([]byte("?")) // before the flow is deleted
	until(t, "a stray", func() bool { return l.counters().Stray.Packets == 1 })
	l.deleteFlows(failover.IPv4, 1, 64)
	if got := askUDP(t, c); got != p.b {
		t.Errorf("after the delete the server saw %s", got)
	}
	l.noneWrong()
}

// Strict reverse path filtering drops answers that come in by an uplink that main
// does not prefer, unless they have its lane.
func TestMarkArrivals(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].MarkArrivals, l.goal.Uplinks[1].MarkArrivals = true, true
	l.apply()
	p := plans[0]
	for _, dev := range []string{"wan0", "wan1"} {
		l.must(l.gw.SetSysctl("net/ipv4/conf/"+dev+"/rp_filter", "1"))
		l.must(l.gw.SetSysctl("net/ipv4/conf/"+dev+"/src_valid_mark", "1"))
	}
	serveUDP(t, l.net, at(p.host, 5000))
	c := dialUDP(t, l.client, at(p.host, 5000))
	askUDP(t, c)
	l.prefer("wan1", "wan0")
	if got := askUDP(t, c); got != p.a {
		t.Errorf("the server saw %s", got)
	}
}

// The teardown leaves neither the table nor marks, and flows continue.
func TestTeardown(t *testing.T) {
	l := newLab(t)
	loadText(t, l.gw, "table ip user {\nchain post {\ntype nat hook postrouting priority srcnat;\noifname ppp0 masquerade\n}\n}\n")
	before := run(t, l.gw, "nft", "list", "ruleset")
	l.apply()
	serveUDP(t, l.net, at(plans[0].host, 5000))
	c := dialUDP(t, l.client, at(plans[0].host, 5000))
	askUDP(t, c)
	loadText(t, l.gw, "table inet other {\nchain c {\ntype filter hook forward priority 0;\nct mark set ct mark | 0x80001234\n}\n}\n")
	askUDP(t, c)
	run(t, l.gw, "nft", "delete", "table", "inet", "other")
	inside(t, l.gw, func() error { return l.kernel.Teardown(l.goal.Layout) })
	sameLines(t, run(t, l.gw, "nft", "list", "ruleset"), before)
	if out := l.flows("-p", "udp"); !strings.Contains(out, fmt.Sprintf("mark=%d ", uint32(0x80001234))) {
		t.Errorf("only our bits of the mark should be cleared:\n%s", out)
	}
	if got := askUDP(t, c); got != plans[0].a {
		t.Errorf("after the teardown the server saw %s", got)
	}
}
