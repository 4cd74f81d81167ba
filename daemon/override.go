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
		if of := slices.IndexFunc(all, func(p override) bool { return o.All && p.All && p.Uplink == o.Uplink }); of >= 0 {
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
			if c.Until = now + l.clock.left(o.End); c.Until <= now {
				c.Until = max(now, endedWhileAway)
			}
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
			l.reporter.ordered(l.clock.now(), "resumed", o.Uplink, "", "it is not configured any more", control.Time{})
		case o.Policy != "" && !slices.ContainsFunc(view.Policies, func(p failover.PolicyView) bool { return p.Name == o.Policy }):
			l.reporter.ordered(l.clock.now(), "resumed", o.Uplink, o.Policy, "the policy is not configured any more", control.Time{})
		default:
			l.reporter.ordered(l.clock.now(), "resumed", o.Uplink, "", "the time of its "+o.Verb+" is over", control.Time{})
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
		drained := slices.ContainsFunc(l.state.Overrides, func(p override) bool { return p.Verb == drainVerb && p.Uplink == o.Uplink })
		l.step(now, event)
		kept := l.state.Overrides.without(verb, o, done.Policies)
		l.state.Overrides, _ = kept.after(l.engineView().Commands, end)
		l.changed = true
		l.pass() // so that the status that follows the answer includes it
		action := string(control.Switched)
		if verb == failover.Drain {
			action, done.Text = string(control.Drained), drainEffect(l.setup, o.Uplink, l.view())
		} else {
			done.Text = effect(o.Uplink, done.Policies, l.view()) + aside(drained, l.setup, done.Policies, o.Policy)
		}
		l.reporter.ordered(now, action, o.Uplink, o.Policy, done.Text, done.Until)
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
func (all overrides) without(verb failover.OperatorVerb, o control.Order, policies []string) overrides {
	return slices.DeleteFunc(slices.Clone(all), func(p override) bool {
		if verb == failover.Drain {
			return p.Uplink == o.Uplink
		}
		return p.Verb == switchVerb && slices.Contains(policies, p.Policy) || p.Uplink == o.Uplink && p.Verb == drainVerb
	})
}

// aside says what else a switch does and does not: it ends a drain of the uplink, for all
// policies, and without a policy it leaves those alone that do not have the uplink.
func aside(drained bool, s setup, policies []string, policy string) (text string) {
	if drained {
		text = "; it is drained no more, for any policy"
	}
	var others []string
	for _, p := range s.engine.Policies {
		if policy == "" && !slices.Contains(policies, p.Name) {
			others = append(others, p.Name)
		}
	}
	if len(others) > 0 {
		text += fmt.Sprintf("; not of %s, without it in their tiers (--policy)", plural(others, "policy ", "policies ")+and(others))
	}
	return text
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
	var names, having, owning []string
	for _, p := range s.engine.Policies {
		names = append(names, p.Name)
		if mayUse(s, p, o.Uplink) {
			having = append(having, p.Name)
		}
		if isIn(slices.Concat(p.Tiers, p.Tiers6), o.Uplink) {
			owning = append(owning, p.Name)
		}
	}
	switch {
	case verb == failover.Drain:
		return having, nil
	case o.Policy == "":
		return owning, nil
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
	return isIn(all, uplink)
}

// isIn reports whether an uplink is in some tiers.
func isIn(tiers [][]failover.Share, uplink string) bool {
	return slices.ContainsFunc(tiers, func(tier []failover.Share) bool {
		return slices.ContainsFunc(tier, func(share failover.Share) bool { return share.Uplink == uplink })
	})
}

// effect says what a switch to an uplink does at this moment.
func effect(uplink string, policies []string, view failover.View) string {
	i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == uplink })
	if i < 0 {
		return ""
	}
	var done, soon, waiting []string
	for _, f := range failover.Families {
		switch path := view.Uplinks[i].Family[f]; {
		case path.State == failover.Absent:
		case carriesAlone(view, policies, uplink, f):
			done = append(done, words[f])
		case path.State.Answering():
			soon = append(soon, words[f])
		default:
			waiting = append(waiting, fmt.Sprintf("%s is %s in %s%s", uplink, path.State, words[f], because(path.Reason)))
		}
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

// drainEffect says what the drain of an uplink does at this moment: which policies it goes on
// carrying, and until when.
func drainEffect(s setup, uplink string, view failover.View) string {
	// By the families and the reason of what it goes on carrying, the policies.
	stays := map[[2]string][]string{}
	var order [][2]string
	left := false
	for _, p := range view.Policies {
		var soon, alone []string
		for _, f := range failover.Families {
			switch {
			case !slices.ContainsFunc(p.Family[f], func(s failover.Share) bool { return s.Uplink == uplink }):
				left = true
			case hasRefuge(s, view, p.Name, uplink, f):
				soon = append(soon, words[f])
			default:
				alone = append(alone, words[f])
			}
		}
		for _, how := range [][2]string{{and(soon), " until a probe has proven another uplink, mostly within a second"}, {and(alone), ", since no other uplink answers that is not drained"}} {
			if how[0] == "" {
				continue
			}
			if stays[how] == nil {
				order = append(order, how)
			}
			stays[how] = append(stays[how], p.Name)
		}
	}
	if len(order) == 0 {
		return "it gets no new flows; those that it has stay"
	}
	var parts []string
	if left && len(view.Policies) > 1 {
		parts = append(parts, "it gets no new flows but these")
	}
	for _, how := range order {
		what := how[0]
		if len(view.Policies) > 1 && len(stays[how]) < len(view.Policies) {
			what += " of " + plural(stays[how], "policy ", "policies ") + and(stays[how])
		}
		parts = append(parts, "it goes on carrying "+what+how[1])
	}
	return strings.Join(parts, "; ")
}

// hasRefuge reports whether a policy has another uplink that answers in a family and is not
// drained.
func hasRefuge(s setup, view failover.View, policy, uplink string, f failover.Family) bool {
	i := slices.IndexFunc(s.engine.Policies, func(p failover.Policy) bool { return p.Name == policy })
	return i >= 0 && slices.ContainsFunc(view.Uplinks, func(u failover.UplinkView) bool {
		return u.Name != uplink && u.Enabled && u.Admin != string(control.Drained) && u.Family[f].State.Answering() && mayUse(s, s.engine.Policies[i], u.Name)
	})
}

// carriesAlone reports whether an uplink alone carries all of some policies in a family.
func carriesAlone(view failover.View, policies []string, uplink string, f failover.Family) bool {
	return !slices.ContainsFunc(view.Policies, func(p failover.PolicyView) bool {
		shares := p.Family[f]
		return slices.Contains(policies, p.Name) && (len(shares) != 1 || shares[0].Uplink != uplink)
	})
}

// words are the families as people write them.
var words = [2]string{failover.IPv4: "IPv4", failover.IPv6: "IPv6"}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// plural returns a word for one thing, or that for several.
func plural(things []string, one, several string) string {
	if len(things) > 1 {
		return several
	}
	return one
}

// and joins words as people do.
func and(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
