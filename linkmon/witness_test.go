package linkmon

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// packetOf returns the start of an IP packet: TCP with flags, or UDP from a port.
func packetOf(from, to string, protocol byte, flagsOrPort uint16) []byte {
	source, destination := netip.MustParseAddr(from), netip.MustParseAddr(to)
	var b []byte
	if source.Is4() {
		b = make([]byte, 20)
		b[0], b[9] = 0x45, protocol
		copy(b[12:], source.AsSlice())
		copy(b[16:], destination.AsSlice())
	} else {
		b = make([]byte, 40)
		b[0], b[6] = 0x60, protocol
		copy(b[8:], source.AsSlice())
		copy(b[24:], destination.AsSlice())
	}
	rest := make([]byte, 20)
	if protocol == unix.IPPROTO_TCP {
		rest[13] = byte(flagsOrPort)
	} else {
		binary.BigEndian.PutUint16(rest, flagsOrPort)
	}
	return append(b, rest...)
}

// Only packets that flows receive from two remote hosts, to which packets were
// sent, count.
func TestHearing(t *testing.T) {
	const own, a, b, near, foreign = "203.0.113.2", "192.0.2.1", "192.0.2.2", "203.0.113.9", "192.0.2.66"
	const ack, syn, rst = 0x10, 0x02, 0x04
	link := failover.Link{}
	link.Family[failover.IPv4].Addresses = []netip.Prefix{netip.MustParsePrefix("203.0.113.2/24")}
	for name, c := range map[string]struct {
		from     []string
		protocol byte
		value    uint16
		apart    time.Duration
		want     bool
	}{
		"two hosts":              {[]string{a, b}, unix.IPPROTO_TCP, ack, time.Millisecond, true},
		"two by UDP":             {[]string{a, b}, unix.IPPROTO_UDP, 443, time.Millisecond, true},
		"one host":               {[]string{a, a, a}, unix.IPPROTO_TCP, ack, time.Millisecond, false},
		"a neighbour beside one": {[]string{a, near}, unix.IPPROTO_TCP, ack, time.Millisecond, false},
		"a stranger beside one":  {[]string{a, foreign}, unix.IPPROTO_TCP, ack, time.Millisecond, false},
		"name servers":           {[]string{a, b}, unix.IPPROTO_UDP, 53, time.Millisecond, false},
		"connections that begin": {[]string{a, b}, unix.IPPROTO_TCP, ack | syn, time.Millisecond, false},
		"resets":                 {[]string{a, b}, unix.IPPROTO_TCP, ack | rst, time.Millisecond, false},
		"answers to probes":      {[]string{a, b}, unix.IPPROTO_ICMP, 0, time.Millisecond, false},
		"too far apart":          {[]string{a, b}, unix.IPPROTO_TCP, ack, heardFor + 1, false},
	} {
		h := newHearing(link, newProbedEnds(), 0)
		at, got := time.Second, false
		for _, to := range []string{a, b, near} {
			h.packet(at, true, packetOf(own, to, unix.IPPROTO_TCP, ack))
		}
		for _, from := range c.from {
			at += c.apart
			f, remotes := h.packet(at, false, packetOf(from, own, c.protocol, c.value))
			got = got || remotes >= leastRemotes && f == failover.IPv4
		}
		if got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
	h := newHearing(link, newProbedEnds(), 0)
	remotes := 0
	for _, a := range []string{"2001:db8::1", "2001:db8::2"} {
		h.packet(time.Second, true, packetOf("2001:db8:1::2", a, unix.IPPROTO_UDP, 5000))
		_, remotes = h.packet(time.Second, false, packetOf(a, "2001:db8:1::2", unix.IPPROTO_UDP, 443))
	}
	if remotes < leastRemotes {
		t.Error("IPv6 is not heard")
	}
	probed := newProbedEnds() // what a portal says in the place of targets is no flow's
	for _, to := range []string{a + ":443", b + ":443", a + ":0"} {
		probed.add(netip.MustParseAddrPort(to))
	}
	h, remotes = newHearing(link, probed, 0), 0
	for _, from := range []string{a, b} {
		h.packet(time.Second, true, packetOf(own, from, unix.IPPROTO_UDP, 5000))
		_, n := h.packet(time.Second, false, packetOf(from, own, unix.IPPROTO_UDP, 443))
		remotes = max(remotes, n)
	}
	if remotes > 0 {
		t.Errorf("answers to probes count as those of %d hosts", remotes)
	}
	for _, from := range []string{a, b} {
		_, remotes = h.packet(time.Second, false, packetOf(from, own, unix.IPPROTO_UDP, 4430))
	}
	if remotes < leastRemotes {
		t.Error("another port of a target is not heard")
	}
	for _, broken := range [][]byte{nil, {0x45}, make([]byte, 60), packetOf(a, own, unix.IPPROTO_TCP, ack)[:25]} {
		h.packet(time.Second, false, broken)
	}
}

// One remote host is heard where what it sends is new, and no other is asked in vain. A
// line that is dead in the direction from here has its data repeated, and nothing
// acknowledged.
func TestOneHostIsHeard(t *testing.T) {
	const own, remote, other = "203.0.113.2", "192.0.2.1", "192.0.2.2"
	const ack, syn, rst = 0x10, 0x02, 0x04
	segment := func(seq, ack uint32, data int) []byte {
		b := packetOf(remote, own, unix.IPPROTO_TCP, 0x10)
		binary.BigEndian.PutUint16(b[2:], uint16(40+data))
		binary.BigEndian.PutUint32(b[24:], seq)
		binary.BigEndian.PutUint32(b[28:], ack)
		b[32] = 5 << 4
		return b
	}
	// to returns a packet to another host, or to a port of this one.
	to := func(host string, protocol byte, flags, port uint16) []byte {
		b := packetOf(own, host, protocol, flags)
		binary.BigEndian.PutUint16(b[22:], port)
		return b
	}
	from := func(host string, port uint16) []byte { return packetOf(host, own, unix.IPPROTO_UDP, port) }
	data := [][]byte{segment(1000, 50, 10), segment(1010, 50, 10)}
	overTCP := segment(1000, 50, 10)
	binary.BigEndian.PutUint16(overTCP[20:], 53)
	overTCPNext := segment(1010, 50, 10)
	binary.BigEndian.PutUint16(overTCPNext[20:], 53)
	talk := to(other, unix.IPPROTO_TCP, ack, 443)
	for name, c := range map[string]struct {
		beside  [][]byte // one each round, for vainAfter and longer, before the packets
		packets [][]byte
		want    int
	}{
		"data":                         {nil, data, 1},
		"over the end of numbers":      {nil, [][]byte{segment(1<<32-10, 50, 10), segment(0, 50, 10)}, 1},
		"what it acknowledges":         {nil, [][]byte{segment(1000, 50, 0), segment(1000, 90, 0)}, 1},
		"one segment":                  {nil, [][]byte{segment(1000, 50, 10)}, 0},
		"repeated data":                {nil, [][]byte{segment(1000, 50, 10), segment(1000, 50, 10), segment(1000, 50, 10)}, 0},
		"what was repeated before":     {nil, [][]byte{segment(1000, 50, 10), segment(900, 40, 10), segment(1000, 50, 10)}, 0},
		"a name server":                {nil, [][]byte{from(remote, 53)}, 0},
		"a name server over TCP":       {nil, [][]byte{overTCP, overTCPNext}, 0},
		"a name server over TLS":       {nil, [][]byte{from(remote, 853)}, 0},
		"UDP":                          {nil, [][]byte{from(remote, 443)}, 1},
		"another that is silent":       {[][]byte{talk, talk, talk, talk, talk}, data, 0},
		"another that answers":         {[][]byte{talk, talk, talk, from(other, 443), talk, talk, talk, from(other, 443)}, data, 2},
		"another that answered before": {[][]byte{talk, talk, talk, talk, from(other, 443), nil, nil, nil, nil, nil, nil, nil}, data, 1},
		"one packet to another":        {[][]byte{talk, nil, nil, nil, nil, nil}, data, 1},
		"connections that begin":       {[][]byte{to(other, unix.IPPROTO_TCP, syn, 443), nil, nil, nil, nil, to(other, unix.IPPROTO_TCP, syn, 443)}, data, 1},
		"resets to a stranger":         {[][]byte{to(other, unix.IPPROTO_TCP, rst, 443), nil, nil, nil, nil, to(other, unix.IPPROTO_TCP, rst, 443)}, data, 1},
		"a silent name server":         {[][]byte{to(other, unix.IPPROTO_UDP, 0, 53), nil, nil, nil, nil, to(other, unix.IPPROTO_UDP, 0, 53)}, data, 1},
	} {
		h := newHearing(failover.Link{}, newProbedEnds(), 0)
		at, got := time.Second, 0
		h.packet(at, true, to(remote, unix.IPPROTO_TCP, ack, 443))
		for _, b := range c.beside {
			at += listenRound
			if b != nil {
				h.packet(at, b[12] == 203, b)
			}
		}
		for _, b := range c.packets {
			at += listenRound
			_, n := h.packet(at, false, b)
			got = max(got, n)
		}
		if got != c.want {
			t.Errorf("%s: heard from %d hosts, want %d", name, got, c.want)
		}
	}
}

// A single host is heard once the witness has listened for long enough to know whether
// another is asked in vain.
func TestOneHostIsHeardLater(t *testing.T) {
	const own, remote, begun = "203.0.113.2", "192.0.2.1", time.Second
	h := newHearing(failover.Link{}, newProbedEnds(), begun)
	h.packet(begun, true, packetOf(own, remote, unix.IPPROTO_UDP, 5000))
	for after, want := range map[time.Duration]int{heardFor - 1: 0, heardFor: 1} {
		if _, n := h.packet(begun+after, false, packetOf(remote, own, unix.IPPROTO_UDP, 443)); n != want {
			t.Errorf("after %v: heard from %d hosts, want %d", after, n, want)
		}
	}
}

// The ends that were probed are bounded.
func TestProbedEndsAreBounded(t *testing.T) {
	e := newProbedEnds()
	for i := range 3 * mostEnds {
		e.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1+uint16(i>>4)))
	}
	if len(e.ends) > mostEnds {
		t.Errorf("%d ends", len(e.ends))
	}
}
