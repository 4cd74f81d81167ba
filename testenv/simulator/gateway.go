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
	"time"

	"golang.org/x/sync/errgroup"

	"swerve/daemon"
	"swerve/failover"
	"swerve/linkmon"
	"swerve/testenv/fake"
)

// gateway is the daemon's own loop on a fake kernel, in the network of a
// script. One goroutine, the player's, lets everything outside the daemon happen.
type gateway struct {
	script Script
	clock  func() failover.Instant
	kernel *fake.Kernel
	watch  *kernelWatch
	// woken has a token when something is to happen that was not planned before.
	woken, ready, repair chan struct{}
	planned              int // the script's lines that are played
	on                   []bool

	// mu guards what follows: the loop sends probes and takes what was seen.
	mu sync.Mutex
	network
	queue queue
	box   []linkmon.Observation
	told  map[string]failover.Link
}

// PlayGateway plays a script to the daemon's loop, in a folder of its own, and holds
// what the kernel has after each change against the rules. It is to be called in
// the bubble of a synctest; settle waits until all others there wait. The error
// has a *Failure where a rule does not hold.
func PlayGateway(s Script, folder string, settle func()) (GatewayStats, error) {
	g, err := newGateway(s)
	if err != nil {
		return GatewayStats{}, err
	}
	file := filepath.Join(folder, "swerve.yaml")
	text := fmt.Sprintf("state: %s\n%s", filepath.Join(folder, "state"), s.Config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return GatewayStats{}, err
	}
	var work errgroup.Group
	ctx, stop := context.WithCancel(context.Background())
	work.Go(func() error {
		return daemon.Work(ctx, daemon.Options{Config: file, Log: slog.New(slog.DiscardHandler)}, g.machine)
	})
	settle()
	err = g.play(settle)
	stop()
	err = errors.Join(err, work.Wait())
	g.watch.stats.Length = g.now
	return g.watch.stats, err
}

func newGateway(s Script) (*gateway, error) {
	g := &gateway{
		script: s, clock: func() failover.Instant { return 0 }, told: map[string]failover.Link{},
		woken: make(chan struct{}, 1), ready: make(chan struct{}, 1), repair: make(chan struct{}, 1),
	}
	n, err := newNetwork(s, g.tellLater)
	if err != nil {
		return nil, err
	}
	g.network = n
	g.kernel = fake.NewKernel(g.kernelChanged)
	g.watch = newKernelWatch(&g.network, g.kernel.Routes)
	for i := range g.lines {
		g.on = append(g.on, true)
		g.kernel.Routes.On[deviceOf(i)] = true
	}
	return g, nil
}

// deviceOf is the number of an uplink's device, as plainLink has it.
func deviceOf(i int) int { return i + 1 }

func (g *gateway) machine(clock func() failover.Instant) daemon.Machine {
	g.clock = clock
	return daemon.Machine{
		Network: g, Routes: g.kernel.Routes, Packets: g.kernel.Packets, Sysctls: g.kernel.Sysctls, Flows: g.kernel.Flows,
		HasIPv6:       func() bool { return true },
		Bytes:         func(int) (rx, tx uint64, err error) { return 0, 0, nil },
		NewFlows:      func() (map[failover.Lane]uint64, error) { return nil, nil },
		FilterChanged: g.kernel.Packets.Changed, Events: g.watch,
	}
}

func (g *gateway) kernelChanged() {
	fake.Poke(g.repair)
	g.watch.changed(g.clock())
}

// play lets the script happen. After each thing that does, and each time that the
// loop was at work, the kernel is looked at.
func (g *gateway) play(settle func()) error {
	for {
		ended, err := g.happenAll()
		settle()
		if err := g.look(); err != nil {
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

// look holds the kernel against the rules while the loop waits.
func (g *gateway) look() error {
	at := g.clock()
	if len(fake.With(g.kernel.Journal.Take(), "nft")) > 0 {
		held, err := g.kernel.Packets.Observe(failover.DefaultLayout)
		if err != nil {
			return err
		}
		g.watch.released(held.Lost)
	}
	if broken := g.watch.settled(at); broken != nil {
		return &Failure{At: at, Broken: broken, Script: g.script.until(at)}
	}
	return nil
}

// next is when the next thing happens, the end of the script at last.
func (g *gateway) next() failover.Instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := min(g.queue.next(), g.script.End)
	if g.planned < len(g.script.Lines) {
		next = min(next, g.script.Lines[g.planned].At)
	}
	return next
}

// happenAll lets everything happen that is due, and reports whether that was all.
func (g *gateway) happenAll() (ended bool, err error) {
	g.mu.Lock()
	g.now = g.clock()
	for ; err == nil && g.planned < len(g.script.Lines) && g.script.Lines[g.planned].At <= g.now; g.planned++ {
		err = g.apply(g.script.Lines[g.planned].Text)
		g.watch.noteTruth(&g.network)
	}
	for g.queue.next() <= g.now {
		g.happen(g.queue.pop())
	}
	ended = g.now >= g.script.End
	g.mu.Unlock()
	g.switchDevices()
	return ended, err
}

// switchDevices makes the kernel's devices what the lines are.
func (g *gateway) switchDevices() {
	for i, l := range g.lines {
		if on := l.link.Present && l.link.AdminUp; on != g.on[i] {
			g.on[i] = on
			g.watch.device(i, on, g.clock())
		}
	}
}

func (g *gateway) happen(o occurrence) {
	l := g.lines[o.line]
	switch o.kind {
	case answers:
		if l.alive(o.family) {
			g.put(failover.ProbeAnswered{ID: o.id, RTT: o.at - o.sent})
		}
	case tellsLink:
		if before, ok := g.told[l.name]; !ok || !before.Equal(l.link) {
			g.told[l.name] = l.link
			g.put(failover.LinkChanged{Uplink: l.name, Link: l.link})
		}
	case reviews: // the watch on the kernel looks by itself
	}
}

// put leaves something for the loop to see.
func (g *gateway) put(e failover.Event) {
	g.box = append(g.box, linkmon.Observation{At: g.clock(), Event: e})
	fake.Poke(g.ready)
}

func (g *gateway) tellLater(i int, after time.Duration) {
	g.plan(occurrence{at: g.now + after, kind: tellsLink, line: i})
}

func (g *gateway) plan(o occurrence) {
	g.queue.push(o)
	fake.Poke(g.woken)
}

// Ready implements daemon.Network, as the methods below.
func (g *gateway) Ready() <-chan struct{} { return g.ready }

// Repair has a token after each change of the kernel's routes.
func (g *gateway) Repair() <-chan struct{} { return g.repair }

// DefaultsChanged never has a token: nobody else has default routes here.
func (g *gateway) DefaultsChanged() <-chan struct{} { return nil }

// Defaults are those of others: none.
func (g *gateway) Defaults() []linkmon.Default { return nil }

// OwnChanged never has a token: this machine's addresses are no targets here.
func (g *gateway) OwnChanged() <-chan struct{} { return nil }

// Own are this machine's addresses: none that matter.
func (g *gateway) Own() []netip.Addr { return nil }

// Take returns what was seen. Where the script has this machine pause, the loop
// stands still here.
func (g *gateway) Take() []linkmon.Observation {
	g.mu.Lock()
	paused := g.paused
	g.mu.Unlock()
	time.Sleep(paused - g.clock())
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.box
	g.box = nil
	for _, o := range all {
		if e, ok := o.Event.(failover.LinkChanged); ok {
			g.watch.link(g.lineOf(e.Uplink), e.Link)
		}
	}
	return all
}

// SetUplinks tells the links of all; they do not change in a life.
func (g *gateway) SetUplinks(uplinks []linkmon.Uplink) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.clock()
	for _, u := range uplinks {
		g.tellLater(g.lineOf(u.Name), 0)
	}
}

// Reread tells a link if it has changed.
func (g *gateway) Reread(uplink string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.clock()
	g.tellLater(g.lineOf(uplink), 0)
}

// Send puts a probe on its wire.
func (g *gateway) Send(p failover.Probe, _ linkmon.Path) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, now := g.lineOf(p.Uplink), g.clock()
	l := g.lines[i]
	if l.wires[p.Family].noSend || !l.link.Routable(p.Family) {
		g.put(failover.ProbeNotSent{ID: p.ID, Cause: "no buffer space available"})
		return
	}
	g.put(failover.ProbeSent{ID: p.ID})
	if at, ok := l.answer(p.Family, g.targetOf(i, p.Family, p.Target), now); ok {
		g.plan(occurrence{at: at, kind: answers, line: i, family: p.Family, id: p.ID, sent: now})
	}
}
