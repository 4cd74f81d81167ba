package failover

import "slices"

// override is a standing command of the operator about one uplink.
type override struct {
	set    bool
	uplink string
	// all: a switch of all policies, those that a reload will bring included.
	all bool
	// until ends it; 0 for never.
	until Instant
}

// ended reports whether its time has passed.
func (o override) ended(now Instant) bool { return o.set && o.until != 0 && now >= o.until }

// operator carries out a command, as far as it is about the selection. Switching to an
// uplink ends its drain, draining it ends what was switched to it.
func (s *selector) operator(t *turn, ev Operator) {
	if s.uplinks.find(ev.Uplink) == nil && (ev.Uplink != "" || ev.Verb != Resume) {
		return
	}
	t.reselect = true
	for _, pol := range s.policies {
		if pol.concerned(ev) {
			pol.commanded = t.now
		}
	}
	switch ev.Verb {
	case Switch:
		s.awaited = nil
		s.undrain(ev.Uplink)
		for _, pol := range s.policies {
			switch {
			case pol.concerned(ev):
				pol.resumed = never
				pol.pin = override{set: true, uplink: ev.Uplink, all: ev.Policy == "", until: ev.Until}
			case ev.Policy == "" && pol.pin.all: // this one replaces it
				pol.pin = override{}
				pol.resume(t.now, "", "the operator has switched all policies to "+ev.Uplink+", which "+pol.cfg.Name+" does not have")
			}
		}
	case Drain:
		s.awaited = s.awaited.without(ev.Uplink)
		s.unpin(ev.Uplink)
		s.undrain(ev.Uplink)
		s.drains = append(s.drains, override{set: true, uplink: ev.Uplink, until: ev.Until})
		for _, pol := range s.policies {
			pol.stay(ev.Uplink)
		}
	case Resume:
		for _, pol := range s.policies {
			back := ev.Uplink
			if pol.pin.set && pol.pin.uplink == back {
				back = "" // from what was switched to, to whatever is preferred
			}
			pol.resume(t.now, back, "resumed by the operator")
		}
		s.unpin(ev.Uplink)
		s.undrain(ev.Uplink)
		s.awaited = append(s.awaited.without(ev.Uplink), toAwait(s, ev.Uplink)...)
	}
	s.scheduleOverrideEnd()
}

// concerned reports whether a command is about the policy's uplinks. A switch that names no
// policy is of those that have the uplink in tiers of their own: another one has been
// kept off it by whoever wrote the configuration.
func (pol *policy) concerned(ev Operator) bool {
	if ev.Verb == Switch {
		return ev.Policy == "" && pol.owns(ev.Uplink) || ev.Policy == pol.cfg.Name
	}
	return ev.Uplink == "" || pol.has(ev.Uplink)
}

// resume notes that the operator wants an uplink back in its place, or whatever is
// preferred where it is empty. It is no wish to have another one back.
func (pol *policy) resume(now Instant, uplink, by string) {
	if uplink == "" || pol.has(uplink) {
		pol.commanded, pol.resumed, pol.backTo, pol.resumedBy = now, now, uplink, by
	}
}

// isResumed reports whether the operator has just resumed what a rung is of.
func (pol *policy) isResumed(now Instant, rung []*candidate) bool {
	return now-pol.resumed < operatorTime && (pol.backTo == "" ||
		slices.ContainsFunc(rung, func(k *candidate) bool { return k.up.cfg.Name == pol.backTo }))
}

// unpin ends switches to an uplink; to any when the name is empty.
func (s *selector) unpin(name string) {
	for _, pol := range s.policies {
		if name == "" || pol.pin.uplink == name {
			pol.pin = override{}
		}
	}
}

// undrain ends the drain of an uplink; of any when the name is empty.
func (s *selector) undrain(name string) {
	s.drains = slices.DeleteFunc(s.drains, func(o override) bool { return name == "" || o.uplink == name })
}

// endOverrides ends those whose time has passed, which is a resume.
func (s *selector) endOverrides(t *turn) {
	for _, pol := range s.policies {
		if pol.pin.ended(t.now) {
			pol.resume(t.now, "", "the time of the switch to "+pol.pin.uplink+" is over")
			pol.pin = override{}
			t.reselect = true
		}
	}
	for _, o := range s.drains {
		if o.ended(t.now) {
			for _, pol := range s.policies {
				pol.resume(t.now, o.uplink, "the time of the drain of "+o.uplink+" is over")
			}
			t.reselect = true
		}
	}
	s.drains = slices.DeleteFunc(s.drains, func(o override) bool { return o.ended(t.now) })
	s.scheduleOverrideEnd()
}

// scheduleOverrideEnd sets when the next override ends by itself. It is called
// whenever any is set or taken back.
func (s *selector) scheduleOverrideEnd() {
	s.overrideEnd = forever
	for _, pol := range s.policies {
		if pol.pin.set && pol.pin.until != 0 {
			s.overrideEnd = min(s.overrideEnd, pol.pin.until)
		}
	}
	for _, o := range s.drains {
		if o.until != 0 {
			s.overrideEnd = min(s.overrideEnd, o.until)
		}
	}
}

// operatorActed reports whether the operator has just given a command that concerns
// the policy.
func (pol *policy) operatorActed(now Instant) bool { return now-pol.commanded < operatorTime }

// drain returns the drain of an uplink; not set where it is not drained.
func (s *selector) drain(name string) override {
	for _, o := range s.drains {
		if o.uplink == name {
			return o
		}
	}
	return override{}
}

// recall replaces all overrides by those that are given, of uplinks and policies that
// are configured.
func (s *selector) recall(t *turn, ev Recall) {
	s.unpin("")
	s.awaited = nil
	s.drains = nil
	for _, o := range ev.Commands {
		if s.uplinks.find(o.Uplink) == nil {
			continue
		}
		standing := override{set: true, uplink: o.Uplink, all: o.All, until: o.Until}
		switch o.Verb {
		case Switch:
			for _, pol := range s.policies {
				if pol.cfg.Name == o.Policy {
					pol.pin = standing
				}
			}
		case Drain:
			s.undrain(o.Uplink)
			s.drains = append(s.drains, standing)
		case Resume:
			if s.failback.Manual {
				s.awaited = append(s.awaited, awaitedUplink{o.Uplink, [2]bool{true, true}})
			}
		}
	}
	for _, pol := range s.policies {
		pol.commanded = t.now
	}
	t.reselect = true
	s.scheduleOverrideEnd()
}

// commands lists those that stand: the switch of each policy, then the drains and what is
// awaited.
func (s *selector) commands() []Command {
	var all []Command
	for _, pol := range s.policies {
		if o := pol.pin; o.set {
			all = append(all, Command{Verb: Switch, Uplink: o.uplink, Policy: pol.cfg.Name, All: o.all, Until: o.until})
		}
	}
	for _, o := range s.drains {
		all = append(all, Command{Verb: Drain, Uplink: o.uplink, Until: o.until})
	}
	for _, a := range s.awaited {
		all = append(all, Command{Verb: Resume, Uplink: a.name})
	}
	return all
}

// admin is what the operator has commanded for an uplink, as status names it, and
// when the last of that ends.
func (s *selector) admin(name string) (string, Instant) {
	if o := s.drain(name); o.set {
		return "drained", o.until
	}
	admin, until := "auto", Instant(0)
	for _, pol := range s.policies {
		switch {
		case !pol.pin.set || pol.pin.uplink != name || !pol.has(name):
		case admin == "switched" && (until == 0 || pol.pin.until != 0 && pol.pin.until < until):
		default:
			admin, until = "switched", pol.pin.until
		}
	}
	return admin, until
}
