package firewall

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// renewal is a connection by wan0 whose address was deleted, and of which a segment has
// left by wan1 before that was held. The server's answer to that has not arrived.
func renewal(t *testing.T) (l *lab, server *tcpServer, ask func() (string, error)) {
	l = newLab(t)
	l.apply()
	p := plans[0]
	server = serveTCP(t, l.net, at(p.host, 5000))
	c := dialTCP(t, l.client, at(p.host, 5000))
	if from, err := askTCP(c); from != p.a || err != nil {
		t.Fatalf("left as %s, %v", from, err)
	}
	loadText(t, l.net, "table inet far {\nchain output {\ntype filter hook output priority 0;\ntcp flags & rst == rst drop\n}\n}\n")
	run(t, l.gw, "ip", "addr", "del", p.a+"/24", "dev", "wan0")
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		t.Fatal(err)
	}
	until(t, "a segment to leave by wan1", func() bool { return strings.Contains(l.flows("-p", "tcp"), "dst="+p.b) })
	inside(t, l.gw, func() error { return l.kernel.Hold("wan0", []string{"wan1"}, time.Minute) })
	return l, server, func() (string, error) { return heard(c) }
}

// renew gives wan0 its address again, and its routes.
func (l *lab) renew() {
	l.t.Helper()
	p := plans[0]
	l.address(l.gw, "wan0", p.a, p.bits)
	l.batch(p.flag, fmt.Sprintf("route replace default table 5301 metric 1 via %s dev wan0 onlink", p.nextA))
	l.prefer("wan0", "wan1")
}

// The server's reset to what left by the other uplink does not reach the client, and
// the connection goes on.
func TestResetOfARenewedConnection(t *testing.T) {
	l, server, heard := renewal(t)
	run(t, l.net, "nft", "delete", "table", "inet", "far")
	until(t, "the reset", func() bool { return !strings.Contains(l.flows("-p", "tcp"), "dst="+plans[0].b) })
	l.renew()
	if from, err := heard(); from != plans[0].a || err != nil {
		t.Errorf("the answer is to %q: %v", from, err)
	}
	if ended := server.endings(); len(ended) > 0 {
		t.Errorf("the server saw connections end: %q", ended)
	}
}

// A server that does not answer at all would leave the entry on the other uplink: it is
// ended, and the connection goes on.
func TestMisledConnectionEnds(t *testing.T) {
	l, server, heard := renewal(t)
	var ended int
	inside(t, l.gw, func() (err error) {
		ended, err = l.kernel.EndMisled(l.goal.Layout, 1, nil, 2)
		return err
	})
	if ended != 1 {
		t.Errorf("%d entries were ended:\n%s", ended, l.flows())
	}
	l.renew()
	if from, err := heard(); from != plans[0].a || err != nil {
		t.Errorf("the answer is to %q: %v", from, err)
	}
	if ended := server.endings(); len(ended) > 0 {
		t.Errorf("the server saw connections end: %q", ended)
	}
}

// A device without an address is masqueraded with one of another device. Such an entry
// is ended, and the flow goes on with the uplink's address.
func TestMisledSourceEnds(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	serveUDP(t, l.net, at(p.host, 5000))
	run(t, l.gw, "ip", "addr", "del", p.a+"/24", "dev", "wan0")
	l.batch(p.flag, fmt.Sprintf("route replace default table 5301 metric 1 via %s dev wan0 onlink", p.nextA))
	l.prefer("wan0", "wan1")
	c := dialUDP(t, l.client, at(p.host, 5000))
	if _, err := c.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	until(t, "a packet to leave", func() bool { return strings.Contains(l.flows("-p", "udp"), "sport=5000 dport=") })
	if out := l.flows("-p", "udp"); strings.Contains(out, "dst="+p.a) {
		t.Fatalf("it left with the uplink's address:\n%s", out)
	}
	l.renew()
	var ended int
	inside(t, l.gw, func() (err error) {
		ended, err = l.kernel.EndMisled(l.goal.Layout, 1, []netip.Addr{netip.MustParseAddr(p.a)}, 2)
		return err
	})
	if ended != 1 {
		t.Errorf("%d entries were ended:\n%s", ended, l.flows())
	}
	if from := askUDP(t, c); from != p.a {
		t.Errorf("the next packet left as %s", from)
	}
}

// What the server sends again before its client is not answered with a reset.
func TestServerFirstAfterARenewal(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	server := serveTCP(t, l.net, at(p.host, 5000))
	c := dialTCP(t, l.client, at(p.host, 5000))
	if _, err := askTCP(c); err != nil {
		t.Fatal(err)
	}
	// The answer to the next question is lost, and sent again.
	loadText(t, l.net, "table inet lossy {\nchain output {\ntype filter hook output priority 0;\ntcp sport 5000 counter name lost drop\n}\ncounter lost { }\n}\n")
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		t.Fatal(err)
	}
	until(t, "an answer to be lost", func() bool { return !strings.Contains(run(t, l.net, "nft", "list", "counters"), "packets 0") })
	// The client does not send again.
	loadText(t, l.client, "table inet mute {\nchain output {\ntype filter hook output priority 0;\ntcp dport 5000 drop\n}\n}\n")
	run(t, l.gw, "ip", "addr", "del", p.a+"/24", "dev", "wan0")
	inside(t, l.gw, func() error { return l.kernel.Hold("wan0", []string{"wan1"}, time.Minute) })
	l.renew()
	until(t, "no entry", func() bool { return !strings.Contains(l.flows("-p", "tcp"), "dport=5000") })
	run(t, l.net, "nft", "delete", "table", "inet", "lossy")
	loadText(t, l.gw, "table inet witness {\nchain pre {\ntype filter hook prerouting priority -300;\niifname wan0 tcp sport 5000 counter name came\n}\ncounter came { }\n}\n")
	until(t, "the server to send again", func() bool {
		return !strings.Contains(run(t, l.gw, "nft", "list", "counters", "table", "inet", "witness"), "packets 0")
	})
	run(t, l.client, "nft", "delete", "table", "inet", "mute")
	if from, err := askTCP(c); from != p.a || err != nil {
		t.Errorf("the answer is to %q: %v", from, err)
	}
	if ended := server.endings(); len(ended) > 0 {
		t.Errorf("the server saw connections end: %q", ended)
	}
}

// What the address did not come back for is not held any more: it is answered.
func TestGraceEndsAHold(t *testing.T) {
	l := newLab(t)
	l.apply()
	inside(t, l.gw, func() error { return l.kernel.Hold("wan0", []string{"wan1"}, time.Minute) })
	held := func() string { return run(t, l.gw, "nft", "list", "set", "inet", "swerve", "hold") }
	if !strings.Contains(held(), "wan1") {
		t.Fatalf("not held:\n%s", held())
	}
	inside(t, l.gw, func() error { return l.kernel.Grace([]string{"wan1"}) })
	if strings.Contains(held(), "wan1") {
		t.Errorf("still held:\n%s", held())
	}
	if out := run(t, l.gw, "nft", "list", "set", "inet", "swerve", "grace"); !strings.Contains(out, "wan1") {
		t.Errorf("no grace:\n%s", out)
	}
}

// A connection of the gateway's own on which it only listens goes on as soon as its address
// is back: it would never send first.
func TestOwnListenerOverARenewal(t *testing.T) {
	l := newLab(t)
	l.goal.Wildcards = true
	l.apply()
	p := plans[0]
	at := netip.MustParseAddrPort(at(p.host, 5001))
	server, err := l.net.Listen("tcp", at.String())
	l.must(err)
	t.Cleanup(func() { server.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := server.Accept(); err == nil {
			accepted <- c
		}
	}()
	c := dialTCP(t, l.gw, at.String())
	far := <-accepted
	t.Cleanup(func() { far.Close() })
	run(t, l.gw, "ip", "addr", "del", p.a+"/24", "dev", "wan0")
	until(t, "the kernel to take the entry", func() bool { return !strings.Contains(l.flows("-p", "tcp"), "dport=5001") })
	inside(t, l.gw, func() error { return l.kernel.Hold("wan0", []string{"wan1"}, time.Minute) })
	l.renew()
	l.must(c.SetReadDeadline(time.Now().Add(10 * time.Second)))
	if _, err := far.Write([]byte("news\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Errorf("while others wait for their clients: %v", err)
	}
}
