package failover

import "slices"

// awaited are the uplinks that the operator has resumed before they were up, under manual
// failback. Each is resumed again once it is up, in each family in which it was not.
type awaited []awaitedUplink

type awaitedUplink struct {
	name   string
	family [2]bool
}

// without returns those that are left without an uplink; without any when the name is empty.
func (all awaited) without(name string) awaited {
	return slices.DeleteFunc(all, func(a awaitedUplink) bool { return name == "" || a.name == name })
}

func (all awaited) has(name string) bool {
	return slices.ContainsFunc(all, func(a awaitedUplink) bool { return a.name == name })
}

// toAwait returns what a resume of an uplink, of any when the name is empty, has to wait
// for: the families in which it neither is up nor carries.
func toAwait(s *selector, name string) (all awaited) {
	for _, u := range s.uplinks {
		if !s.failback.Manual || !u.cfg.Enabled || name != "" && u.cfg.Name != name {
			continue
		}
		a := awaitedUplink{name: u.cfg.Name}
		for _, f := range Families {
			carries := slices.ContainsFunc(s.policies, func(pol *policy) bool { return contains(pol.family[f].first, a.name) })
			switch u.paths[f].class() {
			case Recovering, Down, Shunned, Degraded:
				a.family[f] = !carries
			default: // up, or nothing that was lost
			}
		}
		if a.family != [2]bool{} {
			all = append(all, a)
		}
	}
	return all
}

// returnAwaited resumes those that are up now.
func returnAwaited(s *selector, t *turn) {
	for i := range s.awaited {
		a := &s.awaited[i]
		for _, f := range Families {
			state := s.uplinks.path(a.name, f).state
			if a.family[f] && state == Up {
				for _, pol := range s.policies {
					pol.resume(t.now, a.name, "resumed by the operator")
				}
			}
			a.family[f] = a.family[f] && state != Up && state != Absent
		}
	}
	s.awaited = slices.DeleteFunc(s.awaited, func(a awaitedUplink) bool { return a.family == [2]bool{} })
}
