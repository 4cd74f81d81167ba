package linkmon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"swerve/failover"
	"swerve/target"
)

// Path is the way that a probe takes.
type Path struct {
	// Link of the uplink: its device, its first address of the probe's family
	// and its gateway are used.
	Link failover.Link
	// Mark is the packet mark of the uplink's lane, by which the uplink's own
	// table routes the probe.
	Mark uint32
	// LostAfter is the age at which the engine takes the probe for lost.
	LostAfter time.Duration
}

const (
	// maxInFlight bounds the probes under way, each with four goroutines.
	maxInFlight = 1024
	// lateAnswers is how long after LostAfter an answer still counts: however
	// late, it shows that the uplink lives.
	lateAnswers = 500 * time.Millisecond
)

// prober sends probes and tells their outcomes.
type prober struct {
	clock  func() failover.Instant
	out    *outbox
	pinger pinger
	own    func(netip.Addr) bool // reports this machine's own addresses; nil for none
	count  probeCounters

	ctx    context.Context // ends at close
	cancel context.CancelFunc

	mu       sync.Mutex
	inFlight int
	closed   bool
	done     sync.WaitGroup
}

type probeCounters struct{ sent, answered, notSent, foreign atomic.Uint64 }

// pinger sends one echo request, waits for its answer, and returns. It calls
// onSent when the packet has left and onAnswer with the sender of an answer, one
// at a time, not after it returned. The error says why nothing was sent; after
// onSent it means nothing.
type pinger interface {
	ping(ctx context.Context, r echoRequest, onSent func(), onAnswer func(from netip.Addr)) error
}

// echoRequest is one ICMP echo request.
type echoRequest struct {
	// to has a zone where it is link-local.
	to, source netip.Addr
	device     string
	mark       uint32
	// wait is how long an answer is waited for.
	wait time.Duration
}

func newProber(clock func() failover.Instant, out *outbox, with pinger) *prober {
	p := &prober{clock: clock, out: out, pinger: with}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close ends the probes that are under way and waits for them. Later ones are not
// sent.
func (p *prober) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.done.Wait()
}

func (p *prober) send(probe failover.Probe, path Path) {
	r, err := request(probe, path)
	if err == nil && p.own != nil && p.own(r.to) {
		err = fmt.Errorf("%s is an address of this machine", r.to)
	}
	if err == nil {
		err = p.begin()
	}
	if err != nil {
		p.refuse(probe.ID, err)
		return
	}
	go func() {
		defer p.end()
		p.run(probe.ID, r)
	}()
}

func (p *prober) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return errors.New("probing has ended")
	case p.inFlight >= maxInFlight:
		return errors.New("too many probes in flight")
	}
	p.inFlight++
	p.done.Add(1)
	return nil
}

func (p *prober) end() {
	p.mu.Lock()
	p.inFlight--
	p.mu.Unlock()
	p.done.Done()
}

func (p *prober) underWay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight
}

// run sends a probe and tells what came of it.
func (p *prober) run(id failover.ProbeID, r echoRequest) {
	var sent, answered bool
	var sentAt failover.Instant
	err := p.pinger.ping(p.ctx, r, func() {
		sent, sentAt = true, p.clock()
		p.count.sent.Add(1)
		p.out.put(Observation{At: sentAt, Event: failover.ProbeSent{ID: id}})
	}, func(from netip.Addr) {
		at := p.clock()
		switch {
		case from.WithZone("") != r.to.WithZone(""):
			p.count.foreign.Add(1) // somebody on the way answers for others
		case sent && !answered:
			answered = true
			p.count.answered.Add(1)
			event := failover.ProbeAnswered{ID: id, RTT: max(1, at-sentAt)}
			p.out.put(Observation{At: at, Event: event})
		}
	})
	if !sent {
		p.refuse(id, err)
	}
}

func (p *prober) refuse(id failover.ProbeID, cause error) {
	if cause == nil {
		cause = errors.New("the sender gave up")
	}
	p.count.notSent.Add(1)
	p.out.put(Observation{At: p.clock(), Event: failover.ProbeNotSent{ID: id, Cause: cause.Error()}})
}

// request works out what to send for a probe. The error says why it cannot be.
func request(probe failover.Probe, path Path) (echoRequest, error) {
	target, err := target.Parse(probe.Target)
	if err != nil {
		return echoRequest{}, err
	}
	family := path.Link.Family[probe.Family]
	to, err := destination(target, probe.Family, path.Link)
	switch {
	case err != nil:
		return echoRequest{}, err
	case !path.Link.Present:
		return echoRequest{}, errors.New("the interface is missing")
	case !path.Link.AdminUp:
		return echoRequest{}, errors.New("the interface is switched off")
	case !path.Link.Carrier:
		return echoRequest{}, errors.New("the interface has no carrier")
	case len(family.Addresses) == 0:
		return echoRequest{}, fmt.Errorf("the interface has no %s address", probe.Family)
	}
	return echoRequest{
		to:     to,
		source: family.Addresses[0].Addr(),
		device: path.Link.Interface,
		mark:   path.Mark,
		wait:   path.LostAfter + lateAnswers,
	}, nil
}

// destination is the address to ask, with a zone where it is link-local.
func destination(t target.Target, f failover.Family, link failover.Link) (netip.Addr, error) {
	to := t.Addr
	switch t.Method {
	case target.ICMP:
		if !t.In(f) {
			return to, fmt.Errorf("%s is no %s address", to, f)
		}
	case target.Gateway:
		to = link.Family[f].Gateway
		if link.Family[f].PointToPoint {
			return to, errors.New("there is no gateway on a point-to-point link")
		}
		if !to.IsValid() {
			return to, fmt.Errorf("the %s gateway is unknown", f)
		}
	case target.TCP, target.HTTP, target.HTTPS, target.DNS:
		return to, fmt.Errorf("method %s is not built in yet", t.Method)
	default:
		panic(fmt.Sprintf("linkmon: unknown method %q", t.Method))
	}
	if to.Is6() && to.IsLinkLocalUnicast() {
		to = to.WithZone(link.Interface)
	}
	return to, nil
}
