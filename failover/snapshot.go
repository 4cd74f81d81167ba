package failover

import (
	"slices"
	"time"
)

// View returns a copy of what the engine holds to be so after the last step.
func (e *Engine) View() View {
	v := View{Switches: e.switches}
	if e.lastSwitch != nil {
		r, s := *e.lastSwitch, *e.lastSwitch.Switch
		s.From, s.To = slices.Clone(s.From), slices.Clone(s.To)
		r.Switch = &s
		v.Last = &r
	}
	for _, u := range e.uplinks {
		v.Uplinks = append(v.Uplinks, e.viewUplink(u))
	}
	for _, pol := range e.policies {
		pv := PolicyView{Name: pol.cfg.Name}
		for _, f := range Families {
			pv.Family[f] = slices.Clone(pol.family[f].first)
		}
		v.Policies = append(v.Policies, pv)
	}
	return v
}

func (e *Engine) viewUplink(u *uplink) UplinkView {
	v := UplinkView{Name: u.cfg.Name, Enabled: u.cfg.Enabled, Metered: u.cfg.Metered, Link: u.link, Proven: -1}
	v.Admin, v.Until = e.admin(u)
	for _, f := range Families {
		p := &u.paths[f]
		v.Link.Family[f].Addresses = slices.Clone(u.link.Family[f].Addresses)
		v.Family[f] = e.viewPath(p)
		v.Proven = max(v.Proven, p.answered)
		if p.recovery.owes && p.damping.heldUntil > e.now {
			v.HeldUntil = max(v.HeldUntil, p.damping.heldUntil)
		}
	}
	return v
}

func (e *Engine) viewPath(p *path) FamilyView {
	patience := p.patience
	patience.forget(e.now)
	v := FamilyView{State: p.state, Reason: p.reason, Since: p.since, Seen: p.seen, Patience: patience.now}
	if p.state == Up {
		v.Reason = ""
	}
	if !p.probing {
		for _, t := range p.targets {
			v.Targets = append(v.Targets, TargetView{Target: t.name})
		}
		return v
	}
	if p.window.known() {
		v.Loss = ptr(p.window.total.loss())
		v.RTT = ifKnown(p.window.total.latency())
		v.Jitter = ifKnown(p.window.total.jitter())
	}
	for i := range p.targets {
		v.Targets = append(v.Targets, p.viewTarget(i))
	}
	return v
}

// leastOfTarget is how many samples the figures of a single target need.
const leastOfTarget = 10

func (p *path) viewTarget(i int) TargetView {
	t := &p.targets[i]
	v := TargetView{Target: t.name, SetAside: t.aside}
	if t.tried {
		v.Answering = ptr(t.answering())
	}
	if sum := &p.window.target[i]; sum.n >= leastOfTarget {
		v.Loss = ptr(sum.loss())
		v.RTT = ifKnown(sum.latency())
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func ifKnown(d time.Duration, ok bool) *time.Duration {
	if !ok {
		return nil
	}
	return &d
}
