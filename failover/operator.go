package failover

import "slices"

// override is a standing command of the operator about one uplink.
type override struct {
	set    bool
	uplink string
	// until ends it; 0 for never.
	until Instant
}

// ended reports whether its time has passed.
func (o override) ended(now Instant) bool { return o.set && o.until != 0 && now >= o.until }

// operator carries out a command. Switching to an uplink ends its drain, draining
// it ends what was switched to it.
func (s *selector) operator(t *turn, ev Operator) {
	if s.uplinks.find(ev.Uplink) == nil && (ev.Uplink != "" || ev.Verb != Resume) {
		return
	}
	t.reselect = true
	s.operatorAt = t.now
	switch ev.Verb {
	case Switch:
		s.undrain(ev.Uplink)
		for _, pol := range s.policies {
			if ev.Policy == "" || ev.Policy == pol.cfg.Name {
				pol.pin = override{set: true, uplink: ev.Uplink, until: ev.Until}
			}
		}
	case Drain:
		s.unpin(ev.Uplink)
		s.undrain(ev.Uplink)
		s.drains = append(s.drains, override{set: true, uplink: ev.Uplink, until: ev.Until})
	case Resume:
		s.unpin(ev.Uplink)
		s.undrain(ev.Uplink)
	}
	s.scheduleOverrideEnd()
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
			pol.pin = override{}
			s.operatorAt, t.reselect = t.now, true
		}
	}
	n := len(s.drains)
	s.drains = slices.DeleteFunc(s.drains, func(o override) bool { return o.ended(t.now) })
	if len(s.drains) < n {
		s.operatorAt, t.reselect = t.now, true
	}
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

// operatorActed reports whether the operator has just given a command.
func (s *selector) operatorActed(now Instant) bool { return now-s.operatorAt < operatorTime }

// drain returns the drain of an uplink; not set where it is not drained.
func (s *selector) drain(name string) override {
	for _, o := range s.drains {
		if o.uplink == name {
			return o
		}
	}
	return override{}
}

// admin is what the operator has commanded for an uplink, as status names it, and
// when that ends.
func (s *selector) admin(name string) (string, Instant) {
	if o := s.drain(name); o.set {
		return "drained", o.until
	}
	for _, pol := range s.policies {
		if pol.pin.set && pol.pin.uplink == name {
			return "switched", pol.pin.until
		}
	}
	return "auto", 0
}
