package daemon

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/linkmon"
	"swerve/target"
)

// readyWithin bounds the wait for a first uplink before the daemon reports that it
// is ready. A daemon whose uplinks all appear later is ready as well.
const readyWithin = 3 * time.Second

// loop makes the decisions: it owns the engine, the network that is watched and
// probed, the prepared configuration, and the picture of the links. The enforcer
// owns the kernel, the reporter everything that is reported; both are used by the
// loop's goroutine only. The methods of loop are for that goroutine, except ask and
// those built on it.
type loop struct {
	clock clock
	// load reads the configuration file again, and returns its path with it; empty where
	// there is no file.
	load func() (cfg *config.Config, path string, found []config.Problem)

	net      Network
	finder   Finder
	enforcer *enforcer
	reporter *reporter
	keeper   *keeper
	roster   *roster
	log      *slog.Logger
	folds    *folds
	logQueue *LogQueue
	// isModem reports whether an interface is a modem's; arrived reports whether an
	// interface appeared or was renamed since it was last called.
	isModem func(device string) bool
	arrived bool
	// filterChanged yields a token when another program changed our nft table.
	filterChanged <-chan struct{}
	// filterGone yields a token when the table was deleted: until it is back nothing is
	// masqueraded.
	filterGone <-chan struct{}
	requests   chan request
	// ended is closed when the loop has ended, ready when it has brought the kernel
	// to its first goal.
	ended, ready chan struct{}
	// reloading is held from the reading of a file until it is applied, so that the
	// file read last is the one in force.
	reloading sync.Mutex
	hangup    <-chan os.Signal

	// begun is the first configuration, some parts of which stay in force until the
	// end.
	begun *config.Config
	// found is what the start found of a reload with a confirmation.
	found beginning
	setup setup
	// defaults are the default routes for which the setup was made.
	defaults defaults
	// untaken is a candidate for which there is no room among the uplinks.
	untaken string
	// state is what should outlive the daemon; the keeper writes it.
	state  state
	engine *failover.Engine
	// seen is the engine's view since its last step; nil until somebody needs it.
	seen    *failover.View
	picture picture
	// intent is the engine's last one; nil before the first.
	intent *failover.Intent
	wake   failover.Instant
	// prover finds out which prefixes of the LAN are native.
	prover prover
	// probing checks that probes leave by their uplink.
	probing probeCheck
	// asked are the probes that the engine requested and that are not sent yet.
	asked []failover.Probe
	// changed: since the last pass something happened that may affect the problems,
	// the state file or systemd's status line.
	changed bool
	isReady bool
	// overrideEnds is when the next override ends by itself; 0 for never.
	overrideEnds failover.Instant
	// pending is a reload that waits for its confirmation; nil for none. reverted is the
	// last one that was undone, while its file is not reloaded.
	pending  *pending
	reverted *pendingRecord
	// unmarked: when this run began nothing in the kernel had marks of ours, so that
	// masks can be chosen until something has.
	unmarked bool
}

// run works until ctx ends.
func (l *loop) run(ctx context.Context) error {
	defer close(l.ended)
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
			return nil
		case <-l.net.Ready():
		case <-timer.C:
		case <-l.net.Repair():
			l.enforcer.hint()
		case <-l.filterChanged:
			l.enforcer.hint()
		case <-l.filterGone:
			l.enforcer.urgent()
		case <-l.net.DefaultsChanged():
			l.defaultsChanged()
		case <-l.net.OwnChanged():
			l.ownChanged()
		case r := <-l.reporter.counters.loads:
			l.step(r.at, r.load)
		case r := <-l.requests:
			r.carryOut()
			close(r.done)
		case <-watchdog:
			l.reporter.notify.alive()
		}
		l.pass()
		timer.Reset(max(0, l.nextWake()-l.clock.now()))
	}
}

// pass passes all observations to the engine, then the passing of time, and carries
// out its decisions.
func (l *loop) pass() {
	for _, o := range l.net.Take() {
		l.observe(o)
	}
	keepTime(l)
	if now := l.clock.now(); now >= l.wake {
		l.step(now, failover.Tick{})
		// The end of an override need not change what carries.
		l.changed = l.changed || l.overrideEnds != 0 && now >= l.overrideEnds
	}
	if l.pending != nil && l.clock.now() >= l.pending.due {
		revert(l)
	}
	if l.changed {
		l.findModems()
		l.takeProven()
	}
	if l.enforcer.ripe() && l.intent != nil {
		l.enforce()
	}
	if now := l.clock.now(); l.enforcer.repairs.due(now) {
		l.reconcile(now)
	}
	l.sendProbes()
	l.checkCounts(l.clock.now())
	if l.changed {
		l.prover.stir()
	}
	prove(l, l.clock.now())
	if l.changed {
		l.changed = false
		l.conclude()
	}
	if idle := !l.setup.mayAct() && len(l.setup.candidates) == 0; !l.isReady &&
		(idle || l.enforcer.kernel.standing || l.clock.now() >= readyWithin) {
		l.isReady = true
		l.reporter.started(l.view(), l.setup)
		close(l.ready)
	}
}

func (l *loop) nextWake() failover.Instant {
	wake := min(l.wake, l.enforcer.nextWake())
	if l.enforcer.kernel.standing && !l.enforcer.stale && l.setup.mayAct() {
		wake = min(wake, l.prover.next)
	}
	if l.enforcer.stale && l.enforcer.kernel.standing && l.intent != nil {
		wake = min(wake, l.enforcer.rested)
	}
	if l.pending != nil {
		wake = min(wake, l.pending.due)
	}
	if !l.isReady {
		wake = min(wake, readyWithin)
	}
	return wake
}

// observe updates the picture of the links with an observation, and passes it to
// the engine.
func (l *loop) observe(o linkmon.Observation) {
	if event, ok := o.Event.(failover.LinkChanged); ok {
		event.Link = l.picture.usable(event.Uplink, event.Link)
		o.Event = event
		before := l.picture.links[event.Uplink]
		l.arrived = l.arrived || before.Interface != event.Link.Interface || before.Index != event.Link.Index
		l.holdFlows(event, o.Purged)
		l.endMisled(event)
		l.picture.set(event.Uplink, event.Link)
		l.reporter.counters.follow(l.picture.links, l.setup.lanes.Uplinks)
		l.enforcer.linksChanged()
		l.changed = true
		l.log.Debug("link", "uplink", event.Uplink, "interface", event.Link.Interface, "carrier", event.Link.Carrier,
			"up", event.Link.AdminUp, "ipv4", event.Link.Family[0].Gateway, "ipv6", event.Link.Family[1].Gateway)
	}
	l.step(o.At, l.probing.believed(o.Uplink, o.Family, o.At, o.Event))
}

// holdFlows prevents other uplinks from sending the flows of an uplink whose source
// address has disappeared, since it may be back in a moment, or is back already.
func (l *loop) holdFlows(event failover.LinkChanged, purged bool) {
	before, known := l.picture.links[event.Uplink]
	g, acts := l.goal()
	if !known || !acts || !l.setup.lanes.Uplinks[event.Uplink].IsUplink() {
		return
	}
	for _, f := range failover.Families {
		if !before.Routable(f) || !event.Link.Lapsed(f) && !(purged && event.Link.Routable(f)) {
			continue
		}
		var others []string
		then := misled{layout: g.layout, lapsed: l.setup.lanes.Uplinks[event.Uplink]}
		for _, family := range failover.Families {
			for _, a := range slices.Concat(before.Family[family].Own(), event.Link.Family[family].Own()) {
				then.addresses = append(then.addresses, a.Addr())
			}
		}
		for _, name := range slices.Sorted(maps.Keys(l.picture.links)) {
			if link, n := l.picture.links[name], l.setup.lanes.Uplinks[name]; name != event.Uplink && link.Present && n.IsUplink() {
				others, then.others = append(others, link.Interface), append(then.others, n)
			}
		}
		l.enforcer.hold(event.Link.Interface, others, l.patience(event.Uplink), then)
		return
	}
}

// endMisled ends what was masqueraded with another device's address while an uplink had
// none and no other could take over, since it would stay so while its client sends.
func (l *loop) endMisled(event failover.LinkChanged) {
	before, known := l.picture.links[event.Uplink]
	g, acts := l.goal()
	n := l.setup.lanes.Uplinks[event.Uplink]
	if !known || !acts || !n.IsUplink() {
		return
	}
	then := misled{layout: g.layout, lapsed: n}
	var back []failover.Family
	for _, f := range failover.Families {
		if !before.Routable(f) && event.Link.Routable(f) {
			back = append(back, f)
		}
		for _, a := range event.Link.Family[f].Own() {
			then.addresses = append(then.addresses, a.Addr())
		}
	}
	if len(back) > 0 {
		l.enforcer.worker.add(then)
		l.enforcer.sourceIsBack(revival{g.layout, n, back})
	}
}

// patience returns for how long an uplink's sessions stay while it is silent: the
// longest of what was learnt in the two families, with silence and with gaps, or what is configured while the
// engine does not know the uplink.
func (l *loop) patience(uplink string) time.Duration {
	view := l.engineView()
	i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == uplink })
	if i < 0 {
		return l.setup.patience(uplink)
	}
	var longest time.Duration
	for _, family := range view.Uplinks[i].Family {
		longest = max(longest, family.Patience, family.Lapses)
	}
	return longest
}

// step passes one event to the engine, and carries out its decision. Its probes are
// sent at the end of the pass, and the first intent is enforced there: links that
// are reported together belong to the first intent.
func (l *loop) step(at failover.Instant, event failover.Event) {
	decided := l.clock.now()
	out := l.engine.Step(at, event)
	l.wake, l.seen = out.Wake, nil
	l.asked = append(l.asked, out.Probes...)
	for _, uplink := range out.Reread {
		l.net.Reread(uplink)
		l.reporter.counters.hurry(uplink)
		wake(l.roster.suspects)
	}
	records := l.ofUplinks(out.Records)
	l.followSilence(records)
	l.reporter.decided(records, decided)
	l.changed = l.changed || len(out.Records) > 0 || out.Intent != nil
	if out.Intent != nil {
		before := l.intent
		l.intent, l.enforcer.stale = out.Intent, true
		if before != nil && (out.Intent.Moves(before) || l.enforcer.ripe()) {
			l.enforce()
		}
	} else if len(l.reporter.switches) > 0 && !l.enforcer.stale && l.intent != nil {
		// New flows went there before, as what overflows: the kernel only has to be read.
		l.enforcer.stale = true
		l.enforce()
	}
	l.reporter.reportHealth()
}

// ofUplinks removes the records about candidates, which are not reported.
func (l *loop) ofUplinks(records []failover.Record) []failover.Record {
	return slices.DeleteFunc(records, func(r failover.Record) bool {
		return r.Health != nil && l.setup.isCandidate(r.Health.Uplink)
	})
}

// goal returns what the kernel should hold now; it reports false if there is no
// goal, or if this machine must not be changed.
func (l *loop) goal() (goal, bool) {
	if l.intent == nil || !l.setup.mayAct() {
		return goal{}, false
	}
	return goal{l.setup, l.picture, *l.intent}, true
}

// enforce brings the kernel to the goal, reports what it then read back, and starts
// to move the sessions that have to move.
func (l *loop) enforce() {
	g, ok := l.goal()
	if !ok {
		l.enforcer.stale = false
		l.reporter.idle()
		return
	}
	if begun, watching := l.enforcer.watching(g); watching {
		if begun {
			l.log.Info("this machine forwards without tracking connections: they are watched before anything is changed", "for", watchFirst)
		}
		return
	}
	o := l.enforcer.apply(g)
	l.roster.follow(g.layout)
	if o.native != nil {
		l.setup.native, l.setup.plain = o.native, o.plain
		l.state.Native, l.state.Plain = o.native, o.plain
		l.reporter.found(o.native, o.plain)
	}
	l.reporter.enforced(o, g.setup)
	l.reporter.dropped(l.enforcer.release(g, o))
	l.enforcer.retire(g, o)
	l.enforcer.revive(o)
	l.changed = true
}

// reconcile compares the kernel with the goal, and enforces the goal again if they
// differ.
func (l *loop) reconcile(now failover.Instant) {
	g, ok := l.goal()
	if !ok {
		l.enforcer.repairs.compared(now, false)
		l.changed = true // the problems follow from the routes of others, too
		return
	}
	if _, watching := l.enforcer.watching(g); watching {
		l.enforcer.repairs.compared(now, false)
		return
	}
	needed, err := l.enforcer.compare(g, now)
	if err != nil {
		l.log.Warn("compare the kernel with the goal", "err", err)
	}
	if needed {
		l.enforce()
		return
	}
	l.reporter.settings(l.enforcer.kernel.settings)
	l.changed = true
}

// sendProbes sends the probes that the engine requested in this pass, after the
// kernel was brought to its goal. Before an uplink's rules are installed nothing
// keeps its probes on it: for IPv6 the kernel treats a packet's device as a hint
// only, and they could leave by another uplink. So all probes wait for the first
// apply.
func (l *loop) sendProbes() {
	if !l.enforcer.kernel.standing && l.setup.mayAct() {
		return
	}
	for _, probe := range l.asked {
		t, known := l.setup.targets[probe.Target] // a reload may have removed it
		l.net.Send(probe, linkmon.Path{
			Target: t, Link: l.picture.links[probe.Uplink], Mark: l.setup.mark(probe.Uplink),
			LostAfter: l.setup.probe(probe.Uplink).LostAfter,
		})
		if known {
			l.reporter.counters.probe(probe.Uplink, target.WireBytes(t, probe.Family))
		}
	}
	l.asked = l.asked[:0]
}

// conclude updates what follows from a pass in which something changed: the
// problems of the setup and its links, the state to be remembered, and the status
// line that systemd shows.
func (l *loop) conclude() {
	view, today := l.view(), dated(l)
	l.reporter.outage(view, l.setup.engine.Policies)
	l.reporter.placed(view, l.setup.mayAct())
	l.reporter.problems.replace("setup", judge(l.setup, l.begun, l.picture.links, l.enforcer.kernel.strict))
	l.reporter.sets.follow(l.setup.generation, firewallSets(l.setup.cfg.Sets))
	l.reporter.rescues.follow(detoursOf(l.setup, l.enforcer.kernel.table.Goal()))
	l.reporter.ruleInterfaces.follow(l.setup.generation, l.setup.cfg)
	others := l.net.Defaults()
	l.reporter.problems.replace("candidates", slices.Concat(l.setup.candidateProblems(l.untaken, l.picture.links), l.setup.encapsulating(others), l.setup.gatewayless(others)))
	goal := l.enforcer.kernel.goal
	l.reporter.foreign = foreignDefaults(goal)
	l.reporter.problems.replace("routes", slices.Concat(routeProblems(goal, l.enforcer.kernel.morePins), l.setup.passedOver(goal)))
	l.reporter.problems.replace("names", nameProblems(l.setup, l.picture.misnamed, l.defaults.best))
	l.state.UsedMarks = noteUses(l.state.UsedMarks, ruleUses(l.enforcer.kernel.otherRules), today)
	l.setup.usedMarks = l.state.UsedMarks
	l.reporter.problems.replace("rules", slices.Concat(l.setup.ruleProblems(l.enforcer.kernel.otherRules, l.enforcer.kernel.foreign),
		reversePathProblems(l.setup, l.enforcer.kernel.otherRules, l.enforcer.kernel.foreign, strictOnes(goal, l.enforcer.kernel.strict))))
	l.reporter.problems.replace("npt", nptProblems(l.setup, l.picture))
	l.reporter.problems.replace("masks", maskProblems(l.setup))
	l.reporter.problems.replace("intruders", l.setup.intruders(slices.Concat(l.enforcer.kernel.foreign, l.enforcer.kernel.narrower)))
	l.setup.foreign = l.setup.noteUplinks(l.setup.foreign, l.picture)
	l.state = l.state.withView(view, l.setup, today)
	l.state.Foreign = l.setup.foreign
	l.state.Departures = l.state.Departures.updated(view, &l.clock)
	noteOverrides(l, view)
	l.state.LastSwitch = l.reporter.kept
	l.keeper.keep(l.state)
	l.reporter.notify.status(summary(view, l.setup.mayAct()))
}

// notifyReady notifies systemd that the daemon is ready, once all its parts are.
func (l *loop) notifyReady(ctx context.Context) {
	_ = l.ask(ctx, func() { l.reporter.notify.ready(summary(l.view(), l.setup.mayAct())) })
}

// defaultsChanged schedules a comparison of the kernel with the goal, which depends
// on the default routes of others. Under `uplinks: auto` new ones become uplinks.
func (l *loop) defaultsChanged() {
	l.enforcer.urgent()
	if !l.setup.cfg.AutoUplinks {
		return
	}
	now, today := defaultsOf(l.net.Defaults()), dated(l)
	known := refreshAuto(l.state.Auto, now.best, today)
	if now.equal(l.defaults) && slices.Equal(known, l.state.Auto) {
		return
	}
	l.defaults, l.state.Auto = now, known
	l.reconfigure("apply a change of the default routes")
}

// reconfigure prepares the configuration again, for a machine that has changed.
func (l *loop) reconfigure(action string) {
	if err := l.configure(l.setup.cfg); err != nil {
		l.log.Error(action, "err", err)
	}
}

// engineView returns the engine's view, which is built once between two steps. It
// must not be changed.
func (l *loop) engineView() failover.View {
	if l.seen == nil {
		v := l.engine.View()
		l.seen = &v
	}
	return *l.seen
}

// view is engineView without candidates.
func (l *loop) view() failover.View {
	v := l.engineView()
	if len(l.setup.candidates) > 0 {
		v.Uplinks = slices.DeleteFunc(slices.Clone(v.Uplinks), func(u failover.UplinkView) bool { return l.setup.isCandidate(u.Name) })
	}
	return v
}

// ownChanged reconfigures if a change of the machine's own addresses affects the
// targets.
func (l *loop) ownChanged() {
	own := l.net.Own()
	lanChanged(l)
	if slices.Equal(ownTargets(l.setup.uplinks, own), ownTargets(l.setup.uplinks, l.setup.own)) {
		l.setup.own, l.changed = own, true
		return
	}
	l.reconfigure("apply a change of the machine's own addresses")
}

// lanChanged takes what this machine has of IPv6 beside the uplinks: proofs are sent from
// it, and what is translated may follow it.
func lanChanged(l *loop) {
	l.picture.lan = l.net.LAN()
	for _, v := range l.prover.proofs {
		v.due, v.pause = l.clock.now(), provingFirst
	}
	l.prover.stir()
	l.enforcer.stale = true
}
