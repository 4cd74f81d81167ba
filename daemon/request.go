package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/lane"
)

// request is work for the loop. The loop carries it out between two events, so it
// may read and change what the loop owns; carryOut stores its own result.
type request struct {
	carryOut func()
	done     chan struct{}
}

// errEnded is returned once the loop has ended.
var errEnded = errors.New("the daemon is stopping")

// ask has the loop run carryOut, and waits until it has. If it returns an error,
// carryOut may or may not run, and its results must not be read.
func (l *loop) ask(ctx context.Context, carryOut func()) error {
	r := request{carryOut: carryOut, done: make(chan struct{})}
	select {
	case l.requests <- r:
	case <-l.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backend answers the clients.
type backend struct{ loop *loop }

var _ control.Backend = backend{}

// Status implements control.Backend; it returns nil once the daemon is stopping.
func (b backend) Status() *control.Status {
	l := b.loop
	var convert func() *control.Status
	err := l.ask(context.Background(), func() { convert = l.reporter.status(l.view(), l.setup, l.picture) })
	if err != nil {
		return nil
	}
	return convert()
}

// Reload implements control.Backend: it reads the configuration again and has the
// loop apply it. The file is read outside of the loop, which has links to watch:
// reading a large file takes seconds.
func (b backend) Reload(ctx context.Context, confirm time.Duration) error {
	l := b.loop
	l.reloading.Lock()
	defer l.reloading.Unlock()
	cfg, path, found := l.load()
	var waiting *pending
	if confirm > 0 && len(found) == 0 {
		var err error
		if waiting, err = b.prepareConfirm(ctx, cfg, path, confirm); err != nil {
			return err
		}
	}
	var err error
	asked := l.ask(ctx, func() {
		if err = l.reload(cfg, path, found, confirm); err == nil {
			reloaded(l, waiting, cfg)
		}
		l.pass() // so that the status that follows the answer includes it
	})
	if err := cmp.Or(asked, err); err != nil {
		if waiting != nil {
			b.dropPrepared()
		}
		return err
	}
	_ = l.keeper.flush(ctx) // a problem tells where that fails
	return nil
}

// Resume implements control.Backend.
func (b backend) Resume(ctx context.Context, uplink string) (control.Resumed, error) {
	l := b.loop
	done := control.Resumed{Uplink: uplink, Released: control.List[string]{}, Ended: control.List[string]{}, Waiting: control.List[string]{},
		Returned: control.List[string]{}}
	var refused error
	asked := l.ask(ctx, func() {
		if uplink != "" {
			if _, refused = configuredUplink(l.setup, "resume", uplink); refused != nil {
				return
			}
		}
		for _, u := range l.view().Uplinks {
			if uplink != "" && u.Name != uplink {
				continue
			}
			if isHeld(u.Family[failover.IPv4]) || isHeld(u.Family[failover.IPv6]) {
				done.Released = append(done.Released, u.Name)
			}
			if slices.ContainsFunc(l.state.Overrides, func(o override) bool { return o.Uplink == u.Name && o.Verb != resumeVerb }) {
				done.Ended = append(done.Ended, u.Name)
			}
		}
		now, before := l.clock.now(), l.engineView().Policies
		l.step(now, failover.Operator{Verb: failover.Resume, Uplink: uplink})
		for _, c := range l.engineView().Commands {
			if c.Verb == failover.Resume && (uplink == "" || c.Uplink == uplink) {
				done.Waiting = append(done.Waiting, c.Uplink)
			}
		}
		done.Returned = moved(before, l.engineView().Policies)
		l.reporter.resumed(done, now)
		l.state.Overrides, _ = l.state.Overrides.after(l.engineView().Commands, nil)
		l.changed = true
		l.pass() // so that the status that follows the answer includes it
	})
	if err := cmp.Or(asked, refused); err != nil {
		return done, err
	}
	_ = l.keeper.flush(ctx) // what is forgotten is so in the state file too; a problem tells where it is not
	return done, nil
}

// moved names the policies that other uplinks carry than before.
func moved(before, after []failover.PolicyView) control.List[string] {
	names := control.List[string]{}
	for i, p := range after {
		other := func(f failover.Family) bool { return !slices.Equal(p.Family[f], before[i].Family[f]) }
		if slices.ContainsFunc(failover.Families[:], other) {
			names = append(names, p.Name)
		}
	}
	return names
}

// isHeld reports whether damping holds a path back now.
func isHeld(v failover.FamilyView) bool { return v.Hold.Held > v.Hold.Age }

// followHangups reloads at each signal, until ctx ends.
func (l *loop) followHangups(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.hangup:
			_ = backend{l}.Reload(ctx, 0) // an error is reported as an event
		}
	}
}

// reload applies the configuration of a file, or returns the reason why it cannot be used.
func (l *loop) reload(cfg *config.Config, path string, found []config.Problem, confirm time.Duration) error {
	l.reporter.notify.reloading()
	defer func() { l.reporter.notify.ready(summary(l.view(), l.setup.mayAct())) }()
	if path == "" && l.reporter.path != "" && len(found) == 0 {
		// At a start that means `uplinks: auto`; beside uplinks in use it is a slip.
		found = []config.Problem{{File: l.reporter.path, Line: 1, Path: "file", Wrong: "the file that is in force is gone",
			Right: "put it back; a restart would run without a file, with uplinks: auto"}}
	}
	if len(found) > 0 {
		err := refusal(found)
		l.reporter.refused(fmt.Errorf("the configuration file has %s, the first: %s", say.Several(len(found), "problem", "problems"), found[0]))
		l.reporter.configured("refused", "configuration", "what was in force before still is", err.Problems, l.setup.generation)
		return err
	}
	if err := l.configure(cfg); err != nil {
		l.reporter.refused(fmt.Errorf("the configuration file cannot be taken over: %w", err))
		l.reporter.configured("refused", "configuration", err.Error(), nil, l.setup.generation)
		return &control.Error{Action: "take over", Object: "the configuration", Cause: err}
	}
	l.reporter.path = path
	l.reporter.refused(nil)
	reason := fmt.Sprintf("generation %d", l.setup.generation)
	if confirm > 0 {
		reason += ", undone after " + config.FormatDuration(confirm) + " unless it is confirmed"
	}
	l.reporter.configured("reloaded", "configuration", reason, nil, l.setup.generation)
	return nil
}

// refusal returns the error for a configuration with problems.
func refusal(found []config.Problem) *control.Error {
	e := &control.Error{Action: "take over", Object: "the configuration",
		Cause: control.ErrRefused, Remedy: "correct the lines that are named; the old configuration stays in force"}
	for _, p := range found {
		e.Problems = append(e.Problems, p.String())
	}
	return e
}

// configure puts a configuration in force. Everything is prepared before anything
// is changed, so an error leaves the old configuration in force.
func (l *loop) configure(cfg *config.Config) error {
	acting := l.setup.acting || l.enforcer.kernel.standing
	l.becomeAuto(cfg)
	if l.setup.generation > 0 && mayChooseMasks(l) {
		l.chooseAnew(cfg)
	}
	anew := l.renames(cfg)
	past := l.state.renamed(anew)
	next, err := newSetup(cfg, l.defaults, acting, l.net.Own(), past)
	if err != nil {
		return err
	}
	links := l.picture.renamed(anew.uplinks)
	next.markModems(l.isModem, links.links)
	if l.setup.generation > 0 && !mayChooseMasks(l) && next.layout != l.setup.layout {
		return errors.New("kernel: masks, priorities and tables cannot change by a reload, since flows and rules bear them; " +
			"restart the daemon, which removes first what is there under the former ones")
	}
	next.generation = l.setup.generation + 1
	if l.engine != nil {
		gone := l.setup.retiring(next, l.picture, anew)
		l.enforcer.retired, next.former = append(l.enforcer.retired, gone...), l.setup.formerBy(gone)
	}
	l.setup, l.state, l.picture = next, past, links
	l.picture.lan = l.net.LAN()
	l.prover.stir()
	l.probing.rename(anew.uplinks)
	l.reporter.counters.rename(anew.uplinks)
	l.state.Lanes = next.lanes.remember(l.state.Lanes)
	l.picture.retain(slices.Concat(next.uplinks, next.candidates))
	l.reporter.counters.follow(l.picture.links, next.lanes.Uplinks)
	l.reporter.counters.weigh(weighed(next))
	l.changed = true
	if l.engine == nil {
		return nil // the start continues by itself
	}
	l.net.SetUplinks(next.watched())
	l.enforcer.stale = true
	l.step(l.clock.now(), failover.Configure{Config: next.engine, Renamed: anew.uplinks, RenamedPolicies: anew.policies})
	return nil
}

// becomeAuto remembers the interfaces of the present uplinks as accepted, if a
// reload is about to name none: they need not prove themselves again, while the LAN
// would not be masqueraded.
func (l *loop) becomeAuto(cfg *config.Config) {
	if l.engine == nil || !cfg.AutoUplinks || l.setup.cfg.AutoUplinks {
		return
	}
	present := map[string]lane.Lane{}
	for _, u := range l.setup.uplinks {
		if link := l.picture.links[u.Name]; u.Enabled && link.Present {
			present[link.Interface] = l.setup.lanes.Uplinks[u.Name]
		}
	}
	today := dated(l)
	l.defaults = defaultsOf(l.net.Defaults())
	l.state.Auto = refreshAuto(adoptAuto(l.state.Auto, present, today), l.defaults.best, today)
}

// renames returns what a configuration names otherwise than the one in force.
func (l *loop) renames(cfg *config.Config) renames {
	if l.engine == nil {
		return renames{}
	}
	uplinks, candidates := uplinksOf(cfg, l.defaults, l.state)
	past := slices.Concat(l.setup.uplinks, l.setup.candidates)
	r := renames{uplinks: renamedUplinks(past, slices.Concat(uplinks, candidates), l.picture)}
	r.policies = renamedPolicies(l.setup.engine.Policies[1:], cfg.Engine(uplinks, l.state.seen).Policies[1:], r.uplinks)
	return r
}
