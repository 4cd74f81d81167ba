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
	"swerve/lane"
	"swerve/linkmon"
	"swerve/testenv/fake"
)

// house is a gateway: the daemon's own loop on a fake kernel, in the network of a
// script. One goroutine, the player's, lets everything outside the daemon happen.
type house struct {
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

// PlayHouse plays a script to the daemon's loop, in a folder of its own, and holds
// what the kernel has after each change against the rules. It is to be called in
// the bubble of a synctest; settle waits until all others there wait. The error
// has a *Failure where a rule does not hold.
func PlayHouse(s Script, folder string, settle func()) (HouseStats, error) {
	h, err := newHouse(s)
	if err != nil {
		return HouseStats{}, err
	}
	file := filepath.Join(folder, "swerve.yaml")
	text := fmt.Sprintf("state: %s\n%s", filepath.Join(folder, "state"), s.Config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return HouseStats{}, err
	}
	var g errgroup.Group
	ctx, stop := context.WithCancel(context.Background())
	g.Go(func() error {
		return daemon.Work(ctx, daemon.Options{Config: file, Log: slog.New(slog.DiscardHandler)}, h.machine)
	})
	settle()
	err = h.play(settle)
	stop()
	err = errors.Join(err, g.Wait())
	h.watch.stats.Length = h.now
	return h.watch.stats, err
}

func newHouse(s Script) (*house, error) {
	h := &house{
		script: s, clock: func() failover.Instant { return 0 }, told: map[string]failover.Link{},
		woken: make(chan struct{}, 1), ready: make(chan struct{}, 1), repair: make(chan struct{}, 1),
	}
	n, err := newNetwork(s, h.tellLater)
	if err != nil {
		return nil, err
	}
	h.network = n
	h.kernel = fake.NewKernel(h.kernelChanged)
	h.watch = newKernelWatch(&h.network, h.kernel.Routes)
	for i := range h.lines {
		h.on = append(h.on, true)
		h.kernel.Routes.On[deviceOf(i)] = true
	}
	return h, nil
}

// deviceOf is the number of an uplink's device, as plainLink has it.
func deviceOf(i int) int { return i + 1 }

func (h *house) machine(clock func() failover.Instant) daemon.Machine {
	h.clock = clock
	return daemon.Machine{
		Network: h, Routes: h.kernel.Routes, Packets: h.kernel.Packets, Sysctls: h.kernel.Sysctls, Flows: h.kernel.Flows,
		HasIPv6:       func() bool { return true },
		Bytes:         func(int) (rx, tx uint64, err error) { return 0, 0, nil },
		NewFlows:      func() (map[lane.Lane]uint64, error) { return nil, nil },
		FilterChanged: h.kernel.Packets.Changed, Events: h.watch,
	}
}

func (h *house) kernelChanged() {
	fake.Poke(h.repair)
	h.watch.changed(h.clock())
}

// play lets the script happen. After each thing that does, and each time that the
// loop was at work, the kernel is looked at.
func (h *house) play(settle func()) error {
	for {
		ended, err := h.happenAll()
		settle()
		if err := h.look(); err != nil {
			return err
		}
		if ended || err != nil {
			return err
		}
		select {
		case <-time.After(h.next() - h.clock()):
		case <-h.woken:
		}
	}
}

// look holds the kernel against the rules while the loop waits.
func (h *house) look() error {
	at := h.clock()
	if len(fake.With(h.kernel.Journal.Take(), "nft")) > 0 {
		held, err := h.kernel.Packets.Observe(lane.DefaultLayout)
		if err != nil {
			return err
		}
		h.watch.released(held.Lost)
	}
	if broken := h.watch.settled(at); broken != nil {
		return &Failure{At: at, Broken: broken, Script: h.script.until(at)}
	}
	return nil
}

// next is when the next thing happens, the end of the script at last.
func (h *house) next() failover.Instant {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := min(h.queue.next(), h.script.End)
	if h.planned < len(h.script.Lines) {
		next = min(next, h.script.Lines[h.planned].At)
	}
	return next
}

// happenAll lets everything happen that is due, and reports whether that was all.
func (h *house) happenAll() (ended bool, err error) {
	h.mu.Lock()
	h.now = h.clock()
	for ; err == nil && h.planned < len(h.script.Lines) && h.script.Lines[h.planned].At <= h.now; h.planned++ {
		err = h.apply(h.script.Lines[h.planned].Text)
		h.watch.noteTruth(&h.network)
	}
	for h.queue.next() <= h.now {
		h.happen(h.queue.pop())
	}
	ended = h.now >= h.script.End
	h.mu.Unlock()
	h.switchDevices()
	return ended, err
}

// switchDevices makes the kernel's devices what the lines are.
func (h *house) switchDevices() {
	for i, l := range h.lines {
		if on := l.link.Present && l.link.AdminUp; on != h.on[i] {
			h.on[i] = on
			h.watch.device(i, on, h.clock())
		}
	}
}

func (h *house) happen(o occurrence) {
	l := h.lines[o.line]
	switch o.kind {
	case answers:
		if l.alive(o.family) {
			h.put(failover.ProbeAnswered{ID: o.id, RTT: o.at - o.sent})
		}
	case tellsLink:
		if before, ok := h.told[l.name]; !ok || !before.Equal(l.link) {
			h.told[l.name] = l.link
			h.put(failover.LinkChanged{Uplink: l.name, Link: l.link})
		}
	case reviews: // the watch on the kernel looks by itself
	}
}

// put leaves something for the loop to see.
func (h *house) put(e failover.Event) {
	h.box = append(h.box, linkmon.Observation{At: h.clock(), Event: e})
	fake.Poke(h.ready)
}

func (h *house) tellLater(i int, after time.Duration) {
	h.plan(occurrence{at: h.now + after, kind: tellsLink, line: i})
}

func (h *house) plan(o occurrence) {
	h.queue.push(o)
	fake.Poke(h.woken)
}

// Ready implements daemon.Network, as the methods below.
func (h *house) Ready() <-chan struct{} { return h.ready }

// Repair has a token after each change of the kernel's routes.
func (h *house) Repair() <-chan struct{} { return h.repair }

// DefaultsChanged never has a token: nobody else has default routes here.
func (h *house) DefaultsChanged() <-chan struct{} { return nil }

// Defaults are those of others: none.
func (h *house) Defaults() []linkmon.Default { return nil }

// OwnChanged never has a token: this machine's addresses are no targets here.
func (h *house) OwnChanged() <-chan struct{} { return nil }

// Own are this machine's addresses: none that matter.
func (h *house) Own() []netip.Addr { return nil }

// Take returns what was seen. Where the script has this machine pause, the loop
// stands still here.
func (h *house) Take() []linkmon.Observation {
	h.mu.Lock()
	paused := h.paused
	h.mu.Unlock()
	time.Sleep(paused - h.clock())
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.box
	h.box = nil
	for _, o := range all {
		if e, ok := o.Event.(failover.LinkChanged); ok {
			h.watch.link(h.lineOf(e.Uplink), e.Link)
		}
	}
	return all
}

// SetUplinks tells the links of all; they do not change in a life.
func (h *house) SetUplinks(uplinks []linkmon.Uplink) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.clock()
	for _, u := range uplinks {
		h.tellLater(h.lineOf(u.Name), 0)
	}
}

// Reread tells a link if it has changed.
func (h *house) Reread(uplink string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.clock()
	h.tellLater(h.lineOf(uplink), 0)
}

// Send puts a probe on its wire.
func (h *house) Send(p failover.Probe, _ linkmon.Path) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, now := h.lineOf(p.Uplink), h.clock()
	l := h.lines[i]
	if l.wires[p.Family].noSend || !l.link.Routable(p.Family) {
		h.put(failover.ProbeNotSent{ID: p.ID, Cause: "no buffer space available"})
		return
	}
	h.put(failover.ProbeSent{ID: p.ID})
	if at, ok := l.answer(p.Family, h.targetOf(i, p.Family, p.Target), now); ok {
		h.plan(occurrence{at: at, kind: answers, line: i, family: p.Family, id: p.ID, sent: now})
	}
}
