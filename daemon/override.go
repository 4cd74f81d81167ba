package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// override is a command of the operator as it is kept in the state file.
type override struct {
	// Verb is "switch" or "drain"; "resume" of what is to be resumed once it is up.
	Verb   string `json:"verb"`
	Uplink string `json:"uplink"`
	// Policy of a switch; All: it was commanded for all of them.
	Policy string `json:"policy,omitempty"`
	All    bool   `json:"all,omitempty"`
	// End is nil where it has none.
	End *deadline `json:"end,omitempty"`
}

// The verbs of overrides.
const (
	switchVerb = "switch"
	drainVerb  = "drain"
	resumeVerb = "resume"
)

// mostOverrides bounds the overrides: a switch of each policy, a drain or a resume of each
// uplink.
const mostOverrides = 256

// overrides are those that stand.
type overrides []override

// check rejects what this version could not have written.
func (all overrides) check() error {
	if len(all) > mostOverrides {
		return fmt.Errorf("%d overrides, more than %d", len(all), mostOverrides)
	}
	for _, o := range all {
		if o.Verb != switchVerb && o.Verb != drainVerb && o.Verb != resumeVerb || o.Uplink == "" || (o.Verb == switchVerb) == (o.Policy == "") {
			return fmt.Errorf("override %+v is none", o)
		}
		if o.End != nil {
			if err := o.End.check(control.MaxFor); err != nil {
				return fmt.Errorf("%s of uplink %q: %w", o.Verb, o.Uplink, err)
			}
		}
	}
	return nil
}

// of returns the override that a command of the engine is; its End is not filled in.
func overrideOf(c failover.Command) override {
	switch c.Verb {
	case failover.Drain:
		return override{Verb: drainVerb, Uplink: c.Uplink}
	case failover.Resume:
		return override{Verb: resumeVerb, Uplink: c.Uplink}
	}
	return override{Verb: switchVerb, Uplink: c.Uplink, Policy: c.Policy, All: c.All}
}

// same reports whether two overrides say the same, whenever they end.
func (o override) same(p override) bool {
	return o.Verb == p.Verb && o.Uplink == p.Uplink && o.Policy == p.Policy
}

// after returns the overrides that stand in the engine, with the ends that are kept, or
// the given one for those that are new; and those of before that stand no more.
func (all overrides) after(standing []failover.Command, end *deadline) (now, gone overrides) {
	for _, c := range standing {
		o := overrideOf(c)
		o.End = end
		if of := slices.IndexFunc(all, func(p override) bool { return o.All && p.All }); of >= 0 {
			o.End = all[of].End // of all policies, and this one is new
		}
		if i := slices.IndexFunc(all, o.same); i >= 0 {
			o.End = all[i].End
		}
		now = append(now, o)
	}
	for _, o := range all {
		if !slices.ContainsFunc(now, o.same) {
			gone = append(gone, o)
		}
	}
	return now, gone
}

// renamed returns the overrides under new names.
func (all overrides) renamed(r renames) overrides {
	name := func(former map[string]string, was string) string {
		if now, ok := valueIn(former, was); ok {
			return now
		}
		return was
	}
	out := slices.Clone(all)
	for i, o := range out {
		out[i].Uplink, out[i].Policy = name(r.uplinks, o.Uplink), name(r.policies, o.Policy)
	}
	return out
}

// endedWhileAway is how long after a start an override ends whose time was over before:
// that is a resume, for which the uplink has to be proven.
const endedWhileAway = 5 * time.Second

// recall hands the remembered overrides to the engine.
func recall(l *loop) {
	if len(l.state.Overrides) == 0 {
		return
	}
	now := l.clock.now()
	var all []failover.Command
	for _, o := range l.state.Overrides {
		c := failover.Command{Verb: failover.Drain, Uplink: o.Uplink, Policy: o.Policy, All: o.All}
		switch o.Verb {
		case switchVerb:
			c.Verb = failover.Switch
		case resumeVerb:
			c.Verb = failover.Resume
		}
		if o.End != nil {
			c.Until = max(now+l.clock.left(o.End), endedWhileAway)
		}
		all = append(all, c)
	}
	l.step(now, failover.Recall{Commands: all})
}

// keepTime has what an earlier boot gave a time end by the wall clock as it is now, if
// that was set since the last call.
func keepTime(l *loop) {
	earlier := func(d *deadline) bool { return d != nil && !l.clock.ofThisBoot(d) }
	if !slices.ContainsFunc(l.state.Overrides, func(o override) bool { return earlier(o.End) }) &&
		(l.pending == nil || !earlier(&l.pending.record.End)) {
		return
	}
	dated(l)
}

// clockSet continues after the wall clock was set: what is of an earlier boot ends by it.
func clockSet(l *loop) {
	recall(l)
	if p := l.pending; p != nil {
		p.due = l.clock.now() + l.clock.left(&p.record.End)
		setPending(l, p)
	}
	l.changed = true
}

// noteOverrides keeps the overrides that stand, and tells which ended by themselves.
func noteOverrides(l *loop, view failover.View) {
	now, gone := l.state.Overrides.after(view.Commands, nil)
	for i, o := range gone {
		if slices.ContainsFunc(gone[:i], func(p override) bool { return p.Verb == o.Verb && p.Uplink == o.Uplink }) {
			continue // the same, of another policy
		}
		switch {
		case o.Verb == resumeVerb: // the switch that follows says it
		case !slices.ContainsFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == o.Uplink }):
			l.reporter.ordered("resumed", o.Uplink, "", "it is not configured any more", control.Time{})
		case o.Policy != "" && !slices.ContainsFunc(view.Policies, func(p failover.PolicyView) bool { return p.Name == o.Policy }):
			l.reporter.ordered("resumed", o.Uplink, o.Policy, "the policy is not configured any more", control.Time{})
		default:
			l.reporter.ordered("resumed", o.Uplink, "", "the time of its "+o.Verb+" is over", control.Time{})
		}
	}
	l.state.Overrides, l.overrideEnds = now, 0
	for _, c := range view.Commands {
		if c.Until > 0 && (l.overrideEnds == 0 || c.Until < l.overrideEnds) {
			l.overrideEnds = c.Until
		}
	}
}

// Switch implements control.Backend.
func (b backend) Switch(ctx context.Context, o control.Order) (control.Ordered, error) {
	return b.order(ctx, failover.Switch, o)
}

// Drain implements control.Backend.
func (b backend) Drain(ctx context.Context, o control.Order) (control.Ordered, error) {
	return b.order(ctx, failover.Drain, o)
}

// order carries out an order, and waits until it is on disk, or cannot be written.
func (b backend) order(ctx context.Context, verb failover.OperatorVerb, o control.Order) (control.Ordered, error) {
	l := b.loop
	var done control.Ordered
	var refused error
	asked := l.ask(ctx, func() {
		if done.Policies, refused = orderedPolicies(l.setup, verb, o); refused != nil {
			return
		}
		now := l.clock.now()
		event := failover.Operator{Verb: verb, Uplink: o.Uplink, Policy: o.Policy}
		var end *deadline
		if o.For > 0 {
			end, event.Until = l.clock.deadline(o.For), now+o.For
			done.Until = control.At(l.clock.wall(event.Until))
		}
		l.step(now, event)
		kept := l.state.Overrides.without(verb, o)
		l.state.Overrides, _ = kept.after(l.engineView().Commands, end)
		l.changed = true
		l.pass() // so that the status that follows the answer includes it
		done.Text = effect(verb, o.Uplink, done.Policies, l.view())
		action := string(control.Switched)
		if verb == failover.Drain {
			action = string(control.Drained)
		}
		l.reporter.ordered(action, o.Uplink, o.Policy, done.Text, done.Until)
	})
	if err := cmp.Or(asked, refused); err != nil {
		return done, err
	}
	done.Uplink = o.Uplink
	if err := l.keeper.flush(ctx); err != nil {
		done.Unkept = err.Error()
	}
	return done, nil
}

// without returns the overrides without those that an order replaces, whose ends are no
// longer theirs.
func (all overrides) without(verb failover.OperatorVerb, o control.Order) overrides {
	return slices.DeleteFunc(slices.Clone(all), func(p override) bool {
		if verb == failover.Drain {
			return p.Uplink == o.Uplink
		}
		return p.Verb == switchVerb && (o.Policy == "" || o.Policy == p.Policy) || p.Uplink == o.Uplink && p.Verb == drainVerb
	})
}

// orderedPolicies returns the policies that an order is about, or why it cannot be carried out.
func orderedPolicies(s setup, verb failover.OperatorVerb, o control.Order) (control.List[string], error) {
	action, object := "switch to", "uplink "+o.Uplink
	if verb == failover.Drain {
		action = "drain"
	}
	u, err := configuredUplink(s, action, o.Uplink)
	if err != nil {
		return nil, err
	}
	refuse := func(cause error, remedy string) error {
		return &control.Error{Action: action, Object: object, Cause: cause, Remedy: remedy}
	}
	if !s.mayAct() {
		return nil, refuse(control.Refuse("this daemon only watches, with %d uplinks known", len(s.uplinks)),
			"see the problem one-uplink in swerve status; uplinks that the configuration names are acted on")
	}
	if !u.Enabled && verb == failover.Switch {
		return nil, refuse(control.Refuse("it is disabled"), "remove enabled: false from the configuration, and reload")
	}
	var names, having []string
	for _, p := range s.engine.Policies {
		names = append(names, p.Name)
		if mayUse(s, p, o.Uplink) {
			having = append(having, p.Name)
		}
	}
	if o.Policy == "" {
		return having, nil
	}
	if !slices.Contains(names, o.Policy) {
		return nil, refuse(fmt.Errorf("policy %s: %w", o.Policy, control.ErrNoPolicy), nameRemedy(o.Policy, "policies", names))
	}
	if !slices.Contains(having, o.Policy) {
		return nil, refuse(control.Refuse("policy %s never uses it", o.Policy), fmt.Sprintf(
			"add it to the tiers of the policy, or switch %s, which can use it", cmp.Or(strings.Join(having, ", "), "no policy")))
	}
	return []string{o.Policy}, nil
}

// configuredUplink returns an uplink by its name, or an error that names those there are.
func configuredUplink(s setup, action, name string) (config.Uplink, error) {
	var names []string
	for _, u := range s.uplinks {
		if u.Name == name {
			return u, nil
		}
		names = append(names, u.Name)
	}
	return config.Uplink{}, &control.Error{Action: action, Object: "uplink " + name, Cause: control.ErrNoUplink,
		Remedy: nameRemedy(name, "uplinks", names)}
}

// nameRemedy guesses what a name should be, and lists those there are.
func nameRemedy(name, what string, names []string) string {
	list := "the " + what + " are " + cmp.Or(strings.Join(names, ", "), "none yet")
	if near, ok := config.Nearest(name, names); ok {
		return fmt.Sprintf("did you mean %s? %s", near, list)
	}
	return list
}

// mayUse reports whether a policy has the uplink, of its own or of the default policy.
func mayUse(s setup, p failover.Policy, uplink string) bool {
	all := slices.Concat(p.Tiers, p.Tiers6)
	if !p.Block {
		all = slices.Concat(all, s.engine.Policies[0].Tiers, s.engine.Policies[0].Tiers6)
	}
	return slices.ContainsFunc(all, func(tier []failover.Share) bool {
		return slices.ContainsFunc(tier, func(share failover.Share) bool { return share.Uplink == uplink })
	})
}

// effect says what a switch to an uplink, or its drain, does at this moment.
func effect(verb failover.OperatorVerb, uplink string, policies []string, view failover.View) string {
	i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == uplink })
	if i < 0 {
		return ""
	}
	var done, soon, waiting []string
	for _, f := range failover.Families {
		path := view.Uplinks[i].Family[f]
		if path.State == failover.Absent {
			continue
		}
		carries, alone := carrying(view, policies, uplink, f)
		switch {
		case verb == failover.Drain && carries == 0, verb == failover.Switch && alone == len(policies):
			done = append(done, words[f])
		case verb == failover.Drain:
			soon = append(soon, words[f])
		case path.State.Answering():
			soon = append(soon, words[f])
		default:
			waiting = append(waiting, fmt.Sprintf("%s is %s in %s%s", uplink, path.State, words[f], because(path.Reason)))
		}
	}
	if verb == failover.Drain {
		return drainEffect(done, soon)
	}
	var parts []string
	if len(done) > 0 {
		parts = append(parts, "new flows go by it in "+and(done))
	}
	if len(soon) > 0 {
		parts = append(parts, "it takes new flows in "+and(soon)+" as soon as a probe proves it")
	}
	if len(waiting) > 0 {
		parts = append(parts, and(waiting)+", and takes new flows there once it answers")
	}
	return cmp.Or(strings.Join(parts, "; "), "it is offered in no family, and takes new flows once it is")
}

func drainEffect(done, soon []string) string {
	switch {
	case len(soon) == 0:
		return "it gets no new flows; those that it has stay"
	case len(done) == 0:
		return "it goes on carrying " + and(soon) + " until another uplink is proven"
	}
	return "it gets no new flows in " + and(done) + ", and goes on carrying " + and(soon) + " until another uplink is proven"
}

// carrying counts the policies whose first rung has an uplink in a family, and those that
// have it alone.
func carrying(view failover.View, policies []string, uplink string, f failover.Family) (some, alone int) {
	for _, p := range view.Policies {
		if !slices.Contains(policies, p.Name) {
			continue
		}
		if shares := p.Family[f]; slices.ContainsFunc(shares, func(s failover.Share) bool { return s.Uplink == uplink }) {
			some++
			if len(shares) == 1 {
				alone++
			}
		}
	}
	return some, alone
}

// words are the families as people write them.
var words = [2]string{failover.IPv4: "IPv4", failover.IPv6: "IPv6"}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// and joins words as people do.
func and(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
