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
	// mostRemotes bounds the number of remembered hosts.
	mostRemotes = 1024
	// leastRemotes is the number of hosts that must be heard: a single one may be
	// the provider's.
	leastRemotes = 2
)

// witness listens to the packets on a suspected uplink, and reports a
// [failover.Traffic] when established flows receive from two remote hosts, or
// anything new from one. The counters of an interface are not sufficient, since they count packets from any
// sender. Normally there is no socket; on suspicion one is opened on the uplink's
// device, with a small buffer, for listenFor.
type witness struct {
	clock func() failover.Instant
	out   *outbox
	log   *slog.Logger

	mu     sync.Mutex
	until  map[string]failover.Instant // by uplink, while the witness listens to it
	closed bool
	done   sync.WaitGroup
}

func newWitness(o Options, out *outbox) *witness {
	return &witness{clock: o.Clock, out: out, log: o.Log, until: map[string]failover.Instant{}}
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
	heard := newHearing(link)
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
	link failover.Link
	// asked has the remote hosts to which packets were sent, came the instants of
	// the last packets of a flow from them.
	asked [2]map[netip.Addr]bool
	came  [2]map[netip.Addr]failover.Instant
	// streams has how far TCP from the remote hosts has come, by their address and
	// both ports.
	streams map[stream]progress
	// found is when packets from two of them were last found, new when anything new
	// from one.
	found, new [2]failover.Instant
}

// stream is a direction of TCP by its sender and ports.
type stream struct {
	from  netip.Addr
	ports uint32
}

// progress is how far a stream has come: the end of its data, and of what it
// acknowledges.
type progress struct{ end, ack uint32 }

func newHearing(link failover.Link) *hearing {
	h := &hearing{link: link, streams: map[stream]progress{}}
	for f := range h.asked {
		h.asked[f], h.came[f] = map[netip.Addr]bool{}, map[netip.Addr]failover.Instant{}
		h.found[f], h.new[f] = -heardFor, -heardFor
	}
	return h
}

// packet processes a packet, and reports the family in which it shows that
// established flows receive, and from how many remote hosts: leastRemotes, or one if
// what it sends is new; 0 for neither. It reports each not more often than once per
// listenRound.
func (h *hearing) packet(at failover.Instant, leaves bool, b []byte) (f failover.Family, remotes int) {
	remote, ok := flowOf(b, leaves)
	if !ok {
		return 0, 0
	}
	f = failover.FamilyOf(remote)
	for _, own := range h.link.Family[f].Addresses {
		if own.Masked().Contains(remote) {
			return f, 0 // a neighbour, such as the modem
		}
	}
	asked, came := h.asked[f], h.came[f]
	if leaves {
		if len(asked) < mostRemotes {
			asked[remote] = true
		}
		return f, 0
	}
	if !asked[remote] {
		return f, 0 // no packet was sent to it
	}
	came[remote] = at
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
	case fresh && at-h.new[f] >= listenRound:
		h.new[f] = at
		return f, 1
	}
	return f, 0
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

// flowOf returns the remote host of a packet that belongs to an established flow:
// TCP after its first segment, or UDP. Answers of name servers are left out, since
// the provider's own servers answer even if the line beyond them is dead.
func flowOf(b []byte, leaves bool) (remote netip.Addr, ok bool) {
	var source, destination netip.Addr
	var protocol byte
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		length := int(b[0]&0xf) * 4
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 || length < 20 || len(b) < length {
			return remote, false
		}
		source, _ = netip.AddrFromSlice(b[12:16])
		destination, _ = netip.AddrFromSlice(b[16:20])
		protocol, rest = b[9], b[length:]
	case len(b) >= 40 && b[0]>>4 == 6:
		source, _ = netip.AddrFromSlice(b[8:24])
		destination, _ = netip.AddrFromSlice(b[24:40])
		protocol, rest = b[6], b[40:]
	default:
		return remote, false
	}
	remote = source
	if leaves {
		remote = destination
	}
	if remote.IsMulticast() || remote.IsLinkLocalUnicast() || remote.IsUnspecified() {
		return remote, false
	}
	const dns, ack, syn, rst = 53, 0x10, 0x02, 0x04
	switch {
	case protocol == unix.IPPROTO_TCP && len(rest) >= 14:
		return remote, leaves || rest[13]&ack != 0 && rest[13]&(syn|rst) == 0
	case protocol == unix.IPPROTO_UDP && len(rest) >= 8:
		return remote, leaves || binary.BigEndian.Uint16(rest) != dns
	}
	return remote, false
}
