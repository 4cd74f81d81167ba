package failover

import (
	"fmt"
	"time"
)

// never is an instant before all others, forever one after all others. Both
// are far enough from the ends of the type that sums with them do not wrap.
const (
	never       Instant = -1 << 62
	forever     Instant = 1 << 62
	lastInstant Instant = forever - 1<<60
)

// idleWake bounds the time between two steps when nothing is due.
const idleWake = time.Minute

// Engine is the decision engine. Its methods must not be called at the same
// time; the values they return are the caller's own.
type Engine struct {
	cfg      Config
	now      Instant
	seq      uint64 // counts the steps
	uplinks  []*uplink
	paths    []*path // of all uplinks, in their order
	policies []*policy
	flights  flights
	// wake is what the last step asked for, to notice a step that comes late.
	wake Instant
	// opened is the instant of the first step; ready says that the links are
	// known well enough to ask something of the kernel.
	opened Instant
	ready  bool
	// dirty asks for a new selection; settling for another look at the health
	// of what one path's verdict touched; awaitProof says that a selection waits
	// for a candidate's answer.
	dirty, settling, awaitProof bool
	// handAt is when the operator last did something, or it ended by itself.
	handAt Instant
	// handUntil is when the next of the operator's words ends by itself.
	handUntil  Instant
	intent     *Intent
	switches   uint64
	lastSwitch *Record
	out        Output
	// room is for the probes of the next outputs: memory is taken for many at
	// once. What was handed out is behind it and the caller's own.
	room []Probe
}

// New makes an engine that knows of no link yet. The configuration must be valid.
func New(cfg Config) *Engine {
	e := &Engine{wake: forever, opened: never, handAt: never}
	e.configure(cfg)
	return e
}

// Step tells the engine what happened at an instant, and returns what is to be
// done. An instant before the last step's is taken as the last step's.
func (e *Engine) Step(at Instant, ev Event) Output {
	e.begin(at)
	e.handle(ev)
	e.settle()
	e.choose()
	return e.end(e.send())
}

func (e *Engine) begin(at Instant) {
	e.out = Output{}
	e.seq++
	at = min(max(at, e.now, 0), lastInstant)
	if e.opened == never {
		e.opened = at
	} else {
		e.notePause(at)
	}
	e.now = at
}

func (e *Engine) handle(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Configure:
		e.configure(ev.Config)
	case Adopt:
		e.adopt(ev)
	case LinkChanged:
		e.linkChanged(ev)
	case ProbeSent:
		e.probeSent(ev.ID)
	case ProbeAnswered:
		e.probeAnswered(ev)
	case ProbeNotSent:
		e.probeNotSent(ev)
	case Traffic:
		e.traffic(ev)
	case NeighborFailed:
		e.neighborFailed(ev)
	case Applied:
		// The kernel's word is for the caller to report and to repair.
	case Operator:
		e.operator(ev)
	default:
		panic(fmt.Sprintf("failover: unknown event %T", ev))
	}
}

// settle lets time pass for each path on which something is due, and draws the
// conclusions. A verdict may touch other paths, hence the passes; four cover
// any chain, and what remained would be seen by the next step.
func (e *Engine) settle() {
	for range 4 {
		e.settling = false
		for _, p := range e.paths {
			if p.touched || p.due <= e.now {
				p.touched = true
				e.expire(p)
				e.judge(p)
			}
		}
		if !e.settling {
			return
		}
	}
}

// end completes the output; due is when the first path is.
func (e *Engine) end(due Instant) Output {
	wake := min(e.now+idleWake, due)
	for _, pol := range e.policies {
		wake = min(wake, pol.due)
	}
	if !e.ready {
		wake = min(wake, e.opened+linksWithin)
	}
	wake = min(wake, e.handUntil)
	e.wake = max(wake, e.now+1)
	out := e.out
	out.Wake = e.wake
	if n := len(out.Probes); n > 0 {
		out.Probes, e.room = out.Probes[:n:n], out.Probes[n:]
	}
	return out
}

func (e *Engine) record(r Record) {
	r.At = e.now
	e.out.Records = append(e.out.Records, r)
}

// find returns the uplink of a name, or nil. There are at most 63.
func (e *Engine) find(name string) *uplink {
	for _, u := range e.uplinks {
		if u.cfg.Name == name {
			return u
		}
	}
	return nil
}

// path returns an uplink's path in a family; nil when there is no such thing.
func (e *Engine) path(name string, f Family) *path {
	if u := e.find(name); u != nil && f <= IPv6 {
		return &u.paths[f]
	}
	return nil
}
