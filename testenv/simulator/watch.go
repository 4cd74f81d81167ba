package simulator

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"

	"swerve/failover"
)

// brokenRule is an invariant that does not hold.
type brokenRule struct{ error }

func broken(format string, args ...any) error { return brokenRule{fmt.Errorf(format, args...)} }

// watch holds every step against the rules, from what the engine says alone: it
// follows the states by the records and knows nothing of the engine's inside.
type watch struct {
	w *World
	// state of each path, and, of a suspected or shunned one, the state before.
	state, base [][2]failover.State
	told        []failover.Link
	intent      *failover.Intent
	// ladders by policy and family.
	ladders [][2]ladder
	quiet   int
}

// ladder is what is remembered of one between two intents.
type ladder struct {
	members   []int
	first     mask
	lost      mask
	voluntary failover.Instant
}

// mask is a set of uplinks by their numbers.
type mask uint64

func (m mask) has(i int) bool { return m>>i&1 != 0 }

func (wa *watch) begin(w *World) {
	n := len(w.lines)
	*wa = watch{w: w, state: make([][2]failover.State, n), base: make([][2]failover.State, n), told: make([]failover.Link, n)}
	for _, p := range w.cfg.Policies {
		var l ladder
		l.voluntary = never
		l.members = w.membersOf(p)
		wa.ladders = append(wa.ladders, [2]ladder{l, l})
	}
}

// step checks what one step gave.
func (wa *watch) step(out *failover.Output) error {
	if out.Wake <= wa.w.now {
		return broken("asks for a step at %v, which is not later", out.Wake)
	}
	tells := len(out.Records) > 0 || out.Intent != nil
	if wa.quiet++; decides(out) || wa.quiet >= wa.w.opts.CheckEach {
		wa.quiet = 0
		wa.w.stats.Checks++
		if err := wa.w.eng.Check(); err != nil {
			return brokenRule{err}
		}
	}
	if !tells {
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
	}
	return broken("an empty record")
}

func (wa *watch) health(h *failover.HealthChange) error {
	i := wa.w.lineOf(h.Uplink)
	state := &wa.state[i][h.Family]
	if *state != h.From {
		return broken("%s %s goes from %s, and was %s", h.Uplink, h.Family, h.From, *state)
	}
	if h.To != failover.Unknown && h.To == wa.w.opts.forbid {
		return broken("%s %s is %s", h.Uplink, h.Family, h.To)
	}
	if h.To == failover.Suspect {
		wa.base[i][h.Family] = h.From
	}
	*state = h.To
	wa.w.stats.health(h)
	return nil
}

// class is a path's state as it ranks: a suspicion changes nothing.
func (wa *watch) class(i int, f failover.Family) failover.State {
	if s := wa.state[i][f]; s != failover.Suspect {
		return s
	}
	return wa.base[i][f]
}

// cut reports whether the kernel said that nothing can pass.
func (wa *watch) cut(i int, f failover.Family) bool {
	return !wa.told[i].Routable(f) || !wa.told[i].Carrier
}

// order ranks the states, best first.
var order = [...]failover.State{
	failover.Up, failover.Degraded, failover.Recovering, failover.Unknown, failover.Shunned, failover.Down, failover.Absent,
}

// worst is the place in the order of the worst of some uplinks.
func (wa *watch) worst(names []string, f failover.Family) (place int, cut bool) {
	for _, name := range names {
		i := wa.w.lineOf(name)
		place = max(place, slices.Index(order[:], wa.class(i, f)))
		cut = cut || wa.cut(i, f)
	}
	return place, cut
}

// switched holds a switch against the states that led to it.
func (wa *watch) switched(s *failover.SwitchChange) error {
	from, cut := wa.worst(s.From, s.Family)
	to, _ := wa.worst(s.To, s.Family)
	wa.w.stats.switched(s, wa.w.truth.fineAll(s.From, s.Family))
	if len(s.From) == 0 || len(s.To) == 0 {
		return nil
	}
	if s.Kind == failover.Failover {
		if !cut && !order[to].Answering() {
			return broken("%s fails over from %v to %v, which is %s", s.Policy, s.From, s.To, order[to])
		}
		return nil
	}
	if to > from {
		return broken("%s goes by choice from %v, which is %s, to %v, which is %s", s.Policy, s.From, order[from], s.To, order[to])
	}
	for _, name := range s.To {
		if state := wa.state[wa.w.lineOf(name)][s.Family]; state != failover.Up && order[from].Answering() {
			return broken("%s goes by choice to %s, which is %s", s.Policy, name, state)
		}
	}
	return wa.interval(s)
}

// interval holds the time between two switches by choice.
func (wa *watch) interval(s *failover.SwitchChange) error {
	for i, p := range wa.w.cfg.Policies {
		if p.Name != s.Policy {
			continue
		}
		last := &wa.ladders[i][s.Family].voluntary
		since := wa.w.now - *last
		*last = wa.w.now
		if since < wa.w.cfg.Failback.MinInterval {
			return broken("%s %s: a %s only %v after the last switch by choice", s.Policy, s.Family, s.Kind, since)
		}
	}
	return nil
}

// newIntent holds an intent against the one before.
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
	for i := range in.Policies {
		for _, f := range failover.Families {
			if err := wa.newLadder(&wa.ladders[i][f], in.Policies[i].Family[f], f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (wa *watch) newLadder(l *ladder, next failover.Ladder, f failover.Family) error {
	var first, lost mask
	if len(next.Rungs) > 0 {
		for _, s := range next.Rungs[0].Shares {
			first |= 1 << wa.w.lineOf(s.Uplink)
		}
	}
	for _, name := range next.Lost {
		lost |= 1 << wa.w.lineOf(name)
	}
	for gone := lost &^ l.lost; gone != 0; gone &= gone - 1 {
		if err := wa.newlyLost(bits.TrailingZeros64(uint64(gone)), first, f); err != nil {
			return err
		}
	}
	if first != l.first {
		wa.w.truth.moved(l.first&^first, f)
	}
	l.first, l.lost = first, lost
	return nil
}

// newlyLost: sessions move off what is down alone, and need somewhere to go.
func (wa *watch) newlyLost(i int, first mask, f failover.Family) error {
	name, state := wa.w.lines[i].name, wa.class(i, f)
	wa.w.truth.lost(i, f)
	wa.w.stats.lost(state)
	if state != failover.Down && !(state == failover.Degraded && wa.w.cfg.Sessions.MoveOnDegraded) {
		return broken("sessions of %s %s are moved, and it is %s", name, f, state)
	}
	for m := first; m != 0; m &= m - 1 {
		if to := bits.TrailingZeros64(uint64(m)); !wa.class(to, f).Answering() {
			return broken("sessions of %s %s are moved to %s, which is %s", name, f, wa.w.lines[to].name, wa.class(to, f))
		}
	}
	if first == 0 || first.has(i) {
		return broken("sessions of %s %s are moved with nowhere to go", name, f)
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
			l := &wa.ladders[p][f]
			for _, i := range l.members {
				if l.first == 0 && wa.told[i].Routable(f) && wa.w.cfg.Uplinks[i].Enabled && wa.w.cfg.Uplinks[i].Family[f].Enabled {
					return broken("policy %s has no default route in %s, and %s is routable", wa.w.cfg.Policies[p].Name, f, wa.w.lines[i].name)
				}
			}
		}
	}
	return nil
}
