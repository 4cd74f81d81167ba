package simulator

import (
	"errors"
	"fmt"
	"time"

	"swerve/failover"
)

// World is an engine, the network around it, and virtual time.
type World struct {
	network
	script  Script
	opts    Options
	eng     *failover.Engine
	wake    failover.Instant
	planned int // the script's lines that are played
	queue   queue
	// sendings are those that the engine asked for and was not told of yet.
	sendings []failover.Probe
	watch    watch
	truth    truth
	stats    Stats
	err      error
}

// Options say how closely a run is watched.
type Options struct {
	// CheckEach is how many steps that decide nothing pass between two calls of
	// Engine.Check, the dearest part of the watch; 0 and 1 call it at each. It is
	// always called after a step that changes a verdict or the intent; the coming
	// and going of a mere suspicion is no decision.
	CheckEach int
	// Lean leaves out the report of a sending whose answer is sure to come
	// before any deadline: the engine takes the answer for it. That saves a
	// third of the steps and changes no record, which a test holds.
	Lean bool
	// Witness is called after each step, where it is set.
	Witness func(failover.Instant, failover.Event, failover.Output)
	// forbid is a state that a test takes for a broken rule; Unknown for none.
	forbid failover.State
}

// surely is the age under which no answer can be late: the engine's least deadline.
const surely = 40 * time.Millisecond

// Failure is a rule that did not hold, with the script that leads there.
type Failure struct {
	At     failover.Instant
	Broken error
	Script Script
}

// Error tells what broke, and prints the script that reproduces it.
func (f *Failure) Error() string {
	return fmt.Sprintf("simulator: seed %d at %v: %v\n%s", f.Script.Seed, f.At, f.Broken, f.Script)
}

// Unwrap returns the broken rule.
func (f *Failure) Unwrap() error { return f.Broken }

// Play plays a script to its end, or until a rule is broken, which gives a
// *Failure. Any other error is a mistake in the script.
func Play(s Script, o Options) (Stats, error) {
	w, err := newWorld(s, o)
	if err != nil {
		return Stats{}, err
	}
	w.run(s.End)
	w.stats.Length = w.now
	if broken := new(brokenRule); errors.As(w.err, broken) {
		return w.stats, &Failure{At: w.now, Broken: w.err, Script: s.until(w.now)}
	}
	return w.stats, w.err
}

// Playing returns a function that plays scripts with some options, for [Shrink].
func Playing(o Options) func(Script) error {
	return func(s Script) error {
		_, err := Play(s, o)
		return err
	}
}

func newWorld(s Script, o Options) (*World, error) {
	w := &World{script: s, opts: o, wake: forever}
	n, err := newNetwork(s, w.tellLater)
	if err != nil {
		return nil, err
	}
	w.network, w.eng = n, failover.New(n.cfg)
	w.watch.begin(w)
	w.truth.begin(w)
	for i := range w.lines {
		w.tellLater(i, 0)
	}
	return w, nil
}

// run lets time pass until an instant. What was seen is told before the time is,
// as the daemon does it.
func (w *World) run(until failover.Instant) {
	for w.err == nil {
		line := w.nextLine()
		next := min(w.wake, w.queue.next(), line)
		if next > until {
			w.now = max(w.now, until)
			return
		}
		w.now = max(w.now, next, w.paused)
		switch {
		case line <= w.now:
			w.planned++
			w.fail(w.befall(w.script.Lines[w.planned-1].Text))
		case w.queue.next() <= w.now:
			w.happen(w.queue.pop())
		case w.wake <= w.now:
			w.step(failover.Tick{})
		}
	}
}

// befall does to the network what a script's line says.
func (w *World) befall(text string) error {
	if err := w.apply(text); err != nil {
		return err
	}
	w.truth.faultPlayed()
	return nil
}

// nextLine is when the script goes on.
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
	switch o.kind {
	case answers:
		if w.lines[o.line].alive(o.family) {
			w.step(failover.ProbeAnswered{ID: o.id, RTT: o.at - o.sent})
		}
	case tellsLink:
		w.tellLink(o.line)
	case reviews:
		w.fail(w.truth.review(o.line, o.family))
	}
}

// step hands the engine an event, and does what it asks for.
func (w *World) step(ev failover.Event) {
	w.one(ev)
	for i := 0; i < len(w.sendings) && w.err == nil; i++ {
		w.send(w.sendings[i]) // its step may append more
	}
	w.sendings = w.sendings[:0]
}

func (w *World) one(ev failover.Event) {
	out := w.eng.Step(w.now, ev)
	w.wake = out.Wake
	w.stats.Steps++
	w.sendings = append(w.sendings, out.Probes...)
	for _, name := range out.Reread {
		w.tellLater(w.lineOf(name), 0)
	}
	if w.opts.Witness != nil {
		w.opts.Witness(w.now, ev, out)
	}
	w.fail(w.watch.step(&out))
}

// send puts a probe on its wire.
func (w *World) send(p failover.Probe) {
	i := w.lineOf(p.Uplink)
	l := w.lines[i]
	w.stats.Probes++
	if l.wires[p.Family].noSend {
		w.one(failover.ProbeNotSent{ID: p.ID, Cause: "no buffer space available"})
		return
	}
	at, ok := l.answer(p.Family, w.targetOf(i, p.Family, p.Target), w.now)
	if !ok || !w.opts.Lean || at-w.now >= surely || at >= w.nextLine() {
		w.one(failover.ProbeSent{ID: p.ID})
	}
	if ok {
		w.queue.push(occurrence{at: at, kind: answers, line: i, family: p.Family, id: p.ID, sent: w.now})
	}
}

// tellLater has a link reported after a time.
func (w *World) tellLater(i int, after time.Duration) {
	w.queue.push(occurrence{at: w.now + after, kind: tellsLink, line: i})
}

// tellLink reports a link as it is now.
func (w *World) tellLink(i int) {
	l := w.lines[i]
	w.watch.told[i] = l.link
	w.step(failover.LinkChanged{Uplink: l.name, Link: l.link})
}
