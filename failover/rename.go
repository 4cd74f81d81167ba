package failover

import "slices"

// rename gives uplinks and policies their new names, before they are configured by
// these. One whose name another takes loses it, so that it is removed.
func (e *Engine) rename(ev Configure) {
	if uplink := renamer(ev.Renamed); uplink != nil {
		for _, u := range e.uplinks {
			u.cfg.Name = uplink(u.cfg.Name)
		}
		e.selector.rename(uplink)
	}
	if policy := renamer(ev.RenamedPolicies); policy != nil {
		for _, pol := range e.selector.policies {
			pol.cfg.Name = policy(pol.cfg.Name)
		}
	}
}

// renamer returns the new name of each former one, which is empty if another takes
// it; nil if all keep theirs.
func renamer(former map[string]string) func(string) string {
	if len(former) == 0 {
		return nil
	}
	renamed := make(map[string]string, 2*len(former))
	for now := range former {
		renamed[now] = ""
	}
	for now, before := range former {
		renamed[before] = now
	}
	return func(name string) string {
		if now, ok := renamed[name]; ok {
			return now
		}
		return name
	}
}

// rename changes the names of uplinks in all that is kept of them by name.
func (s *selector) rename(uplink func(string) string) {
	for i := range s.drains {
		s.drains[i].uplink = uplink(s.drains[i].uplink)
	}
	for i := range s.awaited {
		s.awaited[i].name = uplink(s.awaited[i].name)
	}
	for _, pol := range s.policies {
		pol.pin.uplink, pol.backTo = uplink(pol.pin.uplink), uplink(pol.backTo)
		for _, f := range Families {
			pol.family[f].rename(uplink)
		}
	}
}

func (c *choice) rename(uplink func(string) string) {
	for _, list := range []*[]Share{&c.first, &c.spill.to} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i].Uplink = uplink((*list)[i].Uplink)
		}
	}
	all := func(names []string) (out []string) {
		for _, name := range names {
			if now := uplink(name); now != "" {
				out = append(out, now)
			}
		}
		return out
	}
	for i := range c.departures {
		c.departures[i].uplink = uplink(c.departures[i].uplink)
	}
	c.leftShunned, c.lost, c.spill.from = all(c.leftShunned), all(c.lost), all(c.spill.from)
}
