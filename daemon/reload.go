package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// reloadRequest asks the loop to take over another configuration. It has been
// read already: a large file takes seconds, and the loop has links to watch.
type reloadRequest struct {
	cfg   *config.Config
	found []config.Problem
	done  chan error
}

// configure takes over a configuration. Everything is prepared before anything
// is changed, so an error leaves all as it was.
func (l *loop) configure(cfg *config.Config) error {
	next, err := newSetup(cfg, l.defaults, l.net.Own(), l.store.state)
	if err != nil {
		return err
	}
	if l.generation > 0 && next.layout != l.setup.layout {
		return errors.New("kernel: masks, priorities and tables cannot change while flows are marked by them; " +
			"run swerve teardown and start again")
	}
	l.setup = next
	l.store.setLanes(next.lanes)
	l.picture.retain(next.uplinks)
	l.traffic.follow(l.picture.links, next.lanes.Uplinks)
	l.generation++
	l.judgeSetup()
	if l.engine == nil {
		return nil // the start goes on by itself
	}
	l.net.SetUplinks(next.watched())
	l.stale = true
	l.step(l.clock.now(), failover.Configure{Config: next.engine})
	return nil
}

// reload takes a configuration over, or says why not.
func (l *loop) reload(r reloadRequest) error {
	l.notify.reloading()
	defer func() { l.notify.ready(summary(l.engine.View())) }()
	if len(r.found) > 0 {
		err := refusal(r.found)
		l.tell("refused", err.Error(), err.Problems)
		return err
	}
	if err := l.configure(r.cfg); err != nil {
		l.tell("refused", err.Error(), nil)
		return &control.Error{Action: "take over", Object: "the configuration", Cause: err}
	}
	l.tell("reloaded", fmt.Sprintf("generation %d", l.generation), nil)
	return nil
}

// refusal is the error of a configuration with problems.
func refusal(found []config.Problem) *control.Error {
	e := &control.Error{Action: "take over", Object: "the configuration",
		Cause: control.ErrRefused, Remedy: "mend the lines that are named; the old configuration holds"}
	for _, p := range found {
		e.Problems = append(e.Problems, p.String())
	}
	return e
}

func (l *loop) tell(action, reason string, lines []string) {
	l.log.Info("configuration "+action, "reason", reason, "problems", lines)
	l.events.Publish(control.Event{Detail: control.ConfigDetail{
		Action: action, Object: "configuration", Reason: reason, Problems: lines, Generation: l.generation,
	}})
}

// judgeSetup keeps the problems that follow from the configuration alone.
func (l *loop) judgeSetup() {
	var later, few, rules, methods error
	if now, then := l.setup.cfg, l.begun; now.Control != then.Control || now.State != then.State || now.Metrics != then.Metrics ||
		now.Log != then.Log || now.Kernel.ManageSysctls != then.Kernel.ManageSysctls {
		later = errors.New("control, state, metrics, log and kernel.sysctls are as they were at the start")
	}
	l.problems.set("config", "restart-needed", control.Info, later, "systemctl restart swerve; traffic goes on meanwhile")
	if n := len(l.setup.uplinks); l.setup.cfg.AutoUplinks && n < 2 {
		few = fmt.Errorf("%d interfaces have a default route, and failover needs two", n)
	}
	l.problems.set("uplinks", "one-uplink", control.Warning, few,
		"connect a second one or name the uplinks in the configuration; until then nothing is changed")
	if n := len(l.setup.cfg.Rules); n > 0 {
		rules = fmt.Errorf("%d rules are not acted on by this version: all traffic goes by the policy default", n)
	}
	l.problems.set("rules", "not-built", control.Warning, rules, "leave the rules out, or wait for a newer version")
	if targets := l.setup.unbuilt; len(targets) > 0 {
		methods = fmt.Errorf("this version does not probe by tcp, http or dns, so these targets are left out: %s",
			strings.Join(targets, " "))
	}
	l.problems.set("probe.targets", "not-built", control.Warning, methods, "name addresses as targets")
	l.judgeNPT()
	l.judgeOwn()
}

func (l *loop) judgeNPT() {
	var names []string
	for _, u := range l.setup.uplinks {
		if u.SNAT6 == config.NPT {
			names = append(names, u.Name)
		}
	}
	var npt error
	if len(names) > 0 {
		npt = fmt.Errorf("prefix translation is not acted on by this version: foreign sources are masqueraded on %s",
			strings.Join(names, " "))
	}
	l.problems.set("snat6", "not-built", control.Warning, npt, "use snat6: foreign or masquerade")
}

// Reload implements control.Backend: it reads the configuration again and has the
// loop take it over.
func (l *loop) Reload(ctx context.Context) error {
	l.reloading.Lock()
	defer l.reloading.Unlock()
	r := reloadRequest{done: make(chan error, 1)}
	r.cfg, r.found = l.load()
	select {
	case l.reloads <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// followHangups reloads at each signal, until ctx ends.
func (l *loop) followHangups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.hangup:
			_ = l.Reload(ctx) // an error is told as an event
		}
	}
}
