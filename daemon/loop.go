package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/linkmon"
)

// readyWithin bounds the wait for a first uplink before the daemon says that it
// is ready. One whose uplinks all come later is none the less at work.
const readyWithin = 3 * time.Second

// clock tells instants since the daemon's start, and their wall time. It is
// monotonic: a wall clock that is set does not disturb the engine, and instants
// of the past are told by the wall clock as it goes now.
type clock struct {
	start time.Time
	// today is the wall clock.
	today func() time.Time
	// epoch is the wall time of start, as it was told last.
	epoch time.Time
}

// clockSlack is how far the wall clock may drift before instants of the past are
// told by it anew: else they would waver by what lies between two readings.
const clockSlack = 10 * time.Millisecond

func (c *clock) now() failover.Instant { return time.Since(c.start) }

// wall is for the loop alone.
func (c *clock) wall(at failover.Instant) time.Time {
	if epoch := c.today().Round(0).Add(-c.now()); epoch.Sub(c.epoch).Abs() > clockSlack {
		c.epoch = epoch
	}
	return c.epoch.Add(at)
}

// loop owns the engine, the picture of the links and the kernel's goal. Its
// methods are for one goroutine, but for Status and Reload.
type loop struct {
	clock clock
	// software is this program's version, path its configuration file's.
	software, path string
	// load reads the configuration anew.
	load func() (*config.Config, []config.Problem)

	net    Network
	plant  *plant
	mover  *mover
	events Publisher
	log    *slog.Logger
	notify *notifier
	repair repairs
	// filterChanged yields a token when somebody else changed our nft table.
	filterChanged <-chan struct{}
	reloads       chan reloadRequest
	// reloading is held from the reading of a file until it is taken over, so that
	// the file read last is the one that holds.
	reloading sync.Mutex
	hangup    <-chan os.Signal

	// begun is the first configuration, some parts of which hold to the end.
	begun      *config.Config
	setup      setup
	defaults   []config.DefaultRoute
	store      *store
	engine     *failover.Engine
	picture    picture
	problems   problems
	traffic    *counters
	generation uint64

	// intent is the last one of the engine's; nil before the first.
	intent *failover.Intent
	// stale: the kernel may not be as the intent and the links ask.
	stale bool
	// refused: the last apply did not succeed.
	refused bool
	// released are, by family, the lost pairs whose sessions were moved.
	released [2][]firewall.Pair
	taken    taken
	// untold is what was decided in a step that is not over.
	untold []failover.Record
	// switches that wait for the kernel to be read back; told counts those that
	// were told, of which last is the newest.
	switches []failover.Record
	told     uint64
	last     *toldSwitch
	wake     failover.Instant
	// asked are the probes that the engine wants and that are not sent yet.
	asked []failover.Probe
	// announced: the daemon has told that it is ready.
	announced bool

	shared atomic.Pointer[control.Status]
}

// toldSwitch is a switch with the time that the kernel took for it; nil where it
// refused. Its own time is told anew each time: the wall clock may be set.
type toldSwitch struct {
	record failover.Record
	took   *time.Duration
}

// run works until ctx ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var watchdog <-chan time.Time
	if every := watchdogEvery(); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		watchdog = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.net.Ready():
		case <-timer.C:
		case <-l.net.Repair():
			l.repair.hint(l.clock.now())
		case <-l.filterChanged:
			l.repair.hint(l.clock.now())
		case <-l.net.DefaultsChanged():
			l.defaultsChanged()
		case <-l.net.OwnChanged():
			l.ownChanged()
		case r := <-l.reloads:
			err := l.reload(r)
			l.pass() // so that whoever gets the answer finds it in the status
			r.done <- err
		case <-watchdog:
			l.notify.alive()
		}
		l.pass()
		timer.Reset(max(0, l.nextWake()-l.clock.now()))
	}
}

// pass tells the engine all that was seen, then that time has passed, and does
// what it asks.
func (l *loop) pass() {
	for _, o := range l.net.Take() {
		l.observe(o)
	}
	if now := l.clock.now(); now >= l.wake {
		l.step(now, failover.Tick{})
	}
	if l.stale && l.intent != nil {
		l.applyIntent()
	}
	if now := l.clock.now(); l.repair.due(now) {
		l.mend(now)
	}
	l.sendProbes()
	view := l.engine.View()
	l.remember(view)
	l.share(view)
	l.announce(view)
}

// announce tells once that the daemon is ready: the kernel was brought to its
// goal, as far as it can be, or there is none yet because there is no uplink.
func (l *loop) announce(view failover.View) {
	if l.announced || !l.plant.standing && l.setup.hands() && l.clock.now() < readyWithin {
		return
	}
	l.announced = true
	l.notify.ready(summary(view))
	l.log.Info("started", "software", l.software, "config", l.path, "uplinks", len(l.setup.uplinks))
	l.events.Publish(control.Event{Type: control.EventDaemon, Detail: &control.Detail{
		Action: "started", Object: "daemon", Reason: summary(view), Generation: l.generation,
	}})
}

func (l *loop) nextWake() failover.Instant { return min(l.wake, l.repair.next()) }

func (l *loop) observe(o linkmon.Observation) {
	if event, ok := o.Event.(failover.LinkChanged); ok {
		l.picture.set(event.Uplink, event.Link)
		l.traffic.follow(l.picture.links, l.setup.lanes.Uplinks)
		l.stale = true
		l.taken = taken{} // what is missing may have gone with the link
		l.log.Debug("link", "uplink", event.Uplink, "interface", event.Link.Interface, "carrier", event.Link.Carrier,
			"up", event.Link.AdminUp, "ipv4", event.Link.Family[0].Gateway, "ipv6", event.Link.Family[1].Gateway)
	}
	l.step(o.At, o.Event)
}

// step hands the engine one event, and does what it decides. Its probes leave at
// the end of the pass.
func (l *loop) step(at failover.Instant, event failover.Event) {
	decided := l.clock.now()
	out := l.engine.Step(at, event)
	l.wake = out.Wake
	l.asked = append(l.asked, out.Probes...)
	for _, uplink := range out.Reread {
		l.net.Reread(uplink)
	}
	for _, record := range out.Records {
		l.untold = append(l.untold, decidedAt(record, decided))
	}
	if out.Intent != nil {
		l.take(*out.Intent)
	}
	l.report()
}

// sendProbes sends what the engine asked for in this pass, after the kernel was
// brought to its goal. Before the rules of an uplink stand nothing keeps its
// probes on it: for IPv6 a packet's device is a mere hint to the kernel, and they
// would leave by another uplink. So the first ones of all wait for the first apply.
func (l *loop) sendProbes() {
	if !l.plant.standing && l.setup.hands() {
		return
	}
	for _, probe := range l.asked {
		l.net.Send(probe, linkmon.Path{
			Link: l.picture.links[probe.Uplink], Mark: l.setup.mark(probe.Uplink),
			LostAfter: l.setup.probe(probe.Uplink).LostAfter,
		})
		l.traffic.probe(probe)
	}
	l.asked = l.asked[:0]
}

// decidedAt moves a record from the instant of its event, which the engine takes
// for the present, to that at which it was decided on: what lies between belongs to
// the evidence, and not to the switch.
func decidedAt(r failover.Record, at failover.Instant) failover.Record {
	late := max(0, at-r.At)
	r.At += late
	if h := r.Health; h != nil && h.Evidence >= 0 {
		r.Health = new(*h)
		r.Health.Evidence += late
	}
	if s := r.Switch; s != nil && s.Evidence >= 0 {
		r.Switch = new(*s)
		r.Switch.Evidence += late
	}
	return r
}

// report tells people what was decided, after the kernel was brought to it: whoever
// is slow to take a line of the log must not hold a switch up. A switch itself waits
// until the kernel was read.
func (l *loop) report() {
	for _, r := range l.untold {
		switch {
		case r.Health != nil:
			l.turned(r)
		case r.Switch != nil:
			l.switches = append(l.switches, r)
		}
	}
	l.untold = l.untold[:0]
}

// turned reports that an uplink is in another state.
func (l *loop) turned(r failover.Record) {
	h := r.Health
	l.log.LogAttrs(context.Background(), healthLevel(h), "uplink "+h.To.String(), slog.String("uplink", h.Uplink),
		slog.Any("family", h.Family), slog.Any("from", h.From), slog.String("reason", h.Reason), evidence(h.Evidence))
	l.events.Publish(control.HealthEvent(r, l.clock.wall))
}

// evidence is the time that a verdict rests on, left out where there is none.
func evidence(d time.Duration) slog.Attr {
	if d < 0 {
		return slog.Attr{}
	}
	return slog.Duration("evidence", d)
}

// healthLevel is how loud a transition is.
func healthLevel(h *failover.HealthChange) slog.Level {
	switch h.To {
	case failover.Down, failover.Shunned, failover.Degraded:
		return slog.LevelWarn
	case failover.Suspect:
		return slog.LevelDebug
	case failover.Up:
		if h.From == failover.Suspect {
			return slog.LevelDebug
		}
	case failover.Unknown, failover.Absent, failover.Recovering:
	}
	return slog.LevelInfo
}

// take makes an intent the goal, and the first but one at once: links that are
// told together belong into the first.
func (l *loop) take(in failover.Intent) {
	first := l.intent == nil
	l.intent, l.stale = &in, true
	if !first {
		l.applyIntent()
	}
}

// applyIntent brings the kernel to the goal, reports what it holds then, and lets
// sessions go that have to. What the kernel refuses is tried again later.
func (l *loop) applyIntent() {
	l.stale = false
	if !l.setup.hands() {
		l.report()
		l.switches = nil
		return
	}
	result := l.plant.apply(l.setup, l.picture, *l.intent)
	now := l.clock.now()
	l.report()
	l.judgeApplied(result.err, now)
	l.judgeSettings()
	for _, record := range l.switches {
		l.switched(record, result.refused(record.Switch.Family), now)
	}
	l.switches = nil
	if result.unhealed != nil {
		l.mover.add(heal{*result.unhealed})
	}
	l.letGo(result.holds)
}

// switched reports a switch that the kernel was read to hold, or did not take.
func (l *loop) switched(r failover.Record, refused error, now failover.Instant) {
	var took *time.Duration
	if refused == nil {
		d := now - r.At
		took = &d
	}
	l.last, l.told = &toldSwitch{r, took}, l.told+1
	l.events.Publish(control.SwitchEvent(control.SwitchOf(r, took, l.clock.wall)))
	s := r.Switch
	l.log.Info(s.Kind.String(), "policy", s.Policy, "family", s.Family, "from", s.From, "to", s.To,
		"reason", s.Reason, evidence(s.Evidence), "took", now-r.At)
}

// judgeApplied keeps the problem of an apply that was refused, tells of one that
// put back what others took, and sees that there is another try.
func (l *loop) judgeApplied(err error, now failover.Instant) {
	switch {
	case err != nil:
		l.log.Error("the kernel does not hold the goal", "err", err)
		l.repair.hint(now)
	case len(l.taken.lines) > 0:
		l.repaired(l.taken, now)
		l.taken = taken{}
	case l.refused:
		l.log.Info("the kernel holds the goal that it had refused")
	}
	l.refused = err != nil
	l.problems.set("kernel", "kernel-refused", control.Critical, err,
		"see swerve plan for what is missing; it is tried again by itself")
}

// judgeSettings keeps the problems of sysctls that are not right, and of uplinks
// that are alike. It sees that sysctls that could not be set are tried again.
func (l *loop) judgeSettings() {
	var wrong error
	if n := len(l.plant.unsettled); n > 0 {
		wrong = fmt.Errorf("%d sysctls are not as failover needs them, the first: %s", n, l.plant.unsettled[0])
	}
	remedy := "set them, or kernel.sysctls: manage"
	if l.plant.unset != nil {
		wrong = l.plant.unset
		remedy = "remove the cause that is named, or set them by hand; it is tried again by itself"
		l.repair.hint(l.clock.now())
	}
	l.problems.set("sysctl", "sysctl", control.Warning, wrong, remedy)
	l.judgeAlike()
}

// defaultsChanged looks at the machine's default routes, and, where uplinks are
// taken from them, takes new ones over.
func (l *loop) defaultsChanged() {
	l.repair.hint(l.clock.now())
	if !l.setup.cfg.AutoUplinks {
		return
	}
	merged := defaultRoutes(l.defaults, l.net.Defaults())
	if slices.Equal(merged, l.defaults) {
		return
	}
	l.defaults = merged
	if err := l.configure(l.setup.cfg); err != nil {
		l.log.Error("take over the default routes", "err", err)
	}
}
