package linkmon

import (
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// hints gather what the kernel's messages say until the watch handles them. A
// burst of any length merges into one value of bounded size.
type hints struct {
	// reread: links, addresses or foreign defaults may be other than they were.
	reread bool
	// at is the instant of the first message that set reread.
	at failover.Instant
	// defaults: routes of others in main that matter, the defaults and those within the
	// uplinks' networks, may be other than they were.
	defaults bool
	// repair: routes or rules of ours, or the defaults beside them, may be other
	// than they were.
	repair bool
	// purged are the devices that lost an address or were switched off, even if only
	// for a moment: the kernel has deleted routes with that.
	purged map[int]bool
	// failed are the neighbours that could not be resolved, with the instant.
	failed map[nextHop]failover.Instant
	// carrier names the uplinks whose carrier is to be read by itself.
	carrier map[string]bool
	// missed: messages were dropped, so anything may have happened.
	missed bool
	// inside are the networks in which narrower routes matter. They stay.
	inside []netip.Prefix
}

// nextHop is a neighbour on a device.
type nextHop struct {
	index int
	ip    netip.Addr
}

// hintLimit bounds each set in hints. What exceeds it counts as missed, and is
// read from the kernel.
const hintLimit = 1024

func newHints() hints {
	return hints{purged: map[int]bool{}, failed: map[nextHop]failover.Instant{}, carrier: map[string]bool{}}
}

func (h *hints) empty() bool {
	return !h.reread && !h.repair && !h.missed && len(h.failed) == 0 && len(h.carrier) == 0
}

// requestRead requests a reading of the kernel's state.
func (h *hints) requestRead(at failover.Instant) {
	if !h.reread {
		h.reread, h.at = true, at
	}
}

// miss records that messages were lost.
func (h *hints) miss(at failover.Instant) {
	h.requestRead(at)
	h.missed, h.repair = true, true
}

// add records what one message says.
func (h *hints) add(kind uint16, body []byte, at failover.Instant) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		h.addLink(kind, body, at)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		h.requestRead(at)
		if kind == unix.RTM_NEWADDR {
			return
		}
		// With an address the kernel deletes routes that used it, silently in IPv4.
		h.repair = true
		if a, ok := decodeAddress(body); ok {
			h.addPurged(a.index, at)
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		h.addRoute(body, at)
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		h.requestRead(at)
		h.defaults = true
	case unix.RTM_NEWNETCONF:
		h.repair = true
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		h.repair = true // others' rules may come before ours, or use our numbers
	case unix.RTM_NEWNEIGH:
		h.addNeighbor(body, at)
	}
}

func (h *hints) addLink(kind uint16, body []byte, at failover.Instant) {
	d, ok := decodeDevice(body)
	if !ok {
		return
	}
	h.requestRead(at)
	if kind == unix.RTM_NEWLINK && d.adminUp() && d.carrier() {
		return
	}
	// Routes go with a device that is switched off, silently in IPv4.
	if !d.adminUp() || kind == unix.RTM_DELLINK {
		h.repair = true
		h.addPurged(d.index, at)
	}
}

func (h *hints) addPurged(index int, at failover.Instant) {
	if len(h.purged) >= hintLimit {
		h.miss(at)
		return
	}
	h.purged[index] = true
}

func (h *hints) addRoute(body []byte, at failover.Instant) {
	r, ok := decodeRouteHead(body)
	_, delegated := delegation(body)
	if delegated || ok && isInside(h.inside, r, body) {
		h.defaults = true
		h.requestRead(at)
	}
	switch {
	case !ok:
	case r.protocol == lane.Protocol:
		h.repair = true
	case r.table == unix.RT_TABLE_MAIN && r.length == 1: // half of a VPN's default
		h.repair = true
	case r.table == unix.RT_TABLE_MAIN && r.length >= 32 && (r.protocol == unix.RTPROT_DHCP || r.protocol == unix.RTPROT_RA):
		h.repair = true // may bind an address to an uplink
	case r.table == unix.RT_TABLE_MAIN && r.length == 0:
		h.repair, h.defaults = true, true
		h.requestRead(at)
	case r.length == 0 && r.kind == unix.RTN_LOCAL:
		h.repair = true // of a transparent proxy, whose rule was there before
	case r.length == 0 && lane.DefaultLayout.LaneOf(int(r.table)) != 0:
		h.repair = true // tables of another layout are read each minute
	}
}

func (h *hints) addNeighbor(body []byte, at failover.Instant) {
	n, ok := decodeNeighbor(body)
	switch {
	case !ok || n.state&unix.NUD_FAILED == 0:
	case len(h.failed) >= hintLimit:
		h.miss(at)
	default:
		h.failed[nextHop{n.index, n.ip}] = at
	}
}

// mailbox passes hints to the goroutine that handles them.
type mailbox struct {
	mu    sync.Mutex
	hints hints
	// wake holds a token while there is something in the box.
	wake chan struct{}
}

func newMailbox() *mailbox {
	return &mailbox{hints: newHints(), wake: make(chan struct{}, 1)}
}

// note changes the hints under the lock, and wakes the watch if there are any.
func (b *mailbox) note(change func(*hints)) {
	b.mu.Lock()
	change(&b.hints)
	some := !b.hints.empty()
	b.mu.Unlock()
	if some {
		signal(b.wake)
	}
}

// messages adds a batch of the kernel's messages.
func (b *mailbox) messages(batch []syscall.NetlinkMessage, at failover.Instant) {
	b.note(func(h *hints) {
		for _, m := range batch {
			h.add(m.Header.Type, m.Data, at)
		}
	})
}

// take empties the box.
func (b *mailbox) take() hints {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.hints
	b.hints = newHints()
	b.hints.inside = h.inside
	return h
}

// signal puts a token into a channel of length 1, unless it holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
