package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"swerve/failover"
)

// World is an engine, the network around it, and virtual time.
type World struct {
	network
	// Engine is the one that decides; nil during a restart.
	Engine *failover.Engine
	script Script
	opts   Options
	wake   failover.Instant
	// turn counts the engines: an answer to a probe of an earlier one is discarded.
	// adopted is what the next engine takes over.
	turn    int
	adopted failover.Adopt
	planned int // the script's lines played so far
	queue   queue
	// sendings are the probes that the engine requested and that are not reported yet.
	sendings []failover.Probe
	watch    watch
	stats    Stats
	err      error
}

// Options select how closely a run is checked.
type Options struct {
	// CheckEach is how many steps without a decision pass between two calls of
	// Engine.Check, the most expensive part of the watch; 0 and 1 call it at each. It
	// is always called after a step that changes a verdict or the intent; the start
	// and end of a mere suspicion is no decision.
	CheckEach int
	// Lean omits the report of a sending whose answer is certain to arrive before
	// any deadline: the engine takes the answer as the report. That saves a third of
	// the steps and changes no record, which a test checks.
	Lean bool
	// Witness, if not nil, is called after each step. An engine that follows another
	// one starts with [failover.Adopt].
	Witness func(*failover.Engine, failover.Instant, failover.Event, failover.Output)
	// forbid is a state that a test declares a broken rule; Unknown for none.
	forbid failover.State
}

// surely is the age below which no answer can be late: the engine's least deadline.
const surely = 40 * time.Millisecond

// Failure is a rule that did not hold, with the script that leads there.
type Failure struct {
	At     failover.Instant
	Broken error
	Script Script
}

// Error returns what broke, and the script that reproduces it.
func (f *Failure) Error() string {
	return fmt.Sprintf("simulator: seed %d at %v: %v\n%s", f.Script.Seed, f.At, f.Broken, f.Script)
}

// Unwrap returns the broken rule.
func (f *Failure) Unwrap() error { return f.Broken }

// Play plays a script to its end, or until a rule is broken, which gives a
// *Failure. Any other error is a mistake in the script.
func Play(s Script, o Options) (Stats, error) {
	w, err := Open(s, o)
	if err != nil {
		return Stats{}, err
	}
	return w.Play()
}

// Play lets a script that was opened by [Open] run to its end, as the function does.
func (w *World) Play() (Stats, error) {
	err := w.Run(w.script.End)
	w.stats.Length = w.now
	if broken := new(brokenRule); errors.As(err, broken) {
		return w.stats, &Failure{At: w.now, Broken: err, Script: w.script.until(w.now)}
	}
	return w.stats, err
}

// Playing returns a function that plays scripts with some options, for [Shrink].
func Playing(o Options) func(Script) error {
	return func(s Script) error {
		_, err := Play(s, o)
		return err
	}
}

// Open makes the world of a script; the reports of all links are pending.
func Open(s Script, o Options) (*World, error) {
	cfg, err := s.Engine()
	if err != nil {
		return nil, err
	}
	w := NewWorld(cfg, s.Seed, o)
	w.script, w.base = s, s.Config
	for i := range w.lines {
		w.reportLater(i, 0)
	}
	return w, nil
}

// NewWorld makes a world without faults in which no link is reported yet. It is for
// tests that proceed step by step; [Play] plays a script.
func NewWorld(cfg failover.Config, seed uint64, o Options) *World {
	w := &World{opts: o, wake: forever, Engine: failover.New(cfg)}
	w.network = newNetwork(cfg, seed, w.queue.push)
	w.watch.begin(w)
	return w
}

// Now is the present instant.
func (w *World) Now() failover.Instant { return w.now }

// Works reports whether flows by an uplink get anything back now, which no decision can
// know; a loss that sessions live with does not count.
func (w *World) Works(uplink string, f failover.Family) bool {
	l := w.lines[w.lineOf(uplink)]
	return l.passes(f, w.now) && l.wires[f].loss <= fineLoss
}

// Link is an uplink's link as it is now.
func (w *World) Link(uplink string) failover.Link {
	l := w.lines[w.lineOf(uplink)].link
	for f := range l.Family {
		l.Family[f].Addresses = slices.Clone(l.Family[f].Addresses)
	}
	return l
}

// Stats returns what was counted so far.
func (w *World) Stats() Stats { return w.stats }

// Pending is the instant at which the engine wants a step, if nothing happens before.
func (w *World) Pending() failover.Instant { return w.wake }

// Run lets time pass until an instant, or until a rule is broken, which the error
// reports. Observations are handed over before ticks, as the daemon does it.
func (w *World) Run(until failover.Instant) error {
	for w.err == nil {
		line := w.nextLine()
		next := min(w.wake, w.queue.next(), line)
		if next > until {
			w.now = max(w.now, until)
			break
		}
		w.now = max(w.now, next, w.paused)
		switch {
		case line <= w.now:
			w.planned++
			w.fail(w.Do(w.script.Lines[w.planned-1].Text))
		case w.queue.next() <= w.now:
			w.happen(w.queue.pop())
		case w.wake <= w.now:
			w.step(failover.Tick{})
		}
	}
	return w.err
}

// Do applies a script's line now. The error of a broken rule is kept for [World.Run].
func (w *World) Do(line string) error {
	order, err := w.apply(line)
	if err != nil {
		return err
	}
	w.compare(w.died)
	switch order := order.(type) {
	case restart:
		w.restart(order)
	case reload:
		before := w.uplinks
		w.configure(order.cfg)
		for i, u := range w.uplinks {
			if u != nil && before[i] == nil {
				w.reportLater(i, 0)
			}
		}
		if w.Engine != nil {
			w.step(failover.Configure{Config: order.cfg})
		}
	case failover.Event:
		if w.Engine != nil {
			w.step(order)
		}
	}
	return nil
}

// Step hands the engine an event now, and carries out what it requests. It returns
// the error of a broken rule.
func (w *World) Step(ev failover.Event) (failover.Output, error) {
	if c, ok := ev.(failover.Configure); ok {
		w.configure(c.Config)
	}
	return w.step(ev), w.err
}

// restart ends the engine. Another one starts after a time, with what the kernel
// would hold and what is remembered of the learnt patience and what uplinks owe.
func (w *World) restart(r restart) {
	if w.Engine == nil {
		return
	}
	a := failover.Adopt{
		Carrying: map[string][2][]string{}, Lost: map[string][2][]string{}, Patience: map[string][2]time.Duration{},
		Lapses:   map[string][2]time.Duration{},
		Silences: map[string][2][]failover.Hour{},
		Overflow: map[string][2][]string{},
		Departed: map[string][2][]failover.Departed{},
		Holds:    map[string][2]failover.Hold{},
	}
	if in := w.watch.intent; in != nil {
		for _, p := range in.Policies {
			var carrying, lost [2][]string
			for f, l := range p.Family {
				lost[f] = l.Lost
				if len(l.Rungs) > 0 {
					for _, s := range l.Rungs[0].Shares {
						carrying[f] = append(carrying[f], s.Uplink)
					}
				}
			}
			a.Carrying[p.Policy], a.Lost[p.Policy] = carrying, lost
		}
	}
	for _, p := range w.Engine.View().Policies {
		both, overflow := a.Carrying[p.Name], [2][]string{}
		for f := range p.Overflow {
			if len(p.Overflow[f]) > 0 {
				both[f], overflow[f] = namesOf(p.Family[f]), namesOf(p.Overflow[f])
			}
		}
		a.Carrying[p.Name], a.Overflow[p.Name] = both, overflow
		var departed [2][]failover.Departed
		for f, draining := range p.Draining {
			for _, d := range draining {
				departed[f] = append(departed[f], failover.Departed{Uplink: d.Uplink, Age: w.now + r.after - d.Since})
			}
		}
		a.Departed[p.Name] = departed
	}
	for _, u := range w.Engine.View().Uplinks {
		a.Patience[u.Name] = [2]time.Duration{u.Family[failover.IPv4].Raised, u.Family[failover.IPv6].Raised}
		a.Silences[u.Name] = [2][]failover.Hour{u.Family[failover.IPv4].Silences, u.Family[failover.IPv6].Silences}
		a.Lapses[u.Name] = [2]time.Duration{u.Family[failover.IPv4].Lapses, u.Family[failover.IPv6].Lapses}
		holds := [2]failover.Hold{u.Family[failover.IPv4].Hold, u.Family[failover.IPv6].Hold}
		for f := range holds {
			holds[f].Age += r.after
		}
		a.Holds[u.Name] = holds
	}
	w.Engine, w.wake, w.adopted = nil, forever, a
	w.turn++
	w.sendings = w.sendings[:0]
	w.queue.push(occurrence{at: w.now + r.after, kind: starts})
}

// namesOf lists the uplinks of some shares.
func namesOf(shares []failover.Share) (list []string) {
	for _, s := range shares {
		list = append(list, s.Uplink)
	}
	return list
}

// start starts another engine.
func (w *World) start() {
	w.stats.Restarts++
	w.Engine = failover.New(w.cfg)
	w.watch.restart()
	w.step(w.adopted)
	for i := range w.lines {
		w.reportLater(i, 0)
	}
}

// nextLine is the instant of the script's next line.
func (w *World) nextLine() failover.Instant {
	if w.planned == len(w.script.Lines) {
		return forever
	}
	return w.script.Lines[w.planned].At
}

func (w *World) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *World) happen(o occurrence) {
	switch {
	case o.kind == starts:
		w.start()
	case o.kind == hints:
		if ev, ok := w.hint(o); ok && w.Engine != nil {
			w.step(ev)
		}
	case o.kind == reviews:
		w.fail(w.review(o.line, o.family))
	case w.Engine == nil:
	case o.kind == answers:
		if o.turn == w.turn && w.lines[o.line].arrives(o.family, w.now) {
			w.step(failover.ProbeAnswered{ID: o.id, RTT: o.at - o.sent})
		}
	case o.kind == reportsLink:
		w.step(failover.LinkChanged{Uplink: w.lines[o.line].name, Link: w.lines[o.line].link})
	}
}

// step hands the engine an event, and carries out what it requests.
func (w *World) step(ev failover.Event) failover.Output {
	out := w.one(ev)
	for i := 0; i < len(w.sendings) && w.err == nil; i++ {
		w.send(w.sendings[i]) // its step may append more
	}
	w.sendings = w.sendings[:0]
	return out
}

func (w *World) one(ev failover.Event) failover.Output {
	w.watch.observe(ev)
	out := w.Engine.Step(w.now, ev)
	w.wake = out.Wake
	w.stats.Steps++
	w.sendings = append(w.sendings, out.Probes...)
	for _, name := range out.Reread {
		w.reportLater(w.lineOf(name), 0)
	}
	if w.opts.Witness != nil {
		w.opts.Witness(w.Engine, w.now, ev, out)
	}
	w.fail(w.watch.step(&out))
	return out
}

// send puts a probe on its wire.
func (w *World) send(p failover.Probe) {
	i := w.lineOf(p.Uplink)
	l := w.lines[i]
	w.stats.Probes++
	if ev, refused := l.refused(p); refused {
		w.watch.refused(i, p.Family, w.now)
		w.one(ev)
		return
	}
	w.watch.sent(i, p.Family)
	at, ok := l.answer(p.Family, p.Target, w.now)
	if !ok || !w.opts.Lean || at-w.now >= surely || at >= w.nextLine() {
		w.one(failover.ProbeSent{ID: p.ID})
	}
	if ok {
		w.queue.push(occurrence{at: at, kind: answers, line: i, family: p.Family, id: p.ID, sent: w.now, turn: w.turn})
	}
}

// died begins to time a silence, and schedules a check that it was acted on.
func (w *World) died(i int, f failover.Family) {
	l, r := w.lines[i], &w.truth.paths[i][f]
	carries := w.watch.ladders[0][f].first.has(i) && w.watch.class(i, f) == failover.Up
	r.timed = l.link.Carrier && l.link.Routable(f) && carries && w.otherFine(i, f)
	r.pending = r.timed
	w.queue.push(occurrence{at: w.now + leaveWithin, kind: reviews, line: i, family: f})
}

// otherFine reports whether another uplink of the default policy is fine and up in
// the engine's view.
func (w *World) otherFine(not int, f failover.Family) bool {
	for _, i := range w.watch.ladders[0][f].members {
		if i != not && w.fine(i, f, settled) && w.watch.class(i, f) == failover.Up {
			return true
		}
	}
	return false
}

// moved records that some uplinks have left a first rung.
func (w *World) moved(left mask, f failover.Family) {
	for i := range w.lines {
		if r := &w.truth.paths[i][f]; left.has(i) {
			if r.timed && !r.alive {
				w.stats.Leave.add(w.now - r.since)
			}
			r.timed = false
		}
	}
}

// lost records that an uplink's sessions are moved.
func (w *World) lost(i int, f failover.Family) {
	r := &w.truth.paths[i][f]
	if r.pending && !r.alive {
		w.stats.Release.add(w.now - r.since)
	}
	r.pending = false
	if w.fine(i, f, aftermath) {
		w.stats.WronglyLost++
	}
}

// review is due some time after a path has died: if it is still dead, and another
// was fine all the time, no policy's traffic may be on it.
func (w *World) review(i int, f failover.Family) error {
	if w.deadFor(i, f) < leaveWithin || w.now-w.watch.restarted < 2*leaveWithin || w.Engine == nil ||
		w.paused > w.now-2*leaveWithin && w.paused > 0 {
		return nil
	}
	for p := range w.watch.ladders {
		if err := w.watch.follows(p, f, &w.network); err != nil {
			return broken("policy %s %s: %w", w.policies[p], f, err)
		}
	}
	return nil
}
