package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// Status implements control.Backend; it returns nil once the daemon is stopping.
func (l *loop) Status() *control.Status {
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
func (l *loop) Reload(ctx context.Context) error {
	l.reloading.Lock()
	defer l.reloading.Unlock()
	cfg, path, found := l.load()
	var err error
	asked := l.ask(ctx, func() {
		err = l.reload(cfg, path, found)
		l.pass() // so that the status that follows the answer includes it
	})
	if asked != nil {
		return asked
	}
	return err
}

// Resume implements control.Backend.
func (l *loop) Resume(ctx context.Context, uplink string) (control.Resumed, error) {
	done := control.Resumed{Uplink: uplink, Released: control.List[string]{}}
	var refused error
	asked := l.ask(ctx, func() {
		var names []string
		for _, u := range l.view().Uplinks {
			names = append(names, u.Name)
			if (uplink == "" || u.Name == uplink) && (isHeld(u.Family[failover.IPv4]) || isHeld(u.Family[failover.IPv6])) {
				done.Released = append(done.Released, u.Name)
			}
		}
		if uplink != "" && !slices.Contains(names, uplink) {
			refused = &control.Error{Action: "resume", Object: "uplink " + uplink, Cause: control.ErrNoUplink,
				Remedy: "the uplinks are " + cmp.Or(strings.Join(names, ", "), "none yet")}
			return
		}
		l.reporter.resumed(done)
		l.step(l.clock.now(), failover.Operator{Verb: failover.Resume, Uplink: uplink})
		l.pass() // so that the status that follows the answer includes it
	})
	return done, cmp.Or(asked, refused)
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
			_ = l.Reload(ctx) // an error is reported as an event
		}
	}
}

// reload applies the configuration of a file, or returns the reason why it cannot be used.
func (l *loop) reload(cfg *config.Config, path string, found []config.Problem) error {
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
	l.reporter.configured("reloaded", "configuration", fmt.Sprintf("generation %d", l.setup.generation), nil, l.setup.generation)
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
		l.enforcer.retired = append(l.enforcer.retired, l.setup.retiring(next, l.picture, anew)...)
	}
	l.setup, l.state, l.picture = next, past, links
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
