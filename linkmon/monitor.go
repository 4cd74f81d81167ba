package linkmon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"

	"swerve/failover"
)

// Options are what a [Monitor] needs.
type Options struct {
	// Uplinks to watch, each name once. SetUplinks replaces them later.
	Uplinks []Uplink
	// Clock returns the present instant. It must be safe for many goroutines.
	Clock func() failover.Instant
	// Log takes what goes wrong with the watch; nil for nowhere.
	Log *slog.Logger
}

// Counters count what a monitor did since it was made and does not report as an
// observation.
type Counters struct {
	// Messages of the kernel that were received.
	Messages uint64
	// Overruns is how often the kernel dropped messages because the receive buffer
	// was full.
	Overruns uint64
	// Readings of the kernel's whole state.
	Readings uint64
	// Foreign answers to probes: from another address than the one that was asked.
	Foreign uint64
	// Dropped outcomes of probes, which nobody took in time.
	Dropped uint64
}

// Monitor watches links and sends probes. Its methods may be called from any
// goroutine.
type Monitor struct {
	watch   *watch
	prober  *prober
	chooser *chooser
	traffic *traffic
	witness *witness
	out     *outbox
}

// New opens the sockets on the calling thread, so in its namespace, and reads the
// links for the first time: a [failover.LinkChanged] for each uplink can be taken
// at once. Call [Monitor.Run] afterwards, once; it also frees what New opened.
func New(o Options) (*Monitor, error) {
	return newMonitor(o, receiveBuffer)
}

func newMonitor(o Options, bufferSize int) (*Monitor, error) {
	if o.Clock == nil {
		return nil, errors.New("linkmon: a clock is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	out := newOutbox()
	w, err := openWatch(o, out, bufferSize)
	if err != nil {
		return nil, err
	}
	c, err := openChooser()
	if err != nil {
		w.close()
		return nil, err
	}
	p := newProber(o.Clock, out, w.isOwn, newMethods(o.Clock, c))
	return &Monitor{
		watch:   w,
		chooser: c,
		prober:  p,
		traffic: openTraffic(o, w.currentLinks, out),
		witness: newWitness(o, out, p.ends),
		out:     out,
	}, nil
}

// Run watches until ctx ends. It then ends the probes in flight, closes the
// sockets, waits for all goroutines and returns nil.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.traffic.close()
	var hints sync.WaitGroup
	hints.Go(func() { m.traffic.run(ctx) })
	err := m.watch.run(ctx)
	m.prober.close()
	m.chooser.close()
	m.witness.close()
	hints.Wait()
	return err
}

// Ready yields a token while there may be something to Take.
func (m *Monitor) Ready() <-chan struct{} { return m.out.ready }

// Take returns what was observed since the last Take, oldest first. An observation
// of the watch may be older than one of a probe that was taken before: its instant
// is that of the kernel's message, and the reading takes some tenths of a
// millisecond.
func (m *Monitor) Take() []Observation { return m.out.take() }

// Repair yields a token when routes of Swerve, rules, or the default routes
// beside them, may have been changed, by anyone including this daemon: a reason to
// compare the kernel with the goal.
func (m *Monitor) Repair() <-chan struct{} { return m.watch.repair }

// DefaultsChanged yields a token when Defaults returns something else.
func (m *Monitor) DefaultsChanged() <-chan struct{} { return m.watch.defaultsChanged }

// Defaults lists the interfaces that hold a default route of another program in
// table main, once per family, best first.
func (m *Monitor) Defaults() []Default { return m.watch.defaultRoutes() }

// OwnChanged yields a token when Own or LAN returns something else.
func (m *Monitor) OwnChanged() <-chan struct{} { return m.watch.ownChanged }

// Own lists the addresses of this machine on all its devices, without zones,
// sorted. A probe to one of them is never sent: it would always be answered.
func (m *Monitor) Own() []netip.Addr { return m.watch.ownAddresses() }

// LAN returns what this machine has of public IPv6 beside its uplinks.
func (m *Monitor) LAN() LAN { return m.watch.lanNow() }

// SetUplinks replaces the uplinks. What is known of an uplink that stays as it was
// is kept; the link of every other one is soon reported by a
// [failover.LinkChanged].
func (m *Monitor) SetUplinks(uplinks []Uplink) { m.watch.setUplinks(uplinks) }

// Reread has an uplink's carrier read now, without waiting for the kernel's
// message: after another change of the link the kernel may delay the news by a
// second, for its own routes too, but acts at once when it is asked. A carrier
// that has changed is reported by a [failover.LinkChanged].
//
// It also has the uplink listened to for a while: who asks for this suspects it, and
// what established flows receive speaks against that.
func (m *Monitor) Reread(uplink string) {
	m.watch.readCarrier(uplink)
	for _, l := range m.watch.currentLinks() {
		if l.uplink == uplink {
			m.witness.listen(uplink, l.link)
		}
	}
}

// Send sends a probe now, without waiting for it. Exactly one
// [failover.ProbeSent] or [failover.ProbeNotSent] comes of it, and after a
// ProbeSent at most one [failover.ProbeAnswered] or [failover.ProbeFailed].
func (m *Monitor) Send(p failover.Probe, path Path) { m.prober.send(p, path) }

// Counters returns what was counted so far.
func (m *Monitor) Counters() Counters {
	return Counters{
		Messages: m.watch.received.Load(),
		Overruns: m.watch.overruns.Load(),
		Readings: m.watch.readings.Load(),
		Foreign:  m.prober.foreign.Load(),
		Dropped:  m.out.droppedCount(),
	}
}
