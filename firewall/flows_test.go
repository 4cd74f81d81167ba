package firewall

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// addFlow adds a conntrack entry with conntrack(8).
func addFlow(t *testing.T, ns *netns.NS, mark uint32, args string) {
	t.Helper()
	run(t, ns, "conntrack", strings.Fields("-I -t 300 "+args+" -m "+fmt.Sprint(mark))...)
}

const (
	udpFlow  = "-p udp -s 192.168.1.10 -d 192.0.2.2 --sport 1000 --dport %d"
	udp6Flow = "-p udp -s fd00:1::10 -d 2001:db8:99::2 --sport 1000 --dport %d"
	tcpFlow  = "-p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED -s 192.168.1.10 -d 192.0.2.2 --sport 1000 --dport %d"
)

// Only the entries of the pair and the family are deleted; established TCP stays. They are
// counted where that is asked for.
func TestDeleteFlowsTouchesThePairOnly(t *testing.T) {
	deletesThePairOnly(t, func(k *Kernel, families ...failover.Family) error {
		return k.DeleteFlows(lane.DefaultLayout, Pair{1, 64}, families...)
	})
	wants := [][2]int{{3, 0}, {0, 1}}
	deletesThePairOnly(t, func(k *Kernel, families ...failover.Family) error {
		n, counted, err := k.EndFlows(lane.DefaultLayout, Pair{1, 64}, families...)
		if n != wants[0] || !counted {
			t.Errorf("counted (%v) %v of %v, want %v", counted, n, families, wants[0])
		}
		wants = wants[1:]
		return err
	})
}

func deletesThePairOnly(t *testing.T, deletes func(k *Kernel, families ...failover.Family) error) {
	t.Helper()
	ns := netns.New(t)
	for port, c := range []struct {
		mark uint32
		flow string
	}{
		1:  {0x01400000, udpFlow},  // goes
		2:  {0x81401234, udpFlow},  // goes: other programs' bits are ignored
		3:  {0x01400000, tcpFlow},  // goes: its handshake was never completed
		4:  {0x01c00000, tcpFlow},  // waits for its reset
		5:  {0x02400000, udpFlow},  // another uplink
		6:  {0x01410000, udpFlow},  // another policy
		7:  {0x017f0000, udpFlow},  // inbound
		8:  {0x00000000, udpFlow},  // no lanes
		9:  {0x00400000, udpFlow},  // no uplink
		10: {0x01400000, udp6Flow}, // the other family
		11: {0x00004001, udpFlow},  // the pair in the wrong byte order
	} {
		if c.flow != "" {
			addFlow(t, ns, c.mark, fmt.Sprintf(c.flow, port))
		}
	}
	k := newKernel(t)
	inside(t, ns, func() error {
		return deletes(k, failover.IPv4)
	})
	left := func(port int) bool {
		all := run(t, ns, "conntrack", "-L", "-f", "ipv4") + run(t, ns, "conntrack", "-L", "-f", "ipv6")
		return strings.Contains(all, fmt.Sprintf("sport=1000 dport=%d ", port))
	}
	for port := 1; port <= 11; port++ {
		if got, want := left(port), port > 3; got != want {
			t.Errorf("the entry of port %d is there: %v, want %v", port, got, want)
		}
	}
	inside(t, ns, func() error {
		return deletes(k, failover.Families[:]...)
	})
	for port := 4; port <= 11; port++ {
		if got, want := left(port), port != 10; got != want {
			t.Errorf("after both families' flows went, the entry of port %d is there: %v, want %v", port, got, want)
		}
	}
}

func fillConntrack(t testing.TB, entries int, markOf func(i int) uint32) {
	t.Helper()
	w, err := openFlowWriter()
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	for i := range entries {
		w.add(newEntry(i, markOf(i)))
	}
	w.flush()
	if w.err != nil || w.done != entries {
		t.Fatalf("made %d of %d entries: %v", w.done, entries, w.err)
	}
}

// newEntry returns a message that adds the i-th UDP entry.
func newEntry(i int, mark uint32) (netlink.Message, error) {
	host := netip.AddrFrom4([4]byte{10, byte(i >> 22), byte(i >> 14), byte(i >> 6)}).AsSlice()
	server := netip.MustParseAddr("192.0.2.2").AsSlice()
	tuple := func(src, dst []byte, sport, dport uint16) func(*netlink.AttributeEncoder) error {
		return func(ae *netlink.AttributeEncoder) error {
			ae.Nested(ctaTupleIP, func(ip *netlink.AttributeEncoder) error {
				ip.Bytes(ctaIPv4Src, src)
				ip.Bytes(ctaIPv4Dst, dst)
				return nil
			})
			ae.Nested(ctaTupleProto, func(p *netlink.AttributeEncoder) error {
				p.ByteOrder = binary.BigEndian
				p.Uint8(ctaProtoNum, unix.IPPROTO_UDP)
				p.Uint16(2, sport)
				p.Uint16(3, dport)
				return nil
			})
			return nil
		}
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	port := uint16(1024 + i&63)
	ae.Nested(ctaTupleOrig, tuple(host, server, port, 53))
	ae.Nested(ctaTupleReply, tuple(server, host, 53, port))
	ae.Uint32(7, 600) // CTA_TIMEOUT, seconds
	ae.Uint32(ctaMark, mark)
	data, err := ae.Encode()
	return netlink.Message{
		Header: ctHeader(ctMessageNew, netlink.Acknowledge|netlink.Create|netlink.Excl),
		Data:   append(nfgenmsg(unix.AF_INET, 0), data...),
	}, err
}

// Two hundred thousand entries, half of them on the lost uplink. Deleting them takes
// one command, counting them a pass before, forgetting the others a pass.
func TestManyFlows(t *testing.T) {
	const entries = 200_000
	ns := netns.New(t)
	k := newKernel(t)
	count := func() string { return strings.TrimSpace(run(t, ns, "conntrack", "-C")) }
	inside(t, ns, func() error {
		fillConntrack(t, entries, func(i int) uint32 { return lane.DefaultLayout.CTPair(lane.Lane(1+i%2), lane.Lane(64+i/2%2)) })
		return nil
	})
	if got := count(); got != fmt.Sprint(entries) {
		t.Fatalf("%s entries to begin with", got)
	}
	began := time.Now()
	inside(t, ns, func() error {
		n, counted, err := k.EndFlows(lane.DefaultLayout, Pair{1, 65}, failover.IPv4)
		if want := [2]int{entries / 4, 0}; counted != listsQuickly() || counted && n != want {
			t.Errorf("counted (%v) %v, want %v", counted, n, want)
		}
		return err
	})
	t.Logf("deleted and counted a quarter of %d entries in %v", entries, time.Since(began))
	began = time.Now()
	inside(t, ns, func() error {
		return k.DeleteFlows(lane.DefaultLayout, Pair{1, 64}, failover.IPv4)
	})
	t.Logf("deleted a quarter of %d entries in %v", entries, time.Since(began))
	if got := count(); got != fmt.Sprint(entries/2) {
		t.Errorf("%s entries left, want %d", got, entries/2)
	}
	began = time.Now()
	inside(t, ns, func() error {
		n, err := k.ForgetFlows(lane.DefaultLayout)
		if n != entries/2 {
			t.Errorf("forgot %d flows, want %d", n, entries/2)
		}
		return err
	})
	t.Logf("forgot %d flows in %v", entries/2, time.Since(began))
	if out := run(t, ns, "conntrack", "-L", "-m", fmt.Sprint(0x02400000)); out != "" {
		t.Errorf("still with lanes: %.200s", out)
	}
}

// Flows that are older than the table keep their uplink, also inbound ones.
func TestAdoption(t *testing.T) {
	l := newLab(t)
	loadText(t, l.gw, `table inet before { chain nat {
		type nat hook postrouting priority srcnat; oifname { "wan0", "wan1" } masquerade;
}
}`)
	conns, inbound := [2]func() string{}, [2]func() string{}
	for _, f := range failover.Families {
		p := plans[f]
		serveUDP(t, l.net, at(p.host, 5000))
		serveUDP(t, l.gw, at(p.b, 2222))
		c, in := dialUDP(t, l.client, at(p.host, 5000)), dialUDP(t, l.net, at(p.b, 2222))
		conns[f], inbound[f] = func() string { return askUDP(t, c) }, func() string { return askUDP(t, in) }
		if got := conns[f](); got != p.a {
			t.Fatalf("the server saw %s", got)
		}
		inbound[f]()
	}
	serveTCP(t, l.net, at(plans[0].host, 5000))
	tcp := dialTCP(t, l.client, at(plans[0].host, 5000))
	askTCP(tcp)
	inside(t, l.gw, func() error {
		a, err := l.kernel.AdoptFlows(l.goal, 1, 2)
		if a.Flows != 5 || len(a.Native) > 0 {
			t.Errorf("adopted %+v, want 5 flows and no native network", a)
		}
		return err
	})
	out := l.flows("-m", fmt.Sprint(0x01c00000))
	if strings.Count(out, "tcp") != 1 {
		t.Errorf("the TCP connection is not known as established:\n%s", l.flows())
	}
	l.apply()
	l.prefer("wan1", "wan0")
	for _, f := range failover.Families {
		if got := conns[f](); got != plans[f].a {
			t.Errorf("after the routes changed the server saw %s", got)
		}
	}
	l.prefer("wan0", "wan1")
	for _, f := range failover.Families {
		if inbound[f]() == "" {
			t.Error("an inbound flow is no longer answered")
		}
	}
	if out := l.flows("-m", fmt.Sprint(0x027f0000)); strings.Count(out, "udp") != 2 {
		t.Errorf("inbound flows are not known as such:\n%s", l.flows())
	}
}

// What the LAN asks of the gateway at an uplink's address came in by no uplink: no lane
// leads its answers out there, on flows of before the start and on new ones.
func TestAdoptionOfTheLANsOwn(t *testing.T) {
	l := newLab(t)
	loadText(t, l.gw, trackEarly)
	var udp, tcp [2]net.Conn
	for _, f := range failover.Families {
		p := plans[f]
		serveUDP(t, l.gw, at(p.a, 2222))
		serveTCP(t, l.gw, at(p.a, 2222))
		udp[f], tcp[f] = dialUDP(t, l.client, at(p.a, 2222)), dialTCP(t, l.client, at(p.a, 2222))
		if got := askUDP(t, udp[f]); got != p.client {
			t.Fatalf("before the start the gateway saw %q", got)
		}
		askTCP(tcp[f])
	}
	if a := l.adopt(1, 2); a.Flows != 0 {
		t.Errorf("%d flows got lanes:\n%s", a.Flows, l.flows())
	}
	l.apply()
	for _, f := range failover.Families {
		if got := askUDP(t, udp[f]); got != plans[f].client {
			t.Errorf("%s: a UDP flow of before is answered %q", f, got)
		}
		if _, err := askTCP(tcp[f]); err != nil {
			t.Errorf("%s: a TCP connection of before: %v", f, err)
		}
	}
	if out := l.flows("-m", fmt.Sprint(0x017f0000)); out != "" {
		t.Errorf("came in by wan0:\n%s", out)
	}
}

// While the table is missing, flows begin without masquerade. Heal corrects them.
func TestHeal(t *testing.T) {
	l := newLab(t)
	l.apply()
	inside(t, l.gw, l.kernel.DeleteTable)
	// A rule of another program keeps conntrack active meanwhile.
	loadText(t, l.gw, `table inet other { chain f { type filter hook forward priority 0; ct state new accept;
}
}`)
	conns := [2]func() string{}
	for _, f := range failover.Families {
		serveUDP(t, l.net, at(plans[f].host, 5000))
		c := dialUDP(t, l.client, at(plans[f].host, 5000))
		conns[f] = func() string { return askUDP(t, c) }
		c.Write([]byte("?"))
		c.Write([]byte("?"))
	}
	addFlow(t, l.gw, 0, "-p udp -s 192.168.1.10 -d 192.168.1.77 --sport 1000 --dport 7")
	addFlow(t, l.gw, 0, "-p udp -s 192.168.1.10 -d 192.0.2.2 --sport 1000 --dport 9 --src-nat 203.0.113.77")
	until(t, "two bare flows", func() bool { return strings.Count(l.flows(), "dport=5000") == 4-2 })
	l.apply()
	inside(t, l.gw, func() error {
		n, err := l.kernel.Heal(l.goal)
		if n != 2 {
			t.Errorf("healed %d flows, want 2", n)
		}
		return err
	})
	for _, f := range failover.Families {
		if got := conns[f](); got != plans[f].a {
			t.Errorf("the server saw %s", got)
		}
	}
	for what, port := range map[string]string{"within the LAN": "dport=7 ", "with an address of its own": "dport=9 "} {
		if !strings.Contains(l.flows(), port) {
			t.Errorf("a flow %s was deleted", what)
		}
	}
}

// A flow that began without the table may have met it again before it is healed, and been
// given a policy with another uplink.
func TestHealOfAPolicy(t *testing.T) {
	l := blockLab(t)
	for _, f := range failover.Families {
		inside(t, l.gw, l.kernel.DeleteTable)
		loadText(t, l.gw, `table inet other { chain f { type filter hook forward priority 0; ct state new accept;
}
}`)
		c := dialUDP(t, l.client, at(plans[f].host, 7000))
		for range 3 {
			c.Write([]byte("?"))
		}
		l.apply()
		c.Write([]byte("?"))
		until(t, "a flow with a policy alone", func() bool { return strings.Contains(l.flows("-p", "udp"), fmt.Sprintf("mark=%d ", 0x420000)) })
		inside(t, l.gw, func() error {
			n, err := l.kernel.Heal(l.goal)
			if n != 1 {
				t.Errorf("%s: healed %d flows, want 1", f, n)
			}
			return err
		})
		if got := askUDP(t, c); got != plans[f].b {
			t.Errorf("%s: the server saw %s", f, got)
		}
		c.Close()
		run(t, l.gw, "conntrack", "-F")
		run(t, l.gw, "nft", "delete", "table", "inet", "other")
	}
}

// A block of addresses that the provider routes here is on no interface; a port forward
// or one-to-one NAT of the user's leads to hosts inside. Sessions of before the start go
// on, whether they were adopted or began too late for that, and keep their uplink.
func TestAdoptionOfPortForwards(t *testing.T) {
	l := newLab(t)
	loadText(t, l.gw, `table inet before { chain nat {
		type nat hook prerouting priority dstnat;
		ip daddr 203.0.113.77 dnat ip to 192.168.1.10
		ip6 daddr 2001:db8:77::7 dnat ip6 to fd00:1::10
	}
}`)
	blocks := [2]string{"203.0.113.77", "2001:db8:77::7"}
	var udp, late [2]net.Conn
	var tcp [2]net.Conn
	for _, f := range failover.Families {
		p := plans[f]
		run(t, l.net, "ip", p.flag, "route", "add", blocks[f], "via", p.a, "src", p.host)
		serveUDP(t, l.client, at(p.client, 5000))
		serveTCP(t, l.client, at(p.client, 5000))
		udp[f], tcp[f] = dialUDP(t, l.net, at(blocks[f], 5000)), dialTCP(t, l.net, at(blocks[f], 5000))
		if got := askUDP(t, udp[f]); got != p.host {
			t.Fatalf("before the start the server saw %q", got)
		}
		askTCP(tcp[f])
	}
	if a := l.adopt(1, 2); a.Flows != 4 || len(a.Native) > 0 {
		t.Errorf("adopted %+v, want 4 flows and no native network:\n%s", a, l.flows())
	}
	for _, f := range failover.Families {
		late[f] = dialUDP(t, l.net, at(blocks[f], 5000))
		askUDP(t, late[f])
	}
	l.apply()
	check := func(when string) {
		t.Helper()
		for _, f := range failover.Families {
			for _, c := range []net.Conn{udp[f], late[f]} {
				if got := askUDP(t, c); got != plans[f].host {
					t.Errorf("%s, %s: a UDP flow of before is answered %q", when, f, got)
				}
			}
			if _, err := askTCP(tcp[f]); err != nil {
				t.Errorf("%s, %s: a TCP connection of before: %v", when, f, err)
			}
		}
	}
	check("after the start")
	l.prefer("wan1", "wan0")
	check("after a switch")
	out := l.flows()
	if strings.Count(out, fmt.Sprint("mark=", 0x017f0000)) != 4 || strings.Count(out, fmt.Sprint("mark=", 0x01ff0000)) != 2 {
		t.Errorf("not all came in by wan0:\n%s", out)
	}
}
