package linkmon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

const (
	// receiveBuffer holds about ten thousand messages.
	receiveBuffer = 8 << 20
	// In a storm of messages the watch reads 20 times at once, then each 5 ms: a
	// reading takes 0.1 ms with a few links and 1 ms with two hundred.
	readBurst    = 20
	readInterval = 5 * time.Millisecond
	// resyncInterval is how often it reads without a message, because the kernel
	// is silent about some of what it does.
	resyncInterval = time.Minute
	// retryAfter is the pause after a failure to read or to receive.
	retryAfter = time.Second
)

// watch follows the kernel. One goroutine receives messages into the mailbox,
// another empties it and reads.
type watch struct {
	kernel   *kernel
	messages *nl.NetlinkSocket
	main     mainTable
	box      *mailbox
	out      *outbox
	clock    func() failover.Instant
	log      *slog.Logger

	// received counts messages; all three are for Counters.
	received, overruns, readings atomic.Uint64

	// repair, defaultsChanged and ownChanged hold a token from the change until it
	// is received.
	repair, defaultsChanged, ownChanged chan struct{}

	// followers and state belong to the goroutine that reads, and to New before it.
	followers []*follower
	state     state

	mu       sync.Mutex
	wanted   []Uplink     // set by SetUplinks, nil once they are followed
	links    []uplinkLink // as of the last reading, in the order of the uplinks
	defaults []Default    // what Defaults returns
	own      []netip.Addr // what Own returns
	lan      LAN          // what LAN returns
}

// uplinkLink is the link of an uplink.
type uplinkLink struct {
	uplink string
	link   failover.Link
}

// openWatch opens the sockets on the calling thread and reads for the first time.
// It subscribes before it reads, so no change in between is missed.
func openWatch(o Options, out *outbox, bufferSize int) (*watch, error) {
	messages, size, err := subscribe(bufferSize)
	if err != nil {
		return nil, err
	}
	k, err := openKernel()
	if err != nil {
		messages.Close()
		return nil, err
	}
	table, err := openKernel()
	if err != nil {
		messages.Close()
		k.close()
		return nil, err
	}
	w := &watch{
		kernel: k, messages: messages, main: mainTable{kernel: table, wake: make(chan struct{}, 1)}, box: newMailbox(), out: out,
		clock: o.Clock, log: o.Log,
		repair: make(chan struct{}, 1), defaultsChanged: make(chan struct{}, 1), ownChanged: make(chan struct{}, 1),
		wanted: slices.Clone(o.Uplinks),
	}
	if size < bufferSize {
		o.Log.Info("small receive buffer for the kernel's messages; after an overflow the state is read again",
			"bytes", size, "wanted", bufferSize, "limit", "net.core.rmem_max")
	}
	if err := w.read(hints{at: w.clock()}); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watch) close() {
	w.messages.Close()
	w.kernel.close()
	w.main.kernel.close()
}

// run works until ctx ends, and closes the sockets.
func (w *watch) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { w.receive(ctx); return nil })
	g.Go(func() error { w.follow(ctx); return nil })
	g.Go(func() error { w.main.follow(ctx, w.clock, w.listed); return nil })
	<-ctx.Done()
	w.messages.Close() // ends a Receive that waits
	err := g.Wait()
	w.kernel.close()
	w.main.kernel.close()
	return err
}

// receive puts the kernel's messages into the mailbox until ctx ends.
func (w *watch) receive(ctx context.Context) {
	for {
		batch, _, err := w.messages.Receive()
		at := w.clock()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			w.received.Add(uint64(len(batch)))
			w.box.messages(batch, at)
			continue
		case errors.Is(err, unix.ENOBUFS):
			// The kernel dropped messages; the socket goes on.
			w.overruns.Add(1)
		default:
			w.failed("receive", err)
			sleep(ctx, retryAfter)
		}
		w.box.note(func(h *hints) { h.miss(at) })
	}
}

// follow empties the mailbox until ctx ends.
func (w *watch) follow(ctx context.Context) {
	resync := time.NewTicker(resyncInterval)
	defer resync.Stop()
	allowance := pace{interval: readInterval, burst: readBurst}
	for {
		select {
		case <-ctx.Done():
			return
		case <-resync.C:
			w.resync()
		case <-w.box.wake:
			if wait := allowance.wait(w.clock()); wait > 0 {
				sleep(ctx, wait) // the reading covers what arrives meanwhile
			}
			w.handle(ctx, w.box.take())
		}
	}
}

// handle acts on what the mailbox held.
func (w *watch) handle(ctx context.Context, h hints) {
	if len(h.carrier) > 0 {
		w.readCarriers(&h)
	}
	if h.reread {
		if err := w.read(h); err != nil && ctx.Err() == nil {
			w.failed("read", err)
			sleep(ctx, retryAfter)
			w.box.note(func(again *hints) { again.miss(w.clock()) })
		}
	}
	if h.missed {
		w.readNeighbors(&h)
	}
	w.reportFailed(h)
	if h.repair {
		signal(w.repair)
	}
}

// read reads the kernel's state and reports what changed.
func (w *watch) read(h hints) error {
	w.readings.Add(1)
	s, err := w.readState(h)
	if err != nil {
		return err
	}
	w.state = s
	w.report(h)
	return nil
}

// readCarriers reads the devices of the uplinks in h.carrier, and requests a full
// reading where one differs from what was reported.
func (w *watch) readCarriers(h *hints) {
	for _, f := range w.followers {
		if !h.carrier[f.uplink.Name] || f.device.index == 0 {
			continue
		}
		at := w.clock()
		d, ok, err := w.kernel.device(f.device.index)
		switch {
		case err != nil:
			w.failed("read", err)
		case !ok || d.adminUp() != f.link.AdminUp || d.carrier() != f.link.Carrier:
			h.requestRead(at)
		}
	}
}

// report compares the state with what was reported last, and reports the links,
// defaults and own addresses that changed.
func (w *watch) report(h hints) {
	w.followWanted()
	var changed []Observation
	links := make([]uplinkLink, 0, len(w.followers))
	taken := map[int]bool{}
	for _, f := range w.followers {
		if f.locate(w.state) {
			taken[f.device.index] = true
		}
	}
	for _, f := range w.followers {
		link := f.linkIn(w.state, func(index int) bool { return taken[index] })
		if link.Present && f.reported && link.Carrier != f.link.Carrier {
			// A listing may show a change of carrier before the kernel acts on it. Its
			// routes follow the carrier at once when the device is read by itself.
			if _, _, err := w.kernel.device(link.Index); err != nil {
				w.failed("read", err)
			}
		}
		// With an address, or a device that is switched off, the kernel silently deletes
		// routes of ours, also where all is as before by now.
		if !f.reported || !link.Equal(f.link) || h.purged[f.device.index] {
			f.link, f.reported = link, true
			changed = append(changed, Observation{
				At: h.at, Event: failover.LinkChanged{Uplink: f.uplink.Name, Link: link}, Purged: h.purged[f.device.index],
			})
		}
		links = append(links, uplinkLink{uplink: f.uplink.Name, link: link})
	}
	defaults, own, lan := defaultsOf(w.state), ownOf(w.state), lanOf(w.state, func(index int) bool { return taken[index] })
	w.mu.Lock()
	defaultsChanged, ownChanged := !slices.Equal(defaults, w.defaults), !slices.Equal(own, w.own) || !lan.equal(w.lan)
	w.links, w.defaults, w.own, w.lan = links, defaults, own, lan
	w.mu.Unlock()
	if defaultsChanged {
		signal(w.defaultsChanged)
	}
	if ownChanged {
		signal(w.ownChanged)
	}
	for _, o := range changed {
		w.out.put(o)
	}
	var networks []netip.Prefix
	for _, l := range links {
		networks = append(networks, l.link.Family[failover.IPv4].Addresses...)
	}
	w.box.followInside(networks)
}

// followWanted follows the uplinks that SetUplinks was given. One that stays as it
// was, except for its name, keeps what is known of it; under a new name its link is
// reported again.
func (w *watch) followWanted() {
	w.mu.Lock()
	wanted := w.wanted
	w.wanted = nil
	w.mu.Unlock()
	if wanted == nil {
		return
	}
	old := w.followers
	w.followers = make([]*follower, 0, len(wanted))
	for _, u := range wanted {
		i := slices.IndexFunc(old, func(f *follower) bool { return f.uplink.sameBut(u) })
		if i < 0 {
			i = slices.IndexFunc(old, func(f *follower) bool { return f.uplink.renamed(u) })
		}
		if i >= 0 {
			old[i].reported = old[i].reported && old[i].uplink.Name == u.Name
			old[i].uplink = u
			w.followers = append(w.followers, old[i])
			continue
		}
		w.followers = append(w.followers, &follower{uplink: u, former: old})
	}
	for _, f := range old {
		if !slices.ContainsFunc(wanted, func(u Uplink) bool { return u.Name == f.uplink.Name }) {
			w.out.forget(f.uplink.Name)
		}
	}
}

// readNeighbors adds the gateways to h that are unreachable now.
func (w *watch) readNeighbors(h *hints) {
	for _, f := range w.followers {
		for _, family := range failover.Families {
			gw := f.link.Family[family].Gateway
			if !f.link.Present || !gw.IsValid() {
				continue
			}
			n, ok, err := w.kernel.neighbor(f.link.Index, gw)
			if err != nil {
				w.failed("read", err)
			} else if ok && n.state&unix.NUD_FAILED != 0 {
				h.failed[nextHop{n.index, n.ip}] = h.at
			}
		}
	}
}

// reportFailed reports the gateways among the neighbours that could not be
// resolved.
func (w *watch) reportFailed(h hints) {
	for hop, at := range h.failed {
		for _, f := range w.followers {
			for _, family := range f.gatewayFamilies(hop) {
				w.out.put(Observation{At: at, Event: failover.NeighborFailed{Uplink: f.uplink.Name, Family: family}})
			}
		}
	}
}

func (w *watch) failed(action string, err error) {
	w.log.Warn("rtnetlink failed; trying again", "action", action, "err", err)
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// setUplinks replaces the uplinks, in their order.
func (w *watch) setUplinks(uplinks []Uplink) {
	w.mu.Lock()
	w.wanted = append(make([]Uplink, 0, len(uplinks)), uplinks...)
	w.mu.Unlock()
	w.box.note(func(h *hints) { h.requestRead(w.clock()) })
}

// readCarrier requests a reading of an uplink's carrier.
func (w *watch) readCarrier(uplink string) {
	w.box.note(func(h *hints) {
		if len(h.carrier) >= hintLimit {
			h.requestRead(w.clock()) // full: one reading of everything instead
			return
		}
		h.carrier[uplink] = true
	})
}

// currentLinks returns the uplinks' links as of the last reading.
func (w *watch) currentLinks() []uplinkLink {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.links)
}

func (w *watch) defaultRoutes() []Default {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.defaults)
}
