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
	// resyncInterval is how often it reads without being told to, because the
	// kernel is silent about some of what it does.
	resyncInterval = time.Minute
	// retryAfter is the pause after a reading or receiving that failed.
	retryAfter = time.Second
)

// watch follows the kernel. One goroutine receives messages into the mailbox,
// another empties it and reads.
type watch struct {
	kernel   *kernel
	messages *nl.NetlinkSocket
	box      *mailbox
	out      *outbox
	clock    func() failover.Instant
	log      *slog.Logger
	count    watchCounters

	// repair, defaultsChanged and ownChanged hold a token while the hint was not taken.
	repair, defaultsChanged, ownChanged chan struct{}

	// followers and state belong to the goroutine that reads, and to New before it.
	followers []*follower
	state     state

	mu       sync.Mutex
	wanted   []Uplink     // set by SetUplinks, nil once it was taken over
	seen     []Status     // what Snapshot returns
	defaults []Default    // what Defaults returns
	own      []netip.Addr // what Own returns
}

type watchCounters struct {
	messages, overruns, readings, failures atomic.Uint64
	bufferSize                             int
}

// openWatch opens the sockets on the calling thread and reads for the first time.
// It subscribes before it reads, so nothing can happen in between unseen.
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
	w := &watch{
		kernel: k, messages: messages, box: newMailbox(), out: out,
		clock: o.Clock, log: o.Log,
		repair: make(chan struct{}, 1), defaultsChanged: make(chan struct{}, 1), ownChanged: make(chan struct{}, 1),
		wanted: slices.Clone(o.Uplinks),
	}
	w.count.bufferSize = size
	if size < bufferSize {
		o.Log.Info("small receive buffer for the kernel's messages; what does not fit is read anew",
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
}

// run works until ctx ends, and closes the sockets.
func (w *watch) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { w.receive(ctx); return nil })
	g.Go(func() error { w.follow(ctx); return nil })
	<-ctx.Done()
	w.messages.Close() // ends a Receive that waits
	err := g.Wait()
	w.kernel.close()
	return err
}

// receive notes the kernel's messages until ctx ends.
func (w *watch) receive(ctx context.Context) {
	for {
		batch, _, err := w.messages.Receive()
		at := w.clock()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			w.count.messages.Add(uint64(len(batch)))
			w.box.messages(batch, at)
			continue
		case errors.Is(err, unix.ENOBUFS):
			// The kernel dropped messages; the socket goes on.
			w.count.overruns.Add(1)
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
			w.box.note(func(h *hints) { h.look(w.clock()) })
		case <-w.box.wake:
			if wait := allowance.wait(w.clock()); wait > 0 {
				sleep(ctx, wait) // what comes meanwhile is covered by the same reading
			}
			w.handle(ctx, w.box.take())
		}
	}
}

// handle acts on what was noted.
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
	w.tellFailed(h)
	if h.repair {
		signal(w.repair)
	}
}

// read reads the kernel and tells what changed.
func (w *watch) read(h hints) error {
	w.count.readings.Add(1)
	s, err := w.kernel.read()
	if err != nil {
		return err
	}
	w.state = s
	w.tell(h)
	return nil
}

// readCarriers reads the devices of uplinks whose carrier somebody doubts, and
// sees to it that all is read where one is not as it was told.
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
			h.look(at)
		}
	}
}

// tell compares the links with those that were told last and tells the changed,
// after it has put them where Snapshot and Defaults find them.
func (w *watch) tell(h hints) {
	w.takeOver()
	var changed []failover.LinkChanged
	seen := make([]Status, 0, len(w.followers))
	for _, f := range w.followers {
		link := f.look(w.state, h.missed || h.lost[f.device.index])
		if link.Present && f.told && link.Carrier != f.link.Carrier {
			w.hasten(link.Index)
		}
		if !f.told || !link.Equal(f.link) {
			f.link, f.told = link, true
			changed = append(changed, failover.LinkChanged{Uplink: f.uplink.Name, Link: link})
		}
		seen = append(seen, Status{Uplink: f.uplink.Name, Link: link})
	}
	defaultsChanged, ownChanged := w.keep(seen, defaultsOf(w.state), ownOf(w.state))
	if defaultsChanged {
		signal(w.defaultsChanged)
	}
	if ownChanged {
		signal(w.ownChanged)
	}
	for _, event := range changed {
		w.out.put(Observation{At: h.at, Event: event})
	}
}

// hasten has the kernel act on a change of carrier that a listing showed before the
// kernel's own notice: its routes follow the carrier only then.
func (w *watch) hasten(index int) {
	if _, _, err := w.kernel.device(index); err != nil {
		w.failed("read", err)
	}
}

// keep keeps what Snapshot, Defaults and Own return, and reports whether the
// defaults and the machine's own addresses are other ones than before.
func (w *watch) keep(seen []Status, defaults []Default, own []netip.Addr) (defaultsChanged, ownChanged bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defaultsChanged, ownChanged = !slices.Equal(defaults, w.defaults), !slices.Equal(own, w.own)
	w.seen, w.defaults, w.own = seen, defaults, own
	return defaultsChanged, ownChanged
}

// takeOver follows the uplinks that SetUplinks wants. One that stays as it was
// keeps what is known of it.
func (w *watch) takeOver() {
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
		i := slices.IndexFunc(old, func(f *follower) bool { return f.uplink == u })
		if i >= 0 {
			w.followers = append(w.followers, old[i])
			continue
		}
		w.followers = append(w.followers, &follower{uplink: u})
	}
	for _, f := range old {
		if !slices.ContainsFunc(wanted, func(u Uplink) bool { return u.Name == f.uplink.Name }) {
			w.out.forget(f.uplink.Name)
		}
	}
}

// tellFailed tells of gateways that could not be resolved. Where messages were
// lost, it asks for the state of each.
func (w *watch) tellFailed(h hints) {
	if h.missed {
		w.askNeighbors(&h)
	}
	for hop, at := range h.failed {
		for _, f := range w.followers {
			if family, ok := f.waitsFor(hop.index, hop.ip); ok {
				w.out.put(Observation{At: at, Event: failover.NeighborFailed{Uplink: f.uplink.Name, Family: family}})
			}
		}
	}
}

func (w *watch) askNeighbors(h *hints) {
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

func (w *watch) failed(what string, err error) {
	w.count.failures.Add(1)
	w.log.Warn("watching links is disturbed", "action", what, "err", err)
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// set replaces the uplinks, in their order.
func (w *watch) set(uplinks []Uplink) {
	w.mu.Lock()
	w.wanted = append(make([]Uplink, 0, len(uplinks)), uplinks...)
	w.mu.Unlock()
	w.box.note(func(h *hints) { h.look(w.clock()) })
}

// readCarrier asks for an uplink's carrier to be read now.
func (w *watch) readCarrier(uplink string) {
	w.box.note(func(h *hints) {
		if len(h.carrier) >= hintLimit {
			h.look(w.clock()) // not ours to name so many; a full reading it is
			return
		}
		h.carrier[uplink] = true
	})
}

func (w *watch) snapshot() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func (w *watch) defaultRoutes() []Default {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.defaults)
}
