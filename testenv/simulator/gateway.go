package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"swerve/daemon"
	"swerve/failover"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/testenv/fake"
)

// gateway is the daemon's own loop on a fake kernel, in the network of a script.
// One goroutine, the player's, makes everything outside the daemon happen.
type gateway struct {
	script Script
	begun  time.Time
	folder string // of the configuration file and the state
	kernel *fake.Kernel
	watch  *kernelWatch
	// woken has a token when something unplanned is due.
	woken, ready, repair chan struct{}
	hangup               chan os.Signal
	planned              int // the script's lines played so far

	// work is the running daemon; nil while there is none. stop ends it, daemon is
	// its clock.
	work   *errgroup.Group
	stop   context.CancelFunc
	daemon func() failover.Instant

	// mu guards the fields below: the loop sends probes and takes observations.
	mu sync.Mutex
	network
	queue    queue
	box      []linkmon.Observation
	reported map[string]failover.Link
	// turn counts the daemons: an answer to a probe of an earlier one is discarded.
	// restarting: the daemon was asked to end, or killed, and another one will start.
	turn       int
	restarting bool
}

// PlayGateway plays a script to the daemon's loop, with its files in a folder, and
// checks the rules against the kernel's state after each change. Call it in a synctest
// bubble; idle waits until all other goroutines there are blocked. The error has a
// *Failure where a rule is broken.
func PlayGateway(s Script, folder string, idle func()) (GatewayStats, error) {
	g, err := newGateway(s, folder)
	if err != nil {
		return GatewayStats{}, err
	}
	if err := g.write(s.Config); err != nil {
		return GatewayStats{}, err
	}
	g.start()
	idle()
	err = errors.Join(g.play(idle), g.end())
	g.watch.stats.Length = g.now
	return g.watch.stats, err
}

func newGateway(s Script, folder string) (*gateway, error) {
	cfg, err := s.Engine()
	if err != nil {
		return nil, err
	}
	g := &gateway{
		script: s, folder: folder, begun: time.Now(), reported: map[string]failover.Link{}, hangup: make(chan os.Signal, 1),
		woken: make(chan struct{}, 1), ready: make(chan struct{}, 1), repair: make(chan struct{}, 1),
	}
	g.network = newNetwork(cfg, s.Seed, func(o occurrence) {
		g.queue.push(o)
		fake.Poke(g.woken)
	})
	g.base = s.Config
	g.kernel = fake.NewKernel(func() {
		fake.Poke(g.repair)
		g.watch.changed()
	})
	g.watch = newKernelWatch(&g.network, g.kernel.Routes, g.clock, func() { fake.Poke(g.woken) })
	for i := range g.lines {
		g.kernel.Routes.On[deviceOf(i)] = true
	}
	return g, nil
}

// clock is the script's clock: unlike a daemon's it continues over restarts.
func (g *gateway) clock() failover.Instant { return time.Since(g.begun) }

// deviceOf is the index of an uplink's device, as in PlainLink.
func deviceOf(i int) int { return i + 1 }

func (g *gateway) file() string { return filepath.Join(g.folder, "swerve.yaml") }

// write writes the configuration file.
func (g *gateway) write(text string) error {
	text, err := Overlaid(text, fmt.Sprintf("{state: %q}", filepath.Join(g.folder, "state")))
	if err != nil {
		return err
	}
	return os.WriteFile(g.file(), []byte(text), 0o600)
}

// start runs a daemon.
func (g *gateway) start() {
	var ctx context.Context
	ctx, g.stop = context.WithCancel(context.Background())
	g.work = new(errgroup.Group)
	g.work.Go(func() error {
		o := daemon.Options{Config: g.file(), Hangup: g.hangup, Log: slog.New(slog.DiscardHandler)}
		return daemon.Work(ctx, o, g.machine)
	})
}

// end ends the daemon, if one runs, and waits for it.
func (g *gateway) end() error {
	if g.work == nil {
		return nil
	}
	g.stop()
	err := g.work.Wait()
	g.work = nil
	return err
}

func (g *gateway) machine(clock func() failover.Instant) daemon.Machine {
	g.daemon = clock
	return daemon.Machine{
		Network: g, Routes: g.kernel.Routes, Packets: g.kernel.Packets, Sysctls: g.kernel.Sysctls, Flows: g.kernel.Flows, Walks: g.kernel.Flows,
		HasIPv6:       func() bool { return true },
		Bytes:         func(int) (rx, tx uint64, err error) { return 0, 0, nil },
		NewFlows:      func() (map[lane.Lane]uint64, error) { return nil, nil },
		FilterChanged: g.kernel.Packets.Changed, Events: g.watch,
	}
}

// play runs the script. The kernel is examined after each thing that happens, and
// each time that the loop has worked.
func (g *gateway) play(idle func()) error {
	for {
		ended, err := g.happenAll(idle)
		idle()
		if err := g.examine(); err != nil {
			return err
		}
		if ended || err != nil {
			return err
		}
		select {
		case <-time.After(g.next() - g.clock()):
		case <-g.woken:
		}
	}
}

// examine checks the kernel against the rules while the loop waits.
func (g *gateway) examine() error {
	if len(fake.With(g.kernel.Journal.Take(), "nft")) > 0 {
		held, err := g.kernel.Packets.Observe(lane.DefaultLayout)
		if err != nil {
			return err
		}
		g.watch.release(held.Lost)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.clock()
	if broken := g.watch.atRest(&g.network); broken != nil {
		return &Failure{At: g.now, Broken: broken, Script: g.script.until(g.now)}
	}
	return nil
}

// next is when the next thing happens; the end of the script is the last.
func (g *gateway) next() failover.Instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := min(g.queue.next(), g.script.End)
	if g.planned < len(g.script.Lines) {
		next = min(next, g.script.Lines[g.planned].At)
	}
	return next
}

// happenAll runs everything that is due, and reports whether the script has ended.
func (g *gateway) happenAll(idle func()) (ended bool, err error) {
	now := g.clock()
	for ; err == nil && g.planned < len(g.script.Lines) && g.script.Lines[g.planned].At <= now; g.planned++ {
		err = g.do(g.script.Lines[g.planned].Text, now)
	}
	for g.happenNext(now) {
		err = errors.Join(err, g.startAgain())
		idle()
	}
	for i, l := range g.lines {
		g.watch.switchDevice(i, l.link.Present && l.link.AdminUp)
	}
	return now >= g.script.End, err
}

// happenNext runs the next thing that is due, and reports whether it ended at a start.
func (g *gateway) happenNext(now failover.Instant) (starting bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = now
	for g.queue.next() <= now {
		o := g.queue.pop()
		if o.kind == starts {
			return true
		}
		g.happen(o)
	}
	return false
}

// do carries out a script's line.
func (g *gateway) do(text string, now failover.Instant) error {
	g.mu.Lock()
	g.now = now
	order, err := g.apply(text)
	if err != nil {
		g.mu.Unlock()
		return err
	}
	g.compare(func(int, failover.Family) {})
	g.watch.pause(g.paused)
	if ev, ok := order.(failover.Event); ok && !g.restarting {
		g.put(ev)
	}
	g.mu.Unlock()
	switch order := order.(type) {
	case restart:
		return g.restart(order)
	case reload:
		return g.reconfigure(order)
	}
	return nil
}

// reconfigure writes another configuration file and sends the signal to read it.
func (g *gateway) reconfigure(r reload) error {
	g.mu.Lock()
	g.configure(r.cfg)
	if !g.restarting {
		g.watch.configure(&g.network)
	}
	g.mu.Unlock()
	if err := g.write(r.text); err != nil {
		return err
	}
	if !g.restarting {
		select {
		case g.hangup <- syscall.SIGHUP:
		default: // the previous signal is still pending
		}
	}
	return nil
}

// restart stops the daemon, or kills it: then the kernel accepts a few more changes
// from it, and none after that.
func (g *gateway) restart(r restart) error {
	if g.restarting {
		return nil
	}
	g.restarting = true
	g.mu.Lock()
	g.queue.push(occurrence{at: g.now + r.after, kind: starts})
	g.mu.Unlock()
	g.watch.stop()
	if r.kill < 0 {
		return g.end()
	}
	j := g.kernel.Journal
	j.Lock()
	j.Dead, j.DeadAfter = true, r.kill
	j.Unlock()
	return nil
}

// startAgain starts another daemon on the same kernel.
func (g *gateway) startAgain() error {
	if err := g.end(); err != nil {
		return err
	}
	g.kernel.Journal.Lock()
	g.kernel.Journal.Dead = false
	g.kernel.Journal.Unlock()
	if held, err := g.kernel.Packets.Observe(lane.DefaultLayout); err == nil {
		g.watch.release(held.Lost)
	}
	g.mu.Lock()
	g.box, g.restarting = nil, false
	g.turn++
	clear(g.reported)
	g.now = g.clock()
	g.watch.start(&g.network)
	g.mu.Unlock()
	g.start()
	return nil
}

func (g *gateway) happen(o occurrence) {
	l := g.lines[o.line]
	switch o.kind {
	case answers:
		if o.turn == g.turn && l.arrives(o.family, g.now) {
			g.put(failover.ProbeAnswered{ID: o.id, RTT: o.at - o.sent})
		}
	case reportsLink:
		if before, ok := g.reported[l.name]; !ok || !before.Equal(l.link) {
			g.reported[l.name] = l.link
			g.put(failover.LinkChanged{Uplink: l.name, Link: l.link})
		}
	case hints:
		if ev, ok := g.hint(o); ok {
			g.put(ev)
		}
	case starts, reviews: // handled by the player, not by the kernel's watch
	}
}

// put queues an event for the loop, in the time of its clock.
func (g *gateway) put(e failover.Event) {
	now := g.daemon()
	shift := now - g.clock()
	switch ev := e.(type) {
	case failover.Operator:
		if ev.Until != 0 {
			ev.Until += shift
		}
		e = ev
	case failover.Traffic:
		ev.Received, ev.Heard, ev.Unanswered = shifted(ev.Received, shift), shifted(ev.Heard, shift), shifted(ev.Unanswered, shift)
		e = ev
	}
	g.box = append(g.box, linkmon.Observation{At: now, Event: e})
	fake.Poke(g.ready)
}

// shifted converts an instant to another clock; negative for none.
func shifted(at, by failover.Instant) failover.Instant {
	if at < 0 {
		return -1
	}
	return at + by
}

// Ready implements daemon.Network, as do the methods below.
func (g *gateway) Ready() <-chan struct{} { return g.ready }

// Repair has a token after each change of the kernel's routes.
func (g *gateway) Repair() <-chan struct{} { return g.repair }

// DefaultsChanged never has a token: there are no foreign default routes here.
func (g *gateway) DefaultsChanged() <-chan struct{} { return nil }

// Defaults returns the foreign default routes: none.
func (g *gateway) Defaults() []linkmon.Default { return nil }

// OwnChanged never has a token: no address of this machine is a target here.
func (g *gateway) OwnChanged() <-chan struct{} { return nil }

// Own returns this machine's addresses: none that matter.
func (g *gateway) Own() []netip.Addr { return nil }

// LAN is empty: no prefix of a LAN is played.
func (g *gateway) LAN() linkmon.LAN { return linkmon.LAN{} }

// Prove proves nothing.
func (g *gateway) Prove(linkmon.Proof, func(sent, answered bool)) bool { return false }

// Take returns the pending observations. Where the script pauses this machine, the
// loop blocks here.
func (g *gateway) Take() []linkmon.Observation {
	g.mu.Lock()
	paused := g.paused
	g.mu.Unlock()
	time.Sleep(paused - g.clock())
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.box
	g.box = nil
	shift := g.clock() - g.daemon()
	for _, o := range all {
		switch ev := o.Event.(type) {
		case failover.Operator:
			if ev.Until != 0 {
				ev.Until += shift
			}
			g.watch.handed(ev)
		case failover.Traffic:
			ev.Received = shifted(ev.Received, shift)
			g.watch.handed(ev)
		case failover.LinkChanged:
			g.watch.handed(ev)
		}
	}
	return all
}

// SetUplinks reports the links of all uplinks.
func (g *gateway) SetUplinks(uplinks []linkmon.Uplink) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.clock()
	before := g.reported
	g.reported = map[string]failover.Link{}
	for _, u := range uplinks {
		if link, ok := before[u.Name]; ok {
			g.reported[u.Name] = link
		}
		g.reportLater(g.lineOf(u.Name), 0)
	}
}

// Reread reports a link if it has changed.
func (g *gateway) Reread(uplink string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.clock()
	g.reportLater(g.lineOf(uplink), 0)
}

// Send puts a probe on its wire.
func (g *gateway) Send(p failover.Probe, _ linkmon.Path) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, now := g.lineOf(p.Uplink), g.clock()
	l := g.lines[i]
	ev, refused := l.refused(p)
	if !refused && !l.link.Routable(p.Family) {
		ev, refused = failover.ProbeNotSent{ID: p.ID, Cause: "send: network is unreachable", Errno: "ENETUNREACH"}, true
	}
	g.watch.probed(i, p.Family, refused)
	if refused {
		g.put(ev)
		return
	}
	g.put(failover.ProbeSent{ID: p.ID})
	if at, ok := l.answer(p.Family, p.Target, now); ok {
		g.plan(occurrence{at: at, kind: answers, line: i, family: p.Family, id: p.ID, sent: now, turn: g.turn})
	}
}
