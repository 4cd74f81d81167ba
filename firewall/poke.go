package firewall

import (
	"bytes"
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

	"github.com/mdlayher/netlink"
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

// Loss is a pair that is lost in some families. Within this package, policy 0 stands for all
// policies.
type Loss struct {
	Pair     Pair
	Families []failover.Family
}

// Poke has the clients of TCP connections speak that used lost pairs and were active in
// the last minute, so that they meet the reset that the table has for them. One that only
// listens, to a download or to a log, would wait for ever: what its server sends is lost
// with the uplink. Each gets one SYN with an acknowledgement in the name of its server, with
// random numbers, as if that had begun anew. TCP answers it with what it has received so
// far, wherever the numbers lie (RFC 5961, 4.2), and firewalls between that track the
// connection let it pass for just that purpose, unlike a bare acknowledgement out of the
// window. A host that does not know the connection answers with a reset, which goes nowhere
// either.
//
// Those that the roster has come first, at once, and then those that are found by one walk
// over the entries; where that fails, its error comes with what was done. The result has
// what was done for each loss.
//
// Pokes are not tracked and never leave by an uplink. The connections of this machine
// itself come last, and only those that are there still: DestroySockets ends what is on a
// lost address, but not what left by the uplink from another one, such as the LAN's. The
// routes and the table have to be those of after the losses.
func (k *Kernel) Poke(l lane.Layout, losses ...Loss) ([]Pokes, error) {
	for _, lost := range losses {
		if !lost.Pair.Uplink.IsUplink() || !lost.Pair.Policy.IsPolicy() {
			return make([]Pokes, len(losses)), fmt.Errorf("firewall: poke clients: %+v is no pair of an uplink and a policy", lost.Pair)
		}
	}
	done, err := k.pokeAfter(l, losses, nil)
	if err != nil {
		err = fmt.Errorf("firewall: poke the clients of lane %d: %w", losses[0].Pair.Uplink, err)
	}
	return done, err
}

// pokeAfter pokes the clients of losses: those that the roster has at once, and those that
// are found now; all of them after what has to be done between finding and poking them,
// if there is anything.
func (k *Kernel) pokeAfter(l lane.Layout, losses []Loss, first func() error) ([]Pokes, error) {
	done := make([]Pokes, len(losses))
	p := poker{mark: l.Mark(lane.Nobody), fds: [2]int{-1, -1}}
	defer p.close()
	known := k.Roster.of(l, losses, true)
	var poked error
	if first == nil {
		poked = p.pokeAll(known, done)
	}
	found, unlisted := findClients(l, losses, connectionsOf(known), mostPokes-len(known.found))
	if first != nil {
		if err := first(); err != nil {
			return done, err
		}
		poked = p.pokeAll(known, done)
	}
	poked = errors.Join(poked, unlisted, p.pokeAll(found, done))
	return done, errors.Join(poked, p.filtered(l))
}

// filtered returns an error if it was another program's packet filter that let pokes not out:
// our own does so where only an uplink's default route leads to the client.
func (p *poker) filtered(l lane.Layout) error {
	if len(p.refused) == 0 {
		return nil
	}
	w, err := newWays(Goal{Layout: l})
	if err != nil {
		return err
	}
	defer w.close()
	p.refused = slices.DeleteFunc(p.refused, func(a netip.Addr) bool {
		to := w.plain(a)
		return !to.known() || to.to.Bits() <= 1
	})
	if len(p.refused) == 0 {
		return nil
	}
	return fmt.Errorf("another program's packet filter drops in output what has %d of them speak; let out what has the mark 0x%x/0x%[2]x",
		len(p.refused), l.Mark(lane.Nobody))
}

// Revive has the clients of an uplink's TCP connections speak whose address is back, by the
// roster: the kernel has taken the entries with the address, and what they say makes them
// anew, so that a connection goes on whose client only listens.
func (k *Kernel) Revive(l lane.Layout, uplink lane.Lane, families ...failover.Family) error {
	p := poker{mark: l.Mark(lane.Nobody), fds: [2]int{-1, -1}}
	defer p.close()
	losses := []Loss{{Pair{Uplink: uplink}, families}}
	if err := p.pokeAll(k.Roster.of(l, losses, false), make([]Pokes, 1)); err != nil {
		return fmt.Errorf("firewall: poke the clients of lane %d: %w", uplink, err)
	}
	return nil
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
	// lanes is the connection's mark, active when its last packet passed.
	lanes  uint32
	active time.Time
	// open: neither end has begun to close it.
	open bool
	// own: the client is this machine.
	own bool
	// loss is the index of the loss that it has to learn of.
	loss int
}

func (c client) family() failover.Family { return failover.FamilyOf(c.client.Addr()) }

// ends identify a connection.
type ends struct{ client, server netip.AddrPort }

func (c client) ends() ends { return ends{c.client, c.server} }

func (f flow) ends() ends {
	return ends{netip.AddrPortFrom(f.src, f.ports[0]), netip.AddrPortFrom(f.dst, f.ports[1])}
}

// lossOf returns the index of the loss that a client of a connection with these lanes has
// to learn of; it is negative for none.
func lossOf(l lane.Layout, losses []Loss, mark uint32, f failover.Family) int {
	uplink, policy := l.CTLanes(mark)
	return slices.IndexFunc(losses, func(lost Loss) bool {
		return lost.Pair.Uplink == uplink && (lost.Pair.Policy == policy || lost.Pair.Policy == 0) && slices.Contains(lost.Families, f)
	})
}

// clients are those of some connections, the latest active first.
type clients struct {
	most  int
	found []client
	// over are connections whose entry is there and that have ended; nil where nobody asks.
	over map[ends]bool
	// left are those that there is no room for, by loss and family.
	left map[int][2]int
}

// findClients lists the clients of losses that were active lately, but for some, and most
// of them at most.
func findClients(l lane.Layout, losses []Loss, but map[ends]bool, most int) (clients, error) {
	mark, mask := uint32(0), uint32(0)
	same := func(lost Loss) bool { return lost.Pair.Uplink == losses[0].Pair.Uplink }
	if len(losses) > 0 && !slices.ContainsFunc(losses, func(lost Loss) bool { return !same(lost) }) {
		mark, mask = l.CTPair(losses[0].Pair.Uplink, 0), l.CTUplinkMask()
	}
	return activeClients(l, mark, mask, clients{most: most}, func(c *client) bool {
		c.loss = lossOf(l, losses, c.lanes, c.family())
		return c.loss >= 0 && !but[c.ends()]
	})
}

// activeClients adds to a list the clients of TCP connections that are in use and whose mark
// has a value under a mask, without those that came in by an uplink, and only wanted ones.
func activeClients(l lane.Layout, mark, mask uint32, all clients, wanted func(*client) bool) (clients, error) {
	all.left = map[int][2]int{}
	if !listsQuickly() {
		if err := listable(); err != nil {
			return all, err
		}
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
	times, now := readTCPTimes(), time.Now()
	_, err = eachFlowIn(selection, 0, func(f flow) (flowChange, uint32) {
		_, policy := l.CTLanes(f.mark)
		idle := times.idle(f)
		if all.over != nil && f.protocol == unix.IPPROTO_TCP && !f.established() {
			all.over[f.ends()] = true
		}
		if f.mark&mask != mark || !policy.IsPolicy() || !f.established() || idle > activeFor {
			return keepFlow, 0
		}
		at := f.ends()
		c := client{
			client: at.client, server: at.server,
			lanes: f.mark, active: now.Add(-idle), open: f.tcpState == tcpEstablished || f.offloaded(),
			own: own[f.src],
		}
		if wanted(&c) {
			all.add(c)
		}
		return keepFlow, 0
	})
	all.limit()
	return all, err
}

// add adds a client. Those for which there is no room are left out at times.
func (all *clients) add(c client) {
	all.found = append(all.found, c)
	if len(all.found) >= 2*mostPokes {
		all.limit()
	}
}

// limit sorts the clients, and leaves out those for which there is no room.
func (all *clients) limit() {
	slices.SortFunc(all.found, func(a, b client) int { return b.active.Compare(a.active) })
	room := min(len(all.found), max(0, all.most))
	for _, c := range all.found[room:] {
		left := all.left[c.loss]
		left[c.family()]++
		all.left[c.loss] = left
	}
	all.found = all.found[:room]
}

// connectionsOf returns the connections of these clients.
func connectionsOf(all clients) map[ends]bool {
	out := make(map[ends]bool, len(all.found))
	for _, c := range all.found {
		out[c.ends()] = true
	}
	return out
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
// closed counts as active: its entry does not last long. So does one that a flow table
// forwards: it leaves that table when nothing passes for some seconds.
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
	// sockets is where this machine's own are looked for; nil until it is needed.
	sockets *netlink.Conn
	// refused are the clients to which a packet filter let no poke out.
	refused []netip.Addr
}

func (p *poker) close() {
	if p.sockets != nil {
		p.sockets.Close()
	}
	for _, fd := range p.fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// pokeAll pokes clients, and counts for each loss what was done.
func (p *poker) pokeAll(all clients, done []Pokes) (err error) {
	for i, left := range all.left {
		for f, n := range left {
			done[i].Left[f] += n
		}
	}
	begun := 0
	for _, own := range [...]bool{false, true} {
		for _, c := range all.found {
			if c.own != own || own && !p.connected(c) {
				continue
			}
			if begun++; begun > 1 && begun%pokesAtOnce == 1 {
				time.Sleep(pokeRest)
			}
			f := c.family()
			if p.fds[f] < 0 {
				if p.fds[f], err = openPokes(f, p.mark); err != nil {
					return err
				}
			}
			switch e := unix.Sendto(p.fds[f], c.poke(rand.Uint32(), rand.Uint32()), 0, sockaddr(c.client.Addr())); {
			case e == nil:
				done[c.loss].Sent[f]++
			case errors.Is(e, unix.EPERM):
				p.refused = append(p.refused, c.client.Addr())
			case !errors.Is(e, unix.ENETUNREACH) && !errors.Is(e, unix.EHOSTUNREACH):
				err = e
			}
		}
	}
	return err
}

// connected reports whether this machine has the socket of its own connection still. What
// cannot be told counts as ended: it has its reset when it speaks.
func (p *poker) connected(c client) bool {
	if p.sockets == nil {
		conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
		if err != nil {
			return false
		}
		p.sockets = conn
	}
	return findSocket(p.sockets, c.client, c.server)
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
