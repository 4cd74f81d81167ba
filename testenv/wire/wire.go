package wire

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/realtime"
)

// End is a link that the wire makes in a namespace, and that the caller sets up.
type End struct {
	NS   *netns.NS
	Link string
}

// Options are a wire's fixed properties, and its initial paths.
type Options struct {
	ToISP     Path
	ToGateway Path
	Seed      uint64         // of random loss and jitter
	Routers   []netip.Addr   // the ISP's own addresses on this wire: reachable despite DropBeyond
	Sources   []netip.Prefix // allowed sources of the gateway; others are dropped and counted. Empty: all are allowed
}

// Wire joins two links. Its methods may be called from any goroutine.
type Wire struct {
	hidden *netns.NS
	peers  [2]string // in the hidden namespace, by side
	opts   Options
	fds    [2]int // packet sockets, by side
	waker  int    // an eventfd that ends ppoll
	done   chan struct{}
	once   sync.Once

	mu      sync.Mutex
	lanes   [2]lane // by the side that the frames come from
	filter  Filter
	closing bool
	late    time.Duration
	foreign []netip.Addr // the sources behind Counters.Foreign, each once
	latest  [][]byte     // the beginnings of the latest frames that were foreign
	spare   [][]byte
}

// maxForeign bounds what ForeignSources returns; later ones are only counted.
const maxForeign = 16

// The sides of a wire. A lane has the number of the side that feeds it.
const (
	gatewaySide = 0
	ispSide     = 1
)

// Open makes both ends and begins to carry frames between them. The peers are in
// hidden, under names derived from the gateway's link, so several wires can share it.
// The ends are down: set them up when they have their addresses. Close the wire before
// the namespaces.
func Open(hidden *netns.NS, gateway, isp End, opts Options) (*Wire, error) {
	w := &Wire{
		hidden: hidden, opts: opts, done: make(chan struct{}), fds: [2]int{-1, -1}, waker: -1,
		peers: [2]string{gateway.Link + "-gw", gateway.Link + "-isp"},
	}
	for side, path := range [2]Path{opts.ToISP, opts.ToGateway} {
		w.lanes[side].path = path
		w.lanes[side].rng = rand.New(rand.NewPCG(opts.Seed, uint64(side)))
	}
	if err := w.open([2]End{gateway, isp}); err != nil {
		w.closeFds()
		return nil, fmt.Errorf("wire: between %s and %s: %w", gateway.Link, isp.Link, err)
	}
	go realtime.Run(w.run)
	return w, nil
}

func (w *Wire) open(ends [2]End) (err error) {
	for side, end := range ends {
		if w.fds[side], err = makeEnd(w.hidden, w.peers[side], end); err != nil {
			return err
		}
	}
	w.waker, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return err
}

// Close stops carrying frames; those in flight are lost. The links remain, without a
// connection between them, until their namespaces are closed.
func (w *Wire) Close() {
	w.once.Do(func() {
		w.changed(func() { w.closing = true })
		<-w.done
		w.closeFds()
	})
}

func (w *Wire) closeFds() {
	for _, fd := range []int{w.fds[0], w.fds[1], w.waker} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Change alters the paths of one direction or both.
func (w *Wire) Change(dir Direction, fn func(*Path)) {
	w.changed(func() {
		for _, l := range w.of(dir) {
			fn(&l.path)
		}
	})
}

// Path returns how one direction is treated now.
func (w *Wire) Path(dir Direction) (p Path) {
	w.locked(func() { p = w.of(dir)[0].path })
	return p
}

// SetFilter sets what the ISP's end forwards from now on, and returns the instant from
// which that applies.
func (w *Wire) SetFilter(f Filter) (since time.Time) {
	w.changed(func() { w.filter, since = f, time.Now() })
	return since
}

// Hold stalls one direction or both for d, counted from the returned instant. Frames
// that are due meanwhile leave, in order, when it is over. A Hold of 0 ends a stall.
func (w *Wire) Hold(dir Direction, d time.Duration) (since time.Time) {
	w.changed(func() {
		since = time.Now()
		for _, l := range w.of(dir) {
			l.heldTo = since.Add(d)
		}
	})
	return since
}

// SetCarrier pulls the plug at the gateway's end, or plugs it in again: the gateway's
// link loses or regains its carrier, the ISP's keeps it.
func (w *Wire) SetCarrier(on bool) error {
	if on {
		return w.hidden.SetUp(w.peers[gatewaySide])
	}
	return w.hidden.SetDown(w.peers[gatewaySide])
}

// Counters returns the counts of the frames of one direction so far.
func (w *Wire) Counters(dir Direction) (c Counters) {
	w.locked(func() { c = w.of(dir)[0].count })
	return c
}

// Accept allows further sources of the gateway, where Options.Sources limits them.
func (w *Wire) Accept(sources ...netip.Prefix) {
	w.locked(func() {
		if len(w.opts.Sources) > 0 {
			w.opts.Sources = slices.Concat(w.opts.Sources, sources)
		}
	})
}

// ForeignSources returns the source addresses that were dropped as foreign so far,
// each once, in the order of arrival, at most maxForeign.
func (w *Wire) ForeignSources() (all []netip.Addr) {
	w.locked(func() { all = slices.Clone(w.foreign) })
	return all
}

// ForeignFrames returns the beginnings of the latest frames that were dropped as
// foreign, from the network header on, at most foreignKept.
func (w *Wire) ForeignFrames() (all [][]byte) {
	w.locked(func() { all = slices.Clone(w.latest) })
	return all
}

// What is kept of foreign frames.
const (
	foreignKept  = 8
	foreignBytes = 96
)

// dropForeign counts a frame with a foreign source.
func (w *Wire) dropForeign(l *lane, h header, data []byte) {
	l.count.Foreign++
	if len(w.foreign) < maxForeign && !slices.Contains(w.foreign, h.src) {
		w.foreign = append(w.foreign, h.src)
	}
	if len(w.latest) == foreignKept {
		w.latest = slices.Delete(w.latest, 0, 1)
	}
	w.latest = append(w.latest, slices.Clone(data[macLen:min(len(data), macLen+foreignBytes)]))
}

// MarkLateness resets the lateness.
func (w *Wire) MarkLateness() { w.locked(func() { w.late = 0 }) }

// Lateness is how long after its time the latest frame since the last
// MarkLateness left, in either direction.
func (w *Wire) Lateness() (worst time.Duration) {
	w.locked(func() { worst = w.late })
	return worst
}

// of lists the lanes of a direction.
func (w *Wire) of(dir Direction) []*lane {
	switch dir {
	case ToISP:
		return []*lane{&w.lanes[gatewaySide]}
	case ToGateway:
		return []*lane{&w.lanes[ispSide]}
	case Both:
		return []*lane{&w.lanes[gatewaySide], &w.lanes[ispSide]}
	}
	panic(fmt.Sprintf("wire: unknown direction %d", int(dir)))
}

// locked runs fn while the wire's thread is locked out.
func (w *Wire) locked(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// changed runs fn likewise, and wakes the thread afterwards.
func (w *Wire) changed(fn func()) {
	w.locked(fn)
	w.wake()
}
