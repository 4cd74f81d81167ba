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
// [failover.Traffic] when established flows receive from two remote hosts. The
// counters of an interface are not sufficient, since they count packets from any
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
		if f, found := heard.packet(at, ll.Pkttype == unix.PACKET_OUTGOING, buffer[:min(length, len(buffer))]); found {
			w.out.put(Observation{At: at, Event: failover.Traffic{Uplink: uplink, Family: f, Unanswered: -1, Received: at}})
		}
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
	// found is when packets from two of them were last found.
	found [2]failover.Instant
}

func newHearing(link failover.Link) *hearing {
	h := &hearing{link: link}
	for f := range h.asked {
		h.asked[f], h.came[f], h.found[f] = map[netip.Addr]bool{}, map[netip.Addr]failover.Instant{}, -heardFor
	}
	return h
}

// packet processes a packet, and reports the family in which it shows that
// established flows receive from at least two remote hosts; not more often than
// once per listenRound.
func (h *hearing) packet(at failover.Instant, leaves bool, b []byte) (f failover.Family, found bool) {
	remote, ok := flowOf(b, leaves)
	if !ok {
		return 0, false
	}
	f = failover.FamilyOf(remote)
	for _, own := range h.link.Family[f].Addresses {
		if own.Masked().Contains(remote) {
			return f, false // a neighbour, such as the modem
		}
	}
	asked, came := h.asked[f], h.came[f]
	if leaves {
		if len(asked) < mostRemotes {
			asked[remote] = true
		}
		return f, false
	}
	if !asked[remote] {
		return f, false // no packet was sent to it
	}
	came[remote] = at
	if at-h.found[f] < listenRound {
		return f, false
	}
	n := 0
	for addr, last := range came {
		if at-last > heardFor {
			delete(came, addr)
			continue
		}
		n++
	}
	if n < leastRemotes {
		return f, false
	}
	h.found[f] = at
	return f, true
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
