package simulator

import (
	"reflect"
	"slices"

	"swerve/failover"
)

// watch checks every step against the rules, by the engine's output alone: it follows
// the states by the records and knows nothing of the engine's internals.
type watch struct {
	account
	w *World
	// intent is the engine's last one; nil before the first.
	intent *failover.Intent
	// restarted is when the engine started.
	restarted failover.Instant
	quiet     int
}

func (wa *watch) begin(w *World) {
	*wa = watch{account: newAccount(&w.network), w: w, restarted: never}
}

// restart begins to follow another engine.
func (wa *watch) restart() {
	wa.configure(&wa.w.network)
	wa.account.restart()
	wa.restarted, wa.intent = wa.w.now, nil
}

// observe applies an event handed to the engine.
func (wa *watch) observe(ev failover.Event) {
	switch ev := ev.(type) {
	case failover.Configure:
		wa.configure(&wa.w.network)
	case failover.Adopt:
		wa.adopt(ev)
	default:
		wa.account.observe(ev, wa.w.now)
	}
	wa.acknowledge()
	wa.expire(wa.w.now)
}

// adopt applies the ladders handed to the engine.
func (wa *watch) adopt(ev failover.Adopt) {
	for p, name := range wa.policies {
		for _, f := range failover.Families {
			l := &wa.ladders[p][f]
			if l.members != nil {
				l.first, l.lost = wa.maskOf(ev.Carrying[name][f]), wa.maskOf(ev.Lost[name][f])
				if over := wa.maskOf(ev.Overflow[name][f]); over != 0 {
					l.first = over
				}
				l.rest(wa.w.now)
				for _, d := range ev.Departed[name][f] {
					l.left[wa.lineOf(d.Uplink)] = wa.w.now - d.Age
				}
			}
		}
	}
	wa.account.adopt(wa.w.now, func(i, p int, f failover.Family) bool {
		return wa.drainOver(i, p, f, wa.w.now) && slices.ContainsFunc(ev.Departed[wa.policies[p]][f], func(d failover.Departed) bool {
			return d.Uplink == wa.names[i]
		})
	})
}

// step checks the output of one step.
func (wa *watch) step(out *failover.Output) error {
	if out.Wake <= wa.w.now {
		return broken("asks for a step at %v, which is not later", out.Wake)
	}
	if wa.quiet++; decides(out) || wa.quiet >= wa.w.opts.CheckEach {
		wa.quiet = 0
		wa.w.stats.Checks++
		if err := wa.w.Engine.Check(); err != nil {
			return brokenRule{err}
		}
	}
	if len(out.Records) == 0 && out.Intent == nil {
		return nil
	}
	for _, r := range out.Records {
		if err := wa.record(r); err != nil {
			return err
		}
	}
	if out.Intent != nil {
		if err := wa.newIntent(out.Intent); err != nil {
			return err
		}
	}
	return wa.alwaysRoute()
}

// decides reports whether a step did more than to begin or end a suspicion.
func decides(out *failover.Output) bool {
	for _, r := range out.Records {
		if r.Health == nil || r.Health.To != failover.Suspect && r.Health.From != failover.Suspect || r.Health.To == failover.Shunned {
			return true
		}
	}
	return out.Intent != nil
}

func (wa *watch) record(r failover.Record) error {
	switch {
	case r.At != wa.w.now:
		return broken("a record of %v", r.At)
	case r.Health != nil:
		return wa.health(r.Health)
	case r.Switch != nil:
		return wa.switched(r.Switch)
	case r.Overflow != nil:
		return nil // Engine.Check holds it against the states
	}
	return broken("an empty record")
}

func (wa *watch) health(h *failover.HealthChange) error {
	i := wa.lineOf(h.Uplink)
	switch state := wa.paths[i][h.Family].state; {
	case state != h.From:
		return broken("%s %s goes from %s, and was %s", h.Uplink, h.Family, h.From, state)
	case h.To != failover.Unknown && h.To == wa.w.opts.forbid:
		return broken("%s %s is %s", h.Uplink, h.Family, h.To)
	}
	if err := wa.mayTurn(i, h.Family, h.To, h.Evidence, wa.w.now); err != nil {
		return broken("%s: %w", h.Family, err)
	}
	wa.judge(i, h.Family, h.From, h.To, h.Reason, wa.w.now)
	wa.w.stats.health(h)
	return nil
}

// switched checks a switch against the states that led to it.
func (wa *watch) switched(s *failover.SwitchChange) error {
	m := move{family: s.Family, from: wa.maskOf(s.From), to: wa.maskOf(s.To), at: wa.w.now}
	for p, name := range wa.policies {
		if name == s.Policy {
			m.policy = p
		}
	}
	wa.w.stats.switched(s, wa.w.fineAll(s.From, s.Family))
	if m.from == 0 || m.to == 0 {
		return nil // alwaysRoute judges it
	}
	why := wa.reasonOf(m)
	if s.ByConfig {
		return wa.reconfigured(m, s)
	}
	if why == silent && s.Kind != failover.Failover && wa.gasps(m.from, m.family) {
		why = chosen // a loss forces, where neither the operator nor the order does
	}
	if forced := why == cutOff || why == silent; forced != (s.Kind == failover.Failover) {
		was, _ := wa.worst(m.from, m.family)
		return broken("%s %s: a %s from %v, which is %s", s.Policy, s.Family, s.Kind, s.From, was)
	}
	if err := wa.mayMove(m); err != nil {
		return broken("%s %s: a %s %w", s.Policy, s.Family, s.Kind, err)
	}
	if why == chosen {
		wa.ladders[m.policy][m.family].voluntary = m.at
	}
	return nil
}

// reconfigured checks a switch away from what the configuration has no more, or not there.
func (wa *watch) reconfigured(m move, s *failover.SwitchChange) error {
	for i, name := range wa.names {
		if u := wa.uplink(i); m.from&^m.to&(1<<i) != 0 && u != nil && u.Enabled && wa.isMember(m.policy, i) {
			return broken("%s %s: a switch by the configuration, which has %s there", s.Policy, s.Family, name)
		}
	}
	if s.Kind != failover.Switchover {
		return broken("%s %s: a %s by the configuration", s.Policy, s.Family, s.Kind)
	}
	return nil
}

// newIntent checks an intent against the one before.
func (wa *watch) newIntent(in *failover.Intent) error {
	if old := wa.intent; old != nil {
		switch {
		case in.Generation != old.Generation+1:
			return broken("intent %d follows %d", in.Generation, old.Generation)
		case reflect.DeepEqual(in.Policies, old.Policies):
			return broken("intent %d changes nothing", in.Generation)
		}
	}
	wa.intent = in
	for _, p := range in.Policies {
		for i, name := range wa.policies {
			if name != p.Policy {
				continue
			}
			for _, f := range failover.Families {
				if err := wa.newLadder(i, f, p.Family[f]); err != nil {
					return broken("%s %s: %w", name, f, err)
				}
			}
		}
	}
	return nil
}

func (wa *watch) newLadder(policy int, f failover.Family, next failover.Ladder) error {
	l := &wa.ladders[policy][f]
	before, lostBefore := l.first, l.lost
	l.first, l.lost = 0, wa.maskOf(next.Lost)
	if len(next.Rungs) > 0 {
		for _, s := range next.Rungs[0].Shares {
			l.first |= 1 << wa.lineOf(s.Uplink)
		}
	}
	l.rest(wa.w.now)
	if l.first != before {
		wa.w.moved(before&^l.first, f)
		// A switch is judged by its record. A move from an unknown state has no record.
		m := move{policy: policy, family: f, from: before, to: l.first, at: wa.w.now}
		if wa.reasonOf(m) == unknown && m.to != 0 {
			if err := wa.mayMove(m); err != nil {
				return err
			}
		}
		l.adopted = 0
	}
	for i := range wa.names {
		if !l.lost.has(i) || lostBefore.has(i) {
			continue
		}
		wa.w.lost(i, f)
		wa.w.stats.lost(wa.class(i, f))
		to, _ := wa.worst(l.first, f)
		if err := wa.mayLose(i, policy, f, to, wa.w.now); err != nil {
			return err
		}
	}
	return nil
}

// alwaysRoute: where any uplink of a policy is routable, one of them carries.
func (wa *watch) alwaysRoute() error {
	if wa.intent == nil {
		return nil
	}
	for p := range wa.ladders {
		for _, f := range failover.Families {
			if wa.ladders[p][f].first != 0 {
				continue
			}
			if err := wa.hasRoute(p, f, "policy "+wa.policies[p]); err != nil {
				return broken("%s: %w", f, err)
			}
		}
	}
	return nil
}
