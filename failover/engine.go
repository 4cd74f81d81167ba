package failover

import (
	"fmt"
	"time"
)

// never is an instant before all others, forever one after all others. Both
// are far enough from the ends of the type that sums with them do not overflow.
const (
	never       Instant = -1 << 62
	forever     Instant = 1 << 62
	lastInstant Instant = forever - 1<<60
)

const (
	// idleWake bounds the time between two steps when nothing is due.
	idleWake = time.Minute
	// linksWithin is how long the first selection waits for the links to be
	// reported. An intent made from half of them would remove good routes.
	linksWithin = 2 * time.Second
)

// Engine is the decision engine. Its methods must not be called concurrently;
// the values they return belong to the caller.
//
// It owns the sequence of steps and routes events. What is known of an uplink
// in a family belongs to its path, probes in flight to flights, and the choice
// of uplinks to the selector.
type Engine struct {
	now      Instant // of the last step
	steps    uint64
	uplinks  uplinks
	paths    []*path // of all uplinks, in their order
	flights  flights
	selector selector
	// wake is what the last step asked for; a step that comes later follows a pause.
	wake Instant
	// opened is the instant of the first step. ready: the links are known well
	// enough to ask something of the kernel.
	opened Instant
	ready  bool
}

// turn is one step in progress. Paths, flights and selector are handed it in
// place of the engine: the time, the output, and what has to follow in this
// step. It does not outlive the step.
type turn struct {
	now  Instant
	step uint64 // the number of this step, from 1
	out  Output
	// rejudge: a verdict has changed other paths, so all need another look.
	rejudge bool
	// reselect: something that the choice of uplinks depends on has changed.
	reselect bool
	// probed: a probe was answered or late, which a selection may be waiting for.
	probed bool
	// measured: byte counters were read.
	measured bool
}

func (t *turn) record(r Record) {
	r.At = t.now
	t.out.Records = append(t.out.Records, r)
}

// New returns an engine that does not know any link yet. The configuration must
// be valid.
func New(cfg Config) *Engine {
	e := &Engine{wake: forever, opened: never}
	e.selector = selector{overrideEnd: forever, due: forever}
	e.configure(&turn{}, cfg)
	return e
}

// Step reports to the engine what happened at an instant, and returns what has
// to be done. An instant before that of the last step is replaced by the latter.
func (e *Engine) Step(at Instant, ev Event) Output {
	e.steps++
	t := &turn{now: min(max(at, e.now, 0), lastInstant), step: e.steps}
	if e.opened == never {
		e.opened = t.now
	} else if late := t.now - e.wake; late > pauseSlack {
		e.compensatePause(t, late)
	}
	e.now = t.now
	e.handle(t, ev)
	e.judge(t)
	e.choose(t)
	due := e.send(t)
	return e.finish(t, due)
}

// handle routes an event to what it is about. Events about unknown uplinks or
// probes are ignored.
func (e *Engine) handle(t *turn, ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Configure:
		e.rename(ev)
		e.configure(t, ev.Config)
	case Adopt:
		e.adopt(t, ev)
	case LinkChanged:
		if u := e.uplinks.find(ev.Uplink); u != nil {
			u.linkChanged(t, ev.Link)
		}
	case ProbeSent:
		if f := e.flights.get(ev.ID); f != nil && f.sent == never {
			f.depart(t.now)
			f.path.unsent.sent(&f.path.targets[f.target])
		}
	case ProbeAnswered:
		e.probeAnswered(t, ev)
	case ProbeNotSent:
		e.probeNotSent(t, ev)
	case ProbeFailed:
		e.probeFailed(ev)
	case Traffic:
		if p := e.uplinks.path(ev.Uplink, ev.Family); p != nil {
			p.traffic(t, ev)
		}
	case Load:
		for _, c := range ev.Counts {
			if u := e.uplinks.find(c.Uplink); u != nil {
				u.count(t.now, c)
			}
		}
		t.measured = true
	case NeighborFailed:
		if p := e.uplinks.path(ev.Uplink, ev.Family); p != nil {
			p.neighborFailed(t)
		}
	case Operator:
		if ev.Verb == Resume {
			e.uplinks.forgive(ev.Uplink)
		}
		e.selector.operator(t, ev)
	case Recall:
		e.selector.recall(t, ev)
	default:
		panic(fmt.Sprintf("failover: unknown event %T", ev))
	}
}

// judge expires the probes of each path on which something is due, and draws
// the conclusions. A verdict may change other paths, so it is done in passes.
// Four cover any chain; the next step would see what remained.
func (e *Engine) judge(t *turn) {
	for range 4 {
		t.rejudge = false
		for _, p := range e.paths {
			if !p.touched && t.now < p.due {
				continue
			}
			e.expire(t, p)
			follow := p.judge(t)
			if follow.suspected {
				e.probeAround(t, p)
			}
			if follow.answers {
				e.uplinks.lastCall(t, p)
			}
		}
		if !t.rejudge {
			return
		}
	}
}

// probeAround starts bursts on what a suspicion concerns besides its own path:
// the other family, which shares the way, and the uplinks that would take over,
// which have to be proven by the time the verdict falls.
func (e *Engine) probeAround(t *turn, suspect *path) {
	suspect.up.paths[suspect.family.Other()].startBurst(t)
	e.selector.probeSuccessors(t, suspect)
	t.rejudge = true
}

// choose selects uplinks once the links are known: each was reported, or the
// time for it has passed. Metered uplinks are probed by whether they carry.
func (e *Engine) choose(t *turn) {
	if !e.ready {
		e.ready = t.now >= e.opened+linksWithin || e.uplinks.allReported()
		if !e.ready {
			return
		}
		t.reselect = true
	}
	if e.selector.choose(t) {
		for _, u := range e.uplinks {
			u.carries = e.selector.carries(u.cfg.Name)
		}
		e.uplinks.setRhythms(t)
	}
}

// send requests the probes that are due, and returns when the next path is due.
func (e *Engine) send(t *turn) Instant {
	due := forever
	for _, p := range e.paths {
		if p.touched || p.due <= t.now {
			p.send(t, &e.flights)
			p.plan(t.now, e.flights.nextDeadline(p))
		}
		due = min(due, p.due)
	}
	return due
}

// finish completes the output; due is when the first path is.
func (e *Engine) finish(t *turn, due Instant) Output {
	e.wake = min(t.now+idleWake, due, e.selector.due, e.selector.overrideEnd)
	if !e.ready {
		e.wake = min(e.wake, e.opened+linksWithin)
	}
	e.wake = max(e.wake, t.now+1)
	t.out.Wake = e.wake
	if n := len(t.out.Probes); n > 0 {
		t.out.Probes, e.flights.probeBuffer = t.out.Probes[:n:n], t.out.Probes[n:]
	}
	return t.out
}
