package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
	"swerve/testenv/packet"
	"swerve/testenv/wait"
)

// anyAddress is what a socket listens at that is bound to no address; one of IPv6 serves
// both families.
var anyAddress = [2]string{"0.0.0.0:5000", "[::]:5000"}

// A UDP server that is bound to no address answers each asker from the address that was
// asked, whichever uplink carries, and while its own leaves the ladder and comes back.
func TestWildcardServer(t *testing.T) {
	for name, server := range map[string]string{"ipv4": anyAddress[0], "both": anyAddress[1]} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			serveUDP(t, l.gw, server)
			var askers []net.Conn
			for _, f := range failover.Families {
				if p := plans[f]; f == failover.IPv4 || name == "both" {
					for _, own := range []string{p.a, p.b} {
						askers = append(askers, dialFromUDP(t, l.net, p.host, at(own, 5000)))
					}
				}
			}
			for _, order := range [][2]string{{"wan0", "wan1"}, {"wan1", "wan0"}, {"wan0", "wan1"}} {
				l.prefer(order[0], order[1])
				for _, c := range askers {
					askUDP(t, c) // connected: hears only the address that it asks
				}
			}
			l.noneWrong()
			if n := l.counters().Stray.Packets; n != 0 {
				t.Errorf("%d strays", n)
			}
			inside(t, l.gw, func() error {
				if lacks, err := l.kernel.Drift(Ruleset(l.goal)); err != nil || len(lacks) > 0 {
					t.Errorf("the kernel lacks %v, %v", lacks, err)
				}
				return nil
			})
		})
	}
}

// So it does by an uplink that the default policy's sessions have left since it is drained:
// what comes in by it is answered by it.
func TestWildcardServerOfADrainedUplink(t *testing.T) {
	l := newLab(t)
	l.apply()
	l.watchWrong()
	serveUDP(t, l.gw, anyAddress[1])
	ask := func(f failover.Family) net.Conn {
		return dialFromUDP(t, l.net, plans[f].host, at(plans[f].a, 5000))
	}
	before := [2]net.Conn{ask(failover.IPv4), ask(failover.IPv6)}
	for _, c := range before {
		askUDP(t, c)
	}
	l.prefer("wan1", "wan0")
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf("rule del pref 5451 from %s fwmark 0/0xffffffff lookup 5301", p.a))
	}
	l.move(func(g *Goal) {
		g.Lost, g.Drained = [2][]Pair{{{1, 64}}, {{1, 64}}}, [2][]lane.Lane{{1}, {1}}
	})
	for _, f := range failover.Families {
		l.deleteFlows(f, 1, 64)
		for _, c := range []net.Conn{before[f], ask(f)} {
			for range 2 {
				askUDP(t, c) // connected: hears only the address that it asks
			}
		}
	}
	l.noneWrong()
}

// An asker that asks at both addresses by one socket has its answers from a server that
// chooses the source itself, as it chooses; so has one that asks a server for each address.
func TestWildcardLeavesRightAnswersAlone(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			asker := listenShared(t, l.net, at(p.host, 6000))
			answerAsAsked(t, listenShared(t, l.gw, anyAddress[f]), f)
			for _, own := range []string{p.a, p.b, p.a, p.b} {
				asker.expect(t, own, 5000, own)
			}
			for _, own := range []string{p.a, p.b} {
				serveUDP(t, l.gw, at(own, 5001))
			}
			for _, own := range []string{p.a, p.b, p.a} {
				asker.expect(t, own, 5001, own)
			}
		})
	}
}

// What a socket that is bound to an address sends to an asker of another one stays what it
// is, and so does what the gateway begins, also from a socket with a mark; asked again at
// the other address, the server that is bound to none is known by both.
func TestWildcardLeavesOthersAlone(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			asker := listenShared(t, l.net, at(p.host, 6000))
			server := listenShared(t, l.gw, anyAddress[f])
			asker.send(t, at(p.b, 5000))
			server.receive(t)
			server.send(t, at(p.host, 6000))
			if got := asker.receive(t); got != at(p.b, 5000) {
				t.Fatalf("%s was asked, and %s answered", p.b, got)
			}
			for _, from := range []string{at(p.a, 5000), at(p.a, 5002), strings.Replace(anyAddress[f], "5000", "5003", 1)} {
				listenShared(t, l.gw, from).send(t, at(p.host, 6000))
				if got := netip.MustParseAddrPort(asker.receive(t)).Addr().String(); got != p.a {
					t.Errorf("what was sent from %s came from %s", from, got)
				}
			}
			marked := listenShared(t, l.gw, anyAddress[f])
			marked.set(t, unix.SO_MARK, 0x5)
			marked.send(t, at(p.host, 6000))
			if got := asker.receive(t); got != at(p.a, 5000) {
				t.Errorf("what was sent with a mark came from %s", got)
			}
			asked := run(t, l.gw, "nft", "list", "set", "inet", "swerve", setOf(p.b))
			if strings.Count(asked, "expires") != 1 || !strings.Contains(asked, p.host+" . 6000 . 5000") {
				t.Errorf("recorded is\n%s", asked)
			}
		})
	}
}

// Packets to a port at which nobody listens, to a socket that is bound to an address, and
// to many addresses at once leave nothing behind.
func TestWildcardRecordsNoOthers(t *testing.T) {
	l := newLab(t)
	l.apply()
	serveUDP(t, l.gw, at(plans[failover.IPv4].b, 5001))
	heard := listenShared(t, l.gw, anyAddress[failover.IPv4])
	asker := listenShared(t, l.net, at(plans[failover.IPv4].nextB, 6000))
	asker.set(t, unix.SO_BROADCAST, 1)
	for _, to := range []string{"198.51.100.2:5002", "198.51.100.255:5000"} {
		asker.send(t, to)
	}
	heard.receive(t)
	asker.expect(t, plans[failover.IPv4].b, 5001, plans[failover.IPv4].b)
	for _, p := range plans {
		for _, own := range []string{p.a, p.b} {
			if held := run(t, l.gw, "nft", "list", "set", "inet", "swerve", setOf(own)); strings.Contains(held, "expires") {
				t.Errorf("recorded is\n%s", held)
			}
		}
	}
}

// An asker turns from one address to another by the same port, as VPN clients do: it is
// answered from there once it has not asked at the first one for a while.
func TestWildcardAskerTurns(t *testing.T) {
	l := newLab(t)
	l.apply()
	for _, p := range plans {
		asker := listenShared(t, l.net, at(p.host, 6000))
		serveUDP(t, l.gw, at(map[string]string{"ip": "0.0.0.0", "ip6": "::"}[p.family], 5000+p.bits))
		for _, own := range []string{p.a, p.b, p.a, p.b} {
			asker.expect(t, own, 5000+p.bits, own)
			run(t, l.gw, "nft", "flush", "set", "inet", "swerve", setOf(own)) // as time does
		}
	}
}

// Of many addresses the first are served, in any order, and a table without an address
// that went loses its set.
func TestWildcardAddressesAreBounded(t *testing.T) {
	l := newLab(t)
	var many []netip.Addr
	for i := range 2 * mostAsked {
		many = append(many, netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + i)}))
	}
	l.goal.Uplinks[0].Addresses = many
	l.apply()
	first := Ruleset(l.goal).String()
	slices.Reverse(many)
	sameLines(t, Ruleset(l.goal).String(), first)
	if n := strings.Count(listed(t, l.gw), "set callers_203"); n != mostAsked {
		t.Errorf("%d sets, want %d", n, mostAsked)
	}
	l.goal.Uplinks[0].Addresses = many[len(many)-1:]
	l.apply()
	if n := strings.Count(listed(t, l.gw), "set callers_203"); n != 1 {
		t.Errorf("%d sets are left, want 1", n)
	}
}

func setOf(own string) string { return callSetOf(netip.MustParseAddr(own), 1).name }

// A kernel that does not tell which sockets are bound to no address is asked for nothing
// that it lacks; asking leaves nothing behind.
func TestTellsWildcards(t *testing.T) {
	l := newLab(t)
	before := run(t, l.gw, "nft", "list", "ruleset")
	inside(t, l.gw, func() error {
		if !l.kernel.TellsWildcards() {
			t.Error("this kernel is taken for one that does not tell")
		}
		return nil
	})
	if now := run(t, l.gw, "nft", "list", "ruleset"); now != before {
		t.Errorf("the ruleset is\n%s\nand was\n%s", now, before)
	}
	l.goal.Wildcards = false
	if text := Ruleset(l.goal).String(); strings.Contains(text, "socket wildcard") || strings.Contains(text, "callers_") {
		t.Errorf("the table asks for sockets:\n%s", text)
	}
	l.apply()
	l.goal.Wildcards = true
	l.apply()
}

// udpSocket sends and receives datagrams.
type udpSocket struct{ *net.UDPConn }

// listenShared is at an address that other sockets may have too.
func listenShared(t *testing.T, ns *netns.NS, address string) udpSocket {
	t.Helper()
	var c net.PacketConn
	reuse := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }), err)
	}}
	inside(t, ns, func() (err error) {
		c, err = reuse.ListenPacket(t.Context(), "udp", address)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return udpSocket{c.(*net.UDPConn)}
}

func (c udpSocket) set(t *testing.T, option, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value) }), err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c udpSocket) send(t *testing.T, to string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte("?"), netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

// receive returns where the next datagram comes from.
func (c udpSocket) receive(t *testing.T) string {
	t.Helper()
	buf := make([]byte, 100)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatalf("at %s: %v", c.LocalAddr(), err)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()).String()
}

// expect asks a port at an address, and checks which address answers.
func (c udpSocket) expect(t *testing.T, asked string, port int, want string) {
	t.Helper()
	c.send(t, at(asked, port))
	if got := c.receive(t); got != at(want, port) {
		t.Errorf("%s was asked, and %s answered", asked, got)
	}
}

// answerAsAsked has a socket answer from the address that was asked, which it chooses
// itself.
func answerAsAsked(t *testing.T, c udpSocket, f failover.Family) {
	t.Helper()
	p4, p6 := ipv4.NewPacketConn(c.UDPConn), ipv6.NewPacketConn(c.UDPConn)
	var err error
	if f == failover.IPv4 {
		err = p4.SetControlMessage(ipv4.FlagDst, true)
	} else {
		err = p6.SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 100)
		for {
			if f == failover.IPv4 {
				n, cm, from, err := p4.ReadFrom(buf)
				if err != nil {
					return
				}
				p4.WriteTo(buf[:n], &ipv4.ControlMessage{Src: cm.Dst}, from)
				continue
			}
			n, cm, from, err := p6.ReadFrom(buf)
			if err != nil {
				return
			}
			p6.WriteTo(buf[:n], &ipv6.ControlMessage{Src: cm.Dst}, from)
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
}

// The answers' checksums of UDP are right, whether the kernel has computed them before the
// source was replaced, as it does for what has to be fragmented, or leaves that to the
// device, which then only finds the sum of the pseudo-header (RFC 768, RFC 8200).
func TestWildcardChecksums(t *testing.T) {
	for _, f := range failover.Families {
		for name, size := range map[string]int{"left to the device": 8, "fragmented": 3000} {
			t.Run(f.String()+", "+name, func(t *testing.T) {
				l := newLab(t)
				l.apply()
				p := plans[f]
				server, asker := listenShared(t, l.gw, anyAddress[f]), listenShared(t, l.net, at(p.host, 6000))
				wire, err := packet.Open(l.net, packet.Options{Link: "ispB", Cooked: true, Incoming: true})
				l.must(err)
				defer unix.Close(wire)
				asker.send(t, at(p.b, 5000))
				server.receive(t)
				if _, err := server.WriteToUDPAddrPort(make([]byte, size), netip.MustParseAddrPort(at(p.host, 6000))); err != nil {
					t.Fatal(err)
				}
				whole := datagram(t, wire, f, netip.MustParseAddr(p.b))
				pseudo := slices.Concat(netip.MustParseAddr(p.b).AsSlice(), netip.MustParseAddr(p.host).AsSlice(), whole[4:6], []byte{0, unix.IPPROTO_UDP})
				found := binary.BigEndian.Uint16(whole[6:])
				if left := checksum(slices.Concat(pseudo, whole)); left != 0 && found != ^checksum(pseudo) {
					t.Errorf("the sum is off by %#x, and is %#x where that of the pseudo-header is %#x", left, found, ^checksum(pseudo))
				}
			})
		}
	}
}

// datagram returns the first one of UDP that comes by a wire from an address, put together.
func datagram(t *testing.T, wire int, f failover.Family, from netip.Addr) (whole []byte) {
	t.Helper()
	buf := make([]byte, 2000)
	wait.For(t, "the datagram", func() bool {
		n, err := unix.Read(wire, buf)
		source := [2]int{12, 8}[f]
		if err != nil || n < 28 || buf[0]>>4 != [2]byte{4, 6}[f] || !bytes.HasPrefix(buf[source:], from.AsSlice()) {
			return false
		}
		length, protocol, more := 20, buf[9], buf[6]&0x20 != 0
		if f == failover.IPv6 {
			length, protocol, more = 40, buf[6], false
			if protocol == unix.IPPROTO_FRAGMENT {
				length, protocol, more = 48, buf[40], buf[43]&1 != 0
			}
		}
		if protocol != unix.IPPROTO_UDP {
			return false
		}
		whole = append(whole, buf[length:n]...)
		return !more
	})
	return whole
}

// A peer of a tunnel has asked once and is spoken to from then on. When the uplink that it
// asked at is lost, by a verdict or by its carrier alone, the gateway's own packets reach it
// by the other one, with that one's address; and by the first one again when that is back.
func TestWildcardPeerRoams(t *testing.T) {
	for _, carrier := range []bool{false, true} {
		for f, p := range plans {
			t.Run(fmt.Sprintf("carrier %t %s", carrier, p.family), func(t *testing.T) {
				l := newLab(t)
				l.apply()
				l.watchWrong()
				own, err := l.gw.ListenPacket("udp", anyAddress[f])
				if err != nil {
					t.Fatal(err)
				}
				defer own.Close()
				peer, err := l.net.ListenPacket("udp", at(p.host, 6000))
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				buf := make([]byte, 10)
				heard := func(from string) {
					t.Helper()
					until(t, "a packet from "+from, func() bool {
						own.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at(p.host, 6000))))
						peer.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
						_, by, err := peer.ReadFrom(buf)
						return err == nil && by.String() == at(from, 5000)
					})
				}
				peer.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at(p.a, 5000))))
				heard(p.a)
				if carrier {
					run(t, l.net, "ip", "link", "set", "ispA", "down")
				} else {
					l.lose()
				}
				heard(p.b)
				if carrier {
					return
				}
				l.regain()
				run(t, l.gw, "conntrack", "-F")
				peer.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at(p.a, 5000))))
				heard(p.a)
				l.noneWrong()
			})
		}
	}
}
