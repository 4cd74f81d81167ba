package linkmon

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// replies are what a target may make of an echo request, without its IP header: only the
// whole of it, as RFC 792 has it, is an answer, whatever follows.
var replies = []struct {
	name   string
	make   func(echo []byte) []byte // of the reply as it should be
	answer bool
}{
	{"as it should be", func(e []byte) []byte { return e }, true},
	{"nothing", func([]byte) []byte { return nil }, false},
	{"one byte", func(e []byte) []byte { return e[:1] }, false},
	{"the header alone", func(e []byte) []byte { return e[:8] }, false},
	{"half of it", func(e []byte) []byte { return e[:len(e)/2] }, false},
	{"the last byte is missing", cutOff, false},
	{"another identifier", func(e []byte) []byte { e[4]++; return e }, false},
	{"another sequence", func(e []byte) []byte { e[7]++; return e }, false},
	{"another content", func(e []byte) []byte { e[len(e)-1]++; return e }, false},
	{"zeros", func(e []byte) []byte { clear(e[8:]); return e }, false},
	{"unreachable", func(e []byte) []byte { return append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, e...) }, false},
	{"an extended header that is cut short", func(e []byte) []byte { e[0] = 43; return e[:8] }, false},
	{"redirected", func(e []byte) []byte { return append([]byte{5, 1, 0, 0, 10, 9, 0, 66}, e...) }, false},
	{"with sixty thousand bytes more", func(e []byte) []byte { return append(e, make([]byte, 60_000)...) }, true},
}

// cutOff takes the last byte off. What lacks a zero at its end cannot be told from the
// whole: the pinger's buffer has zeros behind it.
func cutOff(e []byte) []byte {
	if e[len(e)-1] == 0 {
		return nil
	}
	return e[:len(e)-1]
}

// checksum fills in that of an ICMP message.
func checksum(b []byte) {
	if len(b) < 4 {
		return
	}
	b[2], b[3] = 0, 0
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		sum += word
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
}

// What a target, or somebody on the way, sends in place of an answer is none, and harms
// nobody: the next probe is answered.
func TestForgedReplies(t *testing.T) {
	sockets(t, func(t *testing.T, raw bool) {
		ns, peer := netns.New(t), netns.New(t)
		if err := netns.Veth(ns, "w0", peer, "p0"); err != nil {
			t.Fatal(err)
		}
		for end, on := range map[string]*netns.NS{"w0 10.9.0.1/24": ns, "p0 10.9.0.2/24": peer} {
			link, address := end[:2], end[3:]
			if err := on.AddAddr(link, netip.MustParsePrefix(address)); err != nil {
				t.Fatal(err)
			}
			if err := on.SetUp(link); err != nil {
				t.Fatal(err)
			}
		}
		if err := peer.SetSysctl("net/ipv4/icmp_echo_ignore_all", "1"); err != nil {
			t.Fatal(err)
		}
		permit(t, ns, raw)
		conn, err := peer.ListenPacket("ip4:icmp", "10.9.0.2")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var forge func([]byte) []byte
		done := make(chan struct{})
		go func() {
			defer close(done)
			answerForged(conn, func(echo []byte) []byte { mu.Lock(); defer mu.Unlock(); return forge(echo) })
		}()
		t.Cleanup(func() { conn.Close(); <-done })

		began := time.Now()
		echo := newICMP(func() failover.Instant { return time.Since(began) }, nil)
		probe := func(wait time.Duration) (sent, answered bool) {
			r := request{to: addr("10.9.0.2"), source: addr("10.9.0.1"), device: "w0", wait: wait}
			err := ns.Do(func() error {
				echo.probe(context.Background(), r, func(o outcome) {
					sent, answered = sent || o.kind == probeSent, answered || o.kind == probeAnswered
				})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return sent, answered
		}
		for _, c := range replies {
			mu.Lock()
			forge = c.make
			mu.Unlock()
			wait := 200 * time.Millisecond // for what must not come
			if c.answer {
				wait = 10 * time.Second
			}
			if sent, answered := probe(wait); !sent || answered != c.answer {
				t.Errorf("%s: sent %v, answered %v, want %v", c.name, sent, answered, c.answer)
			}
		}
		mu.Lock()
		forge = replies[0].make
		mu.Unlock()
		if _, answered := probe(10 * time.Second); !answered {
			t.Error("afterwards a probe is not answered")
		}
	})
}

// answerForged answers echo requests until the socket is closed.
func answerForged(conn net.PacketConn, forge func(echo []byte) []byte) {
	buffer := make([]byte, 2000)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if n < 8 || buffer[0] != 8 {
			continue
		}
		reply := append([]byte(nil), buffer[:n]...)
		reply[0] = 0
		if reply = forge(reply); len(reply) > 0 {
			checksum(reply)
			_, _ = conn.WriteTo(reply, from)
		}
	}
}
