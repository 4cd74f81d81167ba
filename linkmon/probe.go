package linkmon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/target"
)

// Path says where a probe goes, and by which uplink.
type Path struct {
	// Target to ask, which is what the text of the probe's target means.
	Target target.Target
	// Link of the uplink: its device, its first source of the probe's family and
	// its gateway are used.
	Link failover.Link
	// Mark is the packet mark of the uplink's lane, by which the uplink's own
	// table routes the probe.
	Mark uint32
	// LostAfter is the age at which the engine counts the probe as lost.
	LostAfter time.Duration
}

const (
	// maxInFlight bounds the probes in flight, each with four goroutines. One more
	// is not sent, and reported so.
	maxInFlight = 1024
	// uplinkShare is how many of them an uplink has whatever the others do: dead ones
	// have probes in flight for as long as they wait for answers, and must not keep a
	// healthy one from being probed. What the shares leave, crowded, is for whoever
	// comes first. 72 are the uplinks and the candidates that there may be.
	uplinkShare = 8
	crowded     = maxInFlight - 72*uplinkShare
	// lateAnswers is how long after LostAfter an answer still counts: however late, it
	// shows that the uplink works. Queues of four seconds are seen. Where very many
	// probes are in flight, as when many uplinks are dead, it is hurriedAnswers, so
	// that there is room for those of the others.
	lateAnswers    = 4 * time.Second
	hurriedAnswers = 500 * time.Millisecond
	// hurried is the number of probes in flight from which on it is.
	hurried = maxInFlight / 4
)

// prober sends probes, each in a goroutine of its own, and reports their outcomes
// as observations.
type prober struct {
	clock   func() failover.Instant
	out     *outbox
	own     func(netip.Addr) bool // reports whether an address is this machine's
	methods map[target.Method]method
	foreign atomic.Uint64 // answers from an address that was not asked
	ends    *probedEnds
	proofs  chan struct{} // has a token for each proof under way

	ctx    context.Context // ends at close
	cancel context.CancelFunc

	mu       sync.Mutex
	inFlight int
	of       map[string]int // those in flight by uplink
	// open counts, by uplink and family, the probes without an answer so far.
	open map[way]int
	// refused has the ways by which the last probe with an outcome could not be sent.
	refused map[way]bool
	closed  bool
	done    sync.WaitGroup
}

// way is one uplink in one family.
type way struct {
	uplink string
	family failover.Family
}

func newProber(clock func() failover.Instant, out *outbox, own func(netip.Addr) bool, methods map[target.Method]method) *prober {
	p := &prober{ends: newProbedEnds(), proofs: make(chan struct{}, maxProofs), clock: clock, out: out, own: own, methods: methods, of: map[string]int{}, open: map[way]int{}, refused: map[way]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close ends the probes in flight and waits for them. Later ones are not sent.
func (p *prober) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.done.Wait()
}

// send starts a probe, or reports that it is not sent.
func (p *prober) send(probe failover.Probe, path Path) {
	method := p.methods[path.Target.Method]
	r, err := newRequest(probe.Family, path)
	if err == nil && method == nil {
		err = errors.New("it is no target any more")
	}
	if err == nil && p.own(r.to) {
		err = fmt.Errorf("%s is an address of this machine", r.to)
	}
	if err == nil {
		err = p.begin(probe.Uplink)
	}
	if err != nil {
		p.notSent(probe, p.clock(), err)
		return
	}
	switch {
	case probe.Brief:
		r.wait = path.LostAfter
	case p.isHurried():
		r.wait = path.LostAfter + hurriedAnswers
	}
	p.ends.add(netip.AddrPortFrom(r.to, path.Target.Port))
	r.certain = p.doubts(probe, 1) > 1 || p.isRefused(probe)
	go func() {
		defer p.end(probe.Uplink)
		p.run(probe, method, r)
	}()
}

// begin takes one of the places for probes in flight, which end gives back.
func (p *prober) begin(uplink string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return errors.New("probing has ended")
	case p.inFlight >= maxInFlight, p.inFlight >= crowded && p.of[uplink] >= uplinkShare:
		return errors.New("too many probes in flight")
	}
	p.inFlight++
	p.of[uplink]++
	p.done.Add(1)
	return nil
}

// isHurried reports whether so many probes are in flight that late answers are not
// waited for as long.
func (p *prober) isHurried() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight > hurried
}

// doubts adds to the probes of an uplink and family that are without an answer, and
// returns how many there are.
func (p *prober) doubts(probe failover.Probe, change int) int {
	w := way{probe.Uplink, probe.Family}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.open[w] + change
	p.open[w] = n
	if n == 0 {
		delete(p.open, w)
	}
	return n
}

// isRefused reports whether the last probe with an outcome of the same uplink and
// family could not be sent.
func (p *prober) isRefused(probe failover.Probe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[way{probe.Uplink, probe.Family}]
}

func (p *prober) setRefused(probe failover.Probe, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := (way{probe.Uplink, probe.Family}); refused {
		p.refused[w] = true
	} else {
		delete(p.refused, w)
	}
}

func (p *prober) end(uplink string) {
	p.mu.Lock()
	p.inFlight--
	if p.of[uplink]--; p.of[uplink] == 0 {
		delete(p.of, uplink)
	}
	p.mu.Unlock()
	p.done.Done()
}

// run probes, and turns what the method reports into at most one sending, and then one
// answer of the address that was asked or one fault.
func (p *prober) run(asked failover.Probe, probe method, r request) {
	id := asked.ID
	settled := sync.OnceFunc(func() { p.doubts(asked, -1) })
	defer settled()
	var sent, concluded, refused bool
	var sentAt failover.Instant
	probe(p.ctx, r, func(o outcome) {
		switch o.kind {
		case probeSent:
			sent, sentAt = true, o.at
			p.out.put(Observation{At: o.at, Event: failover.ProbeSent{ID: id}, Uplink: asked.Uplink, Family: asked.Family})
		case probeAnswered:
			switch {
			case o.by.WithZone("") != r.to.WithZone(""):
				p.foreign.Add(1) // a router on the way answers for others
			case sent && !concluded:
				concluded = true
				settled()
				p.setRefused(asked, false)
				event := failover.ProbeAnswered{ID: id, RTT: max(1, o.at-sentAt)}
				p.out.put(Observation{At: o.at, Event: event, Uplink: asked.Uplink, Family: asked.Family})
			}
		case probeRefused:
			if !sent {
				refused = true
				p.setRefused(asked, true)
				p.notSent(asked, o.at, o.cause)
			}
		case probeFailed:
			if sent && !concluded {
				concluded = true
				p.setRefused(asked, false)
				p.out.put(Observation{At: o.at, Event: failover.ProbeFailed{ID: id, Fault: o.fault}, Uplink: asked.Uplink, Family: asked.Family})
			}
		default:
			panic(fmt.Sprintf("linkmon: unknown outcome %d", o.kind))
		}
	})
	if !sent && !refused {
		p.notSent(asked, p.clock(), errors.New("the sender gave up"))
	}
}

func (p *prober) notSent(asked failover.Probe, at failover.Instant, cause error) {
	event := failover.ProbeNotSent{ID: asked.ID, Cause: cause.Error()}
	if errno, ok := errors.AsType[syscall.Errno](cause); ok {
		event.Errno = unix.ErrnoName(errno)
	}
	p.out.put(Observation{At: at, Event: event, Uplink: asked.Uplink, Family: asked.Family})
}

// newRequest works out what to send by a path in a family. The error says why
// nothing can be sent.
func newRequest(f failover.Family, path Path) (request, error) {
	to, err := destination(path.Target, f, path.Link)
	family := path.Link.Family[f]
	switch {
	case err != nil:
		return request{}, err
	case !path.Link.Present:
		return request{}, errors.New("the interface is missing")
	case !path.Link.AdminUp:
		return request{}, errors.New("the interface is switched off")
	case !path.Link.Carrier:
		return request{}, errors.New("the interface has no carrier")
	}
	sources := sourcesTo(to, family)
	if len(sources) == 0 {
		return request{}, fmt.Errorf("the interface has no %s address", f)
	}
	var via netip.Addr // a host of the uplink's own network needs none
	if f == failover.IPv4 && family.Gateway != to && !slices.ContainsFunc(sources, func(p netip.Prefix) bool { return p.Contains(to) }) {
		via = family.Gateway
	}
	return request{
		target:  path.Target,
		to:      to,
		via:     via,
		source:  sources[0].Addr(),
		device:  path.Link.Interface,
		mark:    path.Mark,
		index:   path.Link.Index,
		sources: sources,
		wait:    path.LostAfter + lateAnswers,
	}, nil
}

// sourcesTo returns the sources that packets by the uplink to an address can have, the
// best first: only the preferred one if there is such a one, whatever else there is,
// except on the uplink's own link, to which its default route does not lead.
func sourcesTo(to netip.Addr, link failover.FamilyLink) []netip.Prefix {
	sources := link.Sources()
	if len(sources) == 0 || sources[0].Addr() != link.Shape.Source {
		return sources
	}
	near := slices.DeleteFunc(slices.Clone(link.Addresses), func(p netip.Prefix) bool { return !p.Contains(to.WithZone("")) })
	if len(near) > 0 {
		return near
	}
	return sources[:1]
}

// destination is the address to ask, with a zone where it is link-local.
func destination(t target.Target, f failover.Family, link failover.Link) (netip.Addr, error) {
	to := t.Addr
	family := link.Family[f]
	switch {
	case t.Method == target.Gateway && family.PointToPoint:
		return to, errors.New("there is no gateway on a point-to-point link")
	case t.Method == target.Gateway && !family.Gateway.IsValid():
		return to, fmt.Errorf("the %s gateway is unknown", f)
	case t.Method == target.Gateway:
		to = family.Gateway
	case !t.In(f):
		return to, fmt.Errorf("%s is no %s address", to, f)
	}
	if to.Is6() && to.IsLinkLocalUnicast() {
		to = to.WithZone(link.Interface)
	}
	return to, nil
}
