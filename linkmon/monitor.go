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
	// Clock tells the present instant. It must be safe for many goroutines.
	Clock func() failover.Instant
	// Log takes what disturbs the watch; nil for nowhere.
	Log *slog.Logger
}

// Status is how an uplink's link stands.
type Status struct {
	Uplink string
	Link   failover.Link
}

// Counters count what a monitor did since it was made.
type Counters struct {
	// Messages of the kernel that were received, and Overruns: how often the
	// kernel dropped some because the buffer was full.
	Messages, Overruns uint64
	// Readings of the kernel's state, and Failures to receive or to read.
	Readings, Failures uint64
	// ReceiveBuffer is the size in bytes that the kernel grants for messages.
	ReceiveBuffer int
	// Sent, Answered and NotSent count outcomes of probes; InFlight is the
	// number of probes that are under way now.
	Sent, Answered, NotSent uint64
	InFlight                int
	// Foreign counts answers that came from somebody else than was asked.
	Foreign uint64
	// Dropped counts outcomes that nobody took in time.
	Dropped uint64
}

// Monitor watches links and sends probes. Its methods may be called from any
// goroutine.
type Monitor struct {
	watch   *watch
	prober  *prober
	traffic *traffic
	out     *outbox
}

// New opens the sockets on the calling thread, so in its namespace, and reads the
// links for the first time: a [failover.LinkChanged] for each uplink can be taken
// at once. Call [Monitor.Run] then, once; it also frees what New took.
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
	prober := newProber(o.Clock, out, newBing())
	prober.own = w.isOwn
	return &Monitor{watch: w, prober: prober, traffic: openTraffic(o, w.snapshot, out), out: out}, nil
}

// Run watches until ctx ends. It then ends the probes that are under way, closes
// the sockets, waits for all goroutines and returns nil.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.traffic.close()
	var hints sync.WaitGroup
	hints.Go(func() { m.traffic.run(ctx) })
	err := m.watch.run(ctx)
	m.prober.close()
	hints.Wait()
	return err
}

// Ready yields a token while there may be something to Take.
func (m *Monitor) Ready() <-chan struct{} { return m.out.ready }

// Take hands over what was seen since the last Take, oldest first. An observation
// of the watch may be older than one of a probe that was taken before: the instant
// is the kernel's message's, and the reading takes some tenths of a millisecond.
func (m *Monitor) Take() []Observation { return m.out.take() }

// Repair yields a token when routes or rules of Swerve, or the default routes
// beside them, may have been changed, by whomever, also by this daemon: a reason
// to compare the kernel with the goal.
func (m *Monitor) Repair() <-chan struct{} { return m.watch.repair }

// DefaultsChanged yields a token when Defaults returns something else.
func (m *Monitor) DefaultsChanged() <-chan struct{} { return m.watch.defaultsChanged }

// Defaults lists the interfaces that hold a default route of another program in
// table main, once a family, best first.
func (m *Monitor) Defaults() []Default { return m.watch.defaultRoutes() }

// OwnChanged yields a token when Own returns something else.
func (m *Monitor) OwnChanged() <-chan struct{} { return m.watch.ownChanged }

// Own lists the addresses of this machine on all its devices, without zones,
// sorted. A probe to one of them is never sent: it would always be answered.
func (m *Monitor) Own() []netip.Addr { return m.watch.ownAddresses() }

// Snapshot lists how each uplink's link stands, in their order, as it was last
// read.
func (m *Monitor) Snapshot() []Status { return m.watch.snapshot() }

// SetUplinks replaces the uplinks. What is known of one that stays as it was is
// kept; each other's link is told by a [failover.LinkChanged] soon.
func (m *Monitor) SetUplinks(uplinks []Uplink) { m.watch.set(uplinks) }

// Reread has an uplink's carrier read now, without waiting for the kernel to tell
// of it: after another change of the link it may hold the news back for a second,
// from its own routes too. Being asked, it acts at once. What is found comes as a
// [failover.LinkChanged], where it is news.
func (m *Monitor) Reread(uplink string) { m.watch.readCarrier(uplink) }

// Send sends a probe now, without waiting for it. It comes to exactly one
// [failover.ProbeSent] or [failover.ProbeNotSent], and after a ProbeSent to at
// most one [failover.ProbeAnswered].
func (m *Monitor) Send(p failover.Probe, path Path) { m.prober.send(p, path) }

// Counters tells what was done so far.
func (m *Monitor) Counters() Counters {
	w, p := &m.watch.count, &m.prober.count
	return Counters{
		Messages:      w.messages.Load(),
		Overruns:      w.overruns.Load(),
		Readings:      w.readings.Load(),
		Failures:      w.failures.Load(),
		ReceiveBuffer: w.bufferSize,
		Sent:          p.sent.Load(),
		Answered:      p.answered.Load(),
		NotSent:       p.notSent.Load(),
		Foreign:       p.foreign.Load(),
		InFlight:      m.prober.underWay(),
		Dropped:       m.out.droppedCount(),
	}
}
