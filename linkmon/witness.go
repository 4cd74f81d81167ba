package linkmon

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

const (
	// listenFor is how long the witness listens to an uplink after it was last
	// suspected.
	listenFor = 1500 * time.Millisecond
	// listenRound is how long one read waits, and the least interval of a family's
	// reports: a burst of probes is concluded in little more.
	listenRound = 50 * time.Millisecond
	// heardFor is the interval within which the packets of two remote hosts must
	// arrive.
	heardFor = 300 * time.Millisecond
	// listenBuffer bounds the unread packets, in bytes: on a fast link the kernel
	// drops the rest without copying them.
	listenBuffer = 64 << 10
	// listenBurst is the maximum number of packets read between two pauses, on a
	// busy link.
	listenBurst = 128
	listenPause = 5 * time.Millisecond
	// vainAfter is how long packets must leave for a host, with nothing from it, to
	// show that its way is dead. A single other host then says nothing of the line.
	vainAfter = 200 * time.Millisecond
	// mostRemotes bounds the number of remembered hosts.
	mostRemotes = 1024
	// leastRemotes is the number of hosts that must be heard: a single one may be
	// the provider's.
	leastRemotes = 2
)

// witness listens to the packets on a suspected uplink, and reports a
// [failover.Traffic] when established flows receive from two remote hosts, or anything
// new from the only one that they send to. The counters of an interface are not
// sufficient, since they count packets from any sender. Normally there is no socket; on
// suspicion one is opened on the uplink's device, with a small buffer, for listenFor.
type witness struct {
	clock func() failover.Instant
	out   *outbox
	log   *slog.Logger
	// probed are the ends to which probes go: their answers are counted as those of probes.
	probed *probedEnds

	mu     sync.Mutex
	until  map[string]failover.Instant // by uplink, while the witness listens to it
	closed bool
	done   sync.WaitGroup
}

func newWitness(o Options, out *outbox, probed *probedEnds) *witness {
	return &witness{clock: o.Clock, out: out, log: o.Log, probed: probed, until: map[string]failover.Instant{}}
}

// close stops listening and waits until that has ended.
func (w *witness) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.done.Wait()
}

// listen starts to listen to an uplink, or extends the time.
func (w *witness) listen(uplink string, link failover.Link) {
	if !link.Present || !link.Carrier {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	_, listening := w.until[uplink]
	w.until[uplink] = w.clock() + listenFor
	if !listening {
		w.done.Go(func() { w.run(uplink, link) })
	}
}

// goesOn reports whether to keep listening to an uplink at an instant, and removes
// the uplink if not.
func (w *witness) goesOn(uplink string, at failover.Instant) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && at < w.until[uplink] {
		return true
	}
	delete(w.until, uplink)
	return false
}

func (w *witness) run(uplink string, link failover.Link) {
	fd, err := openPackets(link.Index)
	if err != nil {
		w.log.Debug("listen to an uplink's traffic", "uplink", uplink, "err", err)
		w.mu.Lock()
		delete(w.until, uplink)
		w.mu.Unlock()
		return
	}
	defer unix.Close(fd)
	heard := newHearing(link, w.probed, w.clock())
	buffer := make([]byte, 96)
	for n := 0; ; n++ {
		if n%listenBurst == 0 {
			time.Sleep(listenPause)
		}
		at := w.clock()
		if !w.goesOn(uplink, at) {
			return
		}
		length, from, err := unix.Recvfrom(fd, buffer, unix.MSG_TRUNC)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err != nil:
			time.Sleep(listenRound)
			continue
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		at = w.clock()
		f, remotes := heard.packet(at, ll.Pkttype == unix.PACKET_OUTGOING, buffer[:min(length, len(buffer))])
		if remotes == 0 {
			continue
		}
		ev := failover.Traffic{Uplink: uplink, Family: f, Unanswered: -1, Received: -1, Heard: at}
		if remotes >= leastRemotes {
			ev.Received = at
		}
		w.out.put(Observation{At: at, Event: ev})
	}
}

// openPackets opens a socket that receives the packets of one device.
func openPackets(index int) (int, error) {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	wait := unix.NsecToTimeval(listenRound.Nanoseconds())
	for _, set := range []func() error{
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, listenBuffer) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) },
		func() error { return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: index}) },
	} {
		if err := set(); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// hearing is what was heard on one uplink.
type hearing struct {
	link   failover.Link
	probed *probedEnds
	begun  failover.Instant
	// asked has the remote hosts to which packets were sent, came the instants of
	// the last packets of a flow from them.
	asked [2]map[netip.Addr]asking
	came  [2]map[netip.Addr]failover.Instant
	// streams has how far TCP from the remote hosts has come, by their address and
	// both ports.
	streams map[stream]progress
	// found is when packets from two of them were last found, new when anything new
	// from one.
	found, new [2]failover.Instant
}

// asking is what is unanswered of what left for a remote host: since one last came
// from it, the first and the last packet.
type asking struct {
	open        bool
	first, last failover.Instant
}

// vain reports whether packets have left for long without an answer.
func (a asking) vain() bool { return a.last-a.first >= vainAfter }

// stream is a direction of TCP by its sender and ports.
type stream struct {
	from  netip.Addr
	ports uint32
}

// progress is how far a stream has come: the end of its data, and of what it
// acknowledges.
type progress struct{ end, ack uint32 }

func newHearing(link failover.Link, probed *probedEnds, at failover.Instant) *hearing {
	h := &hearing{link: link, probed: probed, begun: at, streams: map[stream]progress{}}
	for f := range h.asked {
		h.asked[f], h.came[f] = map[netip.Addr]asking{}, map[netip.Addr]failover.Instant{}
		h.found[f], h.new[f] = -heardFor, -heardFor
	}
	return h
}

// packet processes a packet, and reports the family in which it shows that
// established flows receive, and from how many remote hosts: leastRemotes, or one if
// what it sends is new and no other is asked in vain, which takes heardFor to know; 0
// for neither. It reports each not more often than once per listenRound.
func (h *hearing) packet(at failover.Instant, leaves bool, b []byte) (f failover.Family, remotes int) {
	remote, port, ok := flowOf(b, leaves)
	if !ok {
		return 0, 0
	}
	f = failover.FamilyOf(remote)
	if h.probed.has(netip.AddrPortFrom(remote, port)) {
		return f, 0
	}
	for _, own := range h.link.Family[f].Addresses {
		if own.Masked().Contains(remote) {
			return f, 0 // a neighbour, such as the modem
		}
	}
	asked, came := h.asked[f], h.came[f]
	a, known := asked[remote]
	if !known && (!leaves || len(asked) >= mostRemotes) {
		return f, 0 // no packet was sent to it
	}
	if leaves {
		if !a.open {
			a = asking{open: true, first: at}
		}
		a.last = at
		asked[remote] = a
		return f, 0
	}
	asked[remote], came[remote] = asking{}, at
	fresh := h.advances(remote, b)
	if at-h.found[f] < listenRound {
		return f, 0
	}
	n := 0
	for addr, last := range came {
		if at-last > heardFor {
			delete(came, addr)
			continue
		}
		n++
	}
	switch {
	case n >= leastRemotes:
		h.found[f] = at
		return f, n
	case fresh && at-h.new[f] >= listenRound && at-h.begun >= heardFor && !h.inVain(f):
		h.new[f] = at
		return f, 1
	}
	return f, 0
}

// inVain reports whether any host is asked in vain.
func (h *hearing) inVain(f failover.Family) bool {
	for _, a := range h.asked[f] {
		if a.vain() {
			return true
		}
	}
	return false
}

// advances reports whether a packet from a remote host brings anything new. A sender
// that is not heard repeats its data, and acknowledges nothing: a line that is dead in
// the direction from here must not look alive by that.
func (h *hearing) advances(remote netip.Addr, b []byte) bool {
	protocol, length, rest := b[6], int(binary.BigEndian.Uint16(b[4:])), b[min(40, len(b)):]
	if b[0]>>4 == 4 {
		header := int(b[0]&0xf) * 4
		protocol, length, rest = b[9], int(binary.BigEndian.Uint16(b[2:]))-header, b[header:]
	}
	if protocol != unix.IPPROTO_TCP || len(rest) < 14 {
		return true
	}
	key := stream{remote, binary.BigEndian.Uint32(rest)}
	data := max(length-int(rest[12]>>4)*4, 0)
	now := progress{binary.BigEndian.Uint32(rest[4:]) + uint32(data), binary.BigEndian.Uint32(rest[8:])}
	before, known := h.streams[key]
	if !known && len(h.streams) >= mostRemotes {
		return false
	}
	h.streams[key] = progress{later(now.end, before.end, known), later(now.ack, before.ack, known)}
	return known && h.streams[key] != before
}

// later returns the later of two sequence numbers of TCP.
func later(now, before uint32, known bool) uint32 {
	if known && int32(now-before) <= 0 {
		return before
	}
	return now
}

// flowOf returns the remote host and port of a packet that belongs to an established flow:
// TCP after its first segment, or UDP. What is exchanged with name servers is left out,
// since the provider's own servers answer even if the line beyond them is dead.
func flowOf(b []byte, leaves bool) (remote netip.Addr, port uint16, ok bool) {
	var source, destination netip.Addr
	var protocol byte
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		length := int(b[0]&0xf) * 4
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 || length < 20 || len(b) < length {
			return remote, 0, false
		}
		source, _ = netip.AddrFromSlice(b[12:16])
		destination, _ = netip.AddrFromSlice(b[16:20])
		protocol, rest = b[9], b[length:]
	case len(b) >= 40 && b[0]>>4 == 6:
		source, _ = netip.AddrFromSlice(b[8:24])
		destination, _ = netip.AddrFromSlice(b[24:40])
		protocol, rest = b[6], b[40:]
	default:
		return remote, 0, false
	}
	remote = source
	if leaves {
		remote = destination
	}
	if remote.IsMulticast() || remote.IsLinkLocalUnicast() || remote.IsUnspecified() {
		return remote, 0, false
	}
	const ack, syn, rst = 0x10, 0x02, 0x04
	switch {
	case protocol == unix.IPPROTO_TCP && len(rest) >= 14:
		if rest[13]&ack == 0 || rest[13]&(syn|rst) != 0 {
			return remote, 0, false
		}
	case protocol == unix.IPPROTO_UDP && len(rest) >= 8:
	default:
		return remote, 0, false
	}
	port = binary.BigEndian.Uint16(rest)
	if leaves {
		port = binary.BigEndian.Uint16(rest[2:])
	}
	const dns, overTLS = 53, 853 // RFC 1035, RFC 7858 and 9250
	return remote, port, port != dns && port != overTLS
}

// probedEnds are the hosts and ports to which probes were sent.
type probedEnds struct {
	mu   sync.Mutex
	ends map[netip.AddrPort]bool
}

func newProbedEnds() *probedEnds { return &probedEnds{ends: map[netip.AddrPort]bool{}} }

// mostEnds bounds them. Where there are more, as after many reloads, they begin anew.
const mostEnds = 4096

func (e *probedEnds) add(end netip.AddrPort) {
	if end.Port() == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ends) >= mostEnds {
		clear(e.ends)
	}
	e.ends[end] = true
}

func (e *probedEnds) has(end netip.AddrPort) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends[end]
}
