package firewall

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Pokes is what Poke did, by family.
type Pokes struct {
	// Sent is how many connections' clients were poked; Left is how many more were active.
	Sent, Left [2]int
}

const (
	// mostPokes bounds the clients that are poked at a loss. The latest active come first.
	mostPokes = 20_000
	// pokesAtOnce are sent in a row, then none for pokeRest: 250,000 a second at most.
	pokesAtOnce = 250
	pokeRest    = time.Millisecond
	// activeFor is how long ago the last packet of a connection may be that is in use.
	activeFor = time.Minute
)

// Poke has the clients of a lost pair's TCP connections speak that were active in the
// last minute, so that they meet the reset that the table has for them. One that only
// listens, to a download or to a log, would wait for ever: what its server sends is lost
// with the uplink. Each gets one SYN with an acknowledgement in the name of its server, with
// random numbers, as if that had begun anew. TCP answers it with what it has received so
// far, wherever the numbers lie (RFC 5961, 4.2), and firewalls between that track the
// connection let it pass for just that purpose, unlike a bare acknowledgement out of the
// window. A host that does not know the connection answers with a reset, which goes nowhere
// either.
//
// Pokes are not tracked and never leave by an uplink. Connections of this machine itself
// get none: DestroySockets ends them. The routes and the table have to be those of after
// the loss.
func (k *Kernel) Poke(l lane.Layout, pair Pair, families ...failover.Family) (Pokes, error) {
	fail := func(p Pokes, err error) (Pokes, error) {
		if err != nil {
			err = fmt.Errorf("firewall: poke the clients of lane %d: %w", pair.Uplink, err)
		}
		return p, err
	}
	if !pair.Uplink.IsUplink() || !pair.Policy.IsPolicy() {
		return fail(Pokes{}, fmt.Errorf("%+v is no pair of an uplink and a policy", pair))
	}
	all, err := activeClients(l, l.CTPair(pair.Uplink, pair.Policy), l.CTMask, families)
	if err != nil {
		return fail(Pokes{}, err)
	}
	return fail(all.poke(l))
}

// listsQuickly reports whether the kernel lists a few entries of many quickly. Before
// Linux 6.3 it answers for each part of its table that it walks.
func listsQuickly() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major > 6 || major == 6 && minor >= 3)
}

// client is the client's side of a TCP connection.
type client struct {
	client, server netip.AddrPort
	idle           time.Duration
}

func (c client) family() failover.Family { return failover.FamilyOf(c.client.Addr()) }

// clients are those of some connections, the latest active first.
type clients struct {
	found []client
	left  [2]int // how many more there are than may be poked
}

// activeClients lists the clients of established TCP connections whose mark has a value
// under a mask, without those that came in by an uplink.
func activeClients(l lane.Layout, mark, mask uint32, families []failover.Family) (all clients, err error) {
	if n, err := flowCount(); err != nil || n > mostListed && !listsQuickly() {
		return all, cmp.Or(err, fmt.Errorf("there are %d entries, which kernels before Linux 6.3 take long to list", n))
	}
	mark, mask = mark|l.CTEstablished(), mask|l.CTEstablished()
	selection, err := selectMark(mark, mask)
	if err != nil {
		return all, err
	}
	own, err := ownSources()
	if err != nil {
		return all, err
	}
	times := readTCPTimes()
	_, err = eachFlowIn(selection, 0, func(f flow) (flowChange, uint32) {
		_, policy := l.CTLanes(f.mark)
		idle := times.idle(f)
		if f.mark&mask == mark && policy.IsPolicy() && f.established() && slices.Contains(families, f.family) && idle <= activeFor && !own[f.src] {
			all.found = append(all.found, client{netip.AddrPortFrom(f.src, f.ports[0]), netip.AddrPortFrom(f.dst, f.ports[1]), idle})
			if len(all.found) >= 2*mostPokes {
				all.limit()
			}
		}
		return keepFlow, 0
	})
	all.limit()
	return all, err
}

// limit sorts the clients, and leaves out those beyond mostPokes.
func (all *clients) limit() {
	slices.SortFunc(all.found, func(a, b client) int { return cmp.Compare(a.idle, b.idle) })
	for _, c := range all.found[min(len(all.found), mostPokes):] {
		all.left[c.family()]++
	}
	all.found = all.found[:min(len(all.found), mostPokes)]
}

// poke pokes them.
func (all clients) poke(l lane.Layout) (Pokes, error) {
	p := poker{mark: l.Mark(lane.Nobody), fds: [2]int{-1, -1}}
	defer p.close()
	sent, err := p.poke(all.found)
	return Pokes{sent, all.left}, err
}

// ownSources returns this machine's addresses.
func ownSources() (map[netip.Addr]bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the own addresses: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr()] = true
		}
	}
	return own, nil
}

// tcpTimes are how long the kernel keeps the entry of an established connection after its
// last packet, and of one that waits for an acknowledgement.
type tcpTimes struct{ established, unacknowledged time.Duration }

// readTCPTimes reads them for this network namespace; the kernel's defaults stand for
// what cannot be read.
func readTCPTimes() tcpTimes {
	read := func(name string, otherwise time.Duration) time.Duration {
		b, _ := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_" + name)
		if n, err := strconv.Atoi(string(bytes.TrimSpace(b))); err == nil {
			return time.Duration(n) * time.Second
		}
		return otherwise
	}
	return tcpTimes{
		established:    read("established", 432_000*time.Second),
		unacknowledged: max(read("unacknowledged", 300*time.Second), read("max_retrans", 300*time.Second)),
	}
}

// idle is for how long nothing of an established connection has passed. One that is being
// closed counts as active: its entry does not last long.
func (t tcpTimes) idle(f flow) time.Duration {
	switch {
	case f.tcpState != tcpEstablished:
		return 0
	case f.left <= t.unacknowledged:
		return max(0, min(t.unacknowledged, t.established)-f.left)
	}
	return max(0, t.established-f.left)
}

// poker sends pokes by one socket a family, opened at the first.
type poker struct {
	mark uint32
	fds  [2]int
}

func (p *poker) close() {
	for _, fd := range p.fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (p *poker) poke(all []client) (sent [2]int, err error) {
	for i, c := range all {
		if i > 0 && i%pokesAtOnce == 0 {
			time.Sleep(pokeRest)
		}
		f := c.family()
		if p.fds[f] < 0 {
			if p.fds[f], err = openPokes(f, p.mark); err != nil {
				return sent, err
			}
		}
		switch e := unix.Sendto(p.fds[f], c.poke(rand.Uint32(), rand.Uint32()), 0, sockaddr(c.client.Addr())); {
		case e == nil:
			sent[f]++
		case !errors.Is(e, unix.EPERM) && !errors.Is(e, unix.ENETUNREACH) && !errors.Is(e, unix.EHOSTUNREACH):
			err = e // those: a packet filter, or no way but an uplink
		}
	}
	return sent, err
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// openPokes opens a socket whose packets have their header already, and a mark.
func openPokes(f failover.Family, mark uint32) (fd int, err error) {
	fd, err = unix.Socket(int(addressFamily(f)), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, fmt.Errorf("open a raw socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("mark a raw socket: %w", err)
	}
	return fd, nil
}

// poke is a SYN with an acknowledgement from the server to the client, RFC 791, RFC 8200 and RFC
// 9293. The kernel fills in the length and the checksum of IPv4's header.
func (c client) poke(sequence, acknowledged uint32) []byte {
	const tcpLen, synAck, hops = 20, 0x12, 64
	tcp := make([]byte, tcpLen)
	binary.BigEndian.PutUint16(tcp, c.server.Port())
	binary.BigEndian.PutUint16(tcp[2:], c.client.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledged)
	tcp[12], tcp[13] = tcpLen/4<<4, synAck
	from, to := c.server.Addr().AsSlice(), c.client.Addr().AsSlice()
	pseudo := slices.Concat(from, to, []byte{0, unix.IPPROTO_TCP, 0, tcpLen}, tcp)
	binary.BigEndian.PutUint16(tcp[16:], checksum(pseudo))
	if c.client.Addr().Is4() {
		head := []byte{0: 0x45, 8: hops, 9: unix.IPPROTO_TCP, 19: 0}
		copy(head[12:], from)
		copy(head[16:], to)
		return append(head, tcp...)
	}
	return slices.Concat([]byte{0x60, 0, 0, 0, 0, tcpLen, unix.IPPROTO_TCP, hops}, from, to, tcp)
}

// checksum is the internet's, RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
