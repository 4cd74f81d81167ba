package firewall

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// A UDP flow stays on its uplink while routes change, continues with the other
// uplink's address when its own is lost, and stays there afterwards.
func TestUDPMovesWithItsVerdict(t *testing.T) {
	l := newLab(t)
	l.apply()
	l.watchWrong()
	conns := [2]func() string{}
	for _, f := range failover.Families {
		p := plans[f]
		serveUDP(t, l.net, at(p.host, 5000))
		c := dialUDP(t, l.client, at(p.host, 5000))
		conns[f] = func() string { return askUDP(t, c) }
	}
	expect := func(when string, want func(plan) string) {
		t.Helper()
		for _, f := range failover.Families {
			if got := conns[f](); got != want(plans[f]) {
				t.Errorf("%s: the server saw %s, want %s", when, got, want(plans[f]))
			}
		}
	}
	a, b := func(p plan) string { return p.a }, func(p plan) string { return p.b }
	expect("at first", a)
	l.prefer("wan1", "wan0")
	expect("after the routes changed", a)
	l.lose()
	expect("after the verdict", b)
	l.regain()
	expect("after the return", b)
	l.noneWrong()
}

// Families are independent: IPv4 is lost, IPv6 stays.
func TestFamiliesApart(t *testing.T) {
	l := newLab(t)
	l.apply()
	for _, f := range failover.Families {
		serveUDP(t, l.net, at(plans[f].host, 5000))
	}
	v4 := dialUDP(t, l.client, at(plans[0].host, 5000))
	v6 := dialUDP(t, l.client, at(plans[1].host, 5000))
	askUDP(t, v4)
	askUDP(t, v6)
	l.prefer("wan1", "wan0")
	l.move(func(g *Goal) { g.Lost[failover.IPv4] = []Pair{{1, 64}} })
	l.deleteFlows(failover.IPv4, 1, 64)
	if got := askUDP(t, v4); got != plans[0].b {
		t.Errorf("IPv4 is lost: the server saw %s", got)
	}
	if got := askUDP(t, v6); got != plans[1].a {
		t.Errorf("IPv6 is not lost: the server saw %s", got)
	}
}

// An established TCP connection of a lost uplink is reset at its client's next
// packet. Its server receives nothing by the wrong uplink. A new connection uses the
// other uplink at once.
func TestTCPIsResetFromItsClientOnly(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			server := serveTCP(t, l.net, at(p.host, 5000))
			c := dialTCP(t, l.client, at(p.host, 5000))
			if got, err := askTCP(c); got != p.a {
				t.Fatalf("the server saw %q, %v; want %s", got, err, p.a)
			}
			l.lose()
			asked := time.Now()
			if _, err := askTCP(c); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
				t.Errorf("want a reset, got %v", err)
			}
			t.Logf("reset after %v", time.Since(asked))
			if got := l.counters().Resets.Packets; got == 0 {
				t.Error("no reset was counted")
			}
			next := dialTCP(t, l.client, at(p.host, 5000))
			if got, err := askTCP(next); got != p.b {
				t.Errorf("afterwards the server saw %q, %v; want %s", got, err, p.b)
			}
			if ended := server.endings(); len(ended) > 0 {
				t.Errorf("the server saw connections end: %q", ended)
			}
			l.noneWrong()
		})
	}
}

// Hosts in the lost uplink's own network stay reachable, such as the modem's status
// page.
func TestNeighboursStayReachable(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			serveTCP(t, l.net, at(p.nextA, 80))
			before, own := dialTCP(t, l.client, at(p.nextA, 80)), dialFrom(t, l.gw, p.a, at(p.nextA, 80), 0)
			askTCP(before)
			askTCP(own)
			l.prefer("wan1", "wan0")
			l.move(func(g *Goal) { g.Lost[f] = []Pair{{1, 64}} })
			l.deleteFlows(f, 1, 64)
			after := dialTCP(t, l.client, at(p.nextA, 80))
			for name, c := range map[string]net.Conn{"before": before, "own": own, "after": after, "again": after} {
				if got, err := askTCP(c); got != p.a {
					t.Errorf("%s: the neighbour saw %q, %v", name, got, err)
				}
			}
		})
	}
}

// A TCP connection that is silent until its uplink is back survives.
func TestSilentTCPOutlivesALoss(t *testing.T) {
	l := newLab(t)
	l.apply()
	serveTCP(t, l.net, at(plans[0].host, 5000))
	c := dialTCP(t, l.client, at(plans[0].host, 5000))
	askTCP(c)
	l.lose()
	l.regain()
	if got, err := askTCP(c); got != plans[0].a {
		t.Errorf("the server saw %q, %v; want %s", got, err, plans[0].a)
	}
}

// Flows that came in by an uplink are always answered by it: those of a port forward,
// and of the gateway's own service.
func TestInboundStaysOnItsUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			loadText(t, l.gw, fmt.Sprintf(`table inet forwards { chain in_lan {
				type nat hook prerouting priority dstnat; tcp dport 8080 dnat %s to %s;
}
}`, p.family, at(p.client, 80)))
			serveTCP(t, l.client, at(p.client, 80))
			serveTCP(t, l.gw, at(p.b, 2222))
			forwarded := dialFrom(t, l.net, p.host, at(p.b, 8080), 0)
			own := dialFrom(t, l.net, p.host, at(p.b, 2222), 0)
			l.lose() // of wan0; now of wan1 too, whose flows have to stay
			l.move(func(g *Goal) { g.Lost[f] = append(g.Lost[f], Pair{2, 64}) })
			l.prefer("wan0", "wan1")
			l.deleteFlows(f, 2, 64)
			if got, err := askTCP(forwarded); got != p.host {
				t.Errorf("the port forward said %q, %v", got, err)
			}
			if got, err := askTCP(own); got != p.host {
				t.Errorf("the gateway's service said %q, %v", got, err)
			}
			l.noneWrong()
		})
	}
}

// Without a daemon: carrier is lost, the kernel falls back to the next rung, and flows
// that cannot move are dropped and counted.
func TestStraysAreDropped(t *testing.T) {
	l := newLab(t)
	l.goal.Uplinks[0].Native6 = prefixes("2001:db8:1::/64", "2001:db8:1:50::/64")
	l.goal.Uplinks[1].Native6 = prefixes("2001:db8:2::/64")
	l.apply()
	l.watchWrong()
	const client = "2001:db8:1:50::10"
	l.address(l.client, "eth0", client, 64)
	l.address(l.gw, "lan0", "2001:db8:1:50::1", 64)
	run(t, l.net, "ip", "-6", "route", "add", "2001:db8:1:50::/64", "via", plans[1].a)
	serveUDP(t, l.gw, at(plans[0].a, 2222))
	inbound := dialUDP(t, l.net, at(plans[0].a, 2222))
	askUDP(t, inbound)
	serveUDP(t, l.net, at(plans[1].host, 5000))
	native := dialUDP(t, l.client, at(plans[1].host, 5000))
	if got := askUDP(t, native); got != client {
		t.Fatalf("native IPv6 left as %s", got)
	}
	l.must(l.net.SetDown("ispA"))
	until(t, "the loss of carrier", func() bool {
		return strings.Contains(run(t, l.gw, "ip", "-6", "route", "show", "table", "5364"), "linkdown")
	})
	before := l.counters().Stray.Packets
	for range 3 {
		native.Write([]byte("?"))
	}
	until(t, "strays", func() bool { return l.counters().Stray.Packets >= before+3 })
	l.noneWrong()
	l.lose() // now a new flow begins, with a source that belongs there
	if got := askUDP(t, native); got != plans[1].b {
		t.Errorf("after the verdict the server saw %s, want %s", got, plans[1].b)
	}
	l.noneWrong()
}
