package daemon

import (
	"fmt"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
)

// lanes gives each uplink and policy its number in the kernel.
type lanes struct {
	Uplinks  map[string]lane.Lane `json:"uplinks"`
	Policies map[string]lane.Lane `json:"policies"`
}

// assign gives every name a lane: its remembered one, else the lowest that neither
// a configured nor a remembered name has, in the order of names. Names that are no
// longer configured keep their lanes while there is room, so that an uplink that is
// removed and added again keeps its number.
func assign(names []string, remembered map[string]lane.Lane, first, last lane.Lane) (map[string]lane.Lane, error) {
	given := map[string]lane.Lane{}
	taken := map[lane.Lane]bool{}
	for _, name := range names {
		if n, ok := remembered[name]; ok && n >= first && n <= last && !taken[n] {
			given[name] = n
			taken[n] = true
		}
	}
	kept := map[lane.Lane]bool{}
	for _, n := range remembered {
		kept[n] = true
	}
	for _, name := range names {
		if _, ok := given[name]; ok {
			continue
		}
		n, ok := free(first, last, taken, kept)
		if !ok {
			return nil, fmt.Errorf("daemon: no lane is left for %q: at most %d of a kind", name, last-first+1)
		}
		given[name] = n
		taken[n] = true
	}
	return given, nil
}

// free returns the lowest lane that no name has, or if necessary one that only a
// former name has.
func free(first, last lane.Lane, taken, kept map[lane.Lane]bool) (lane.Lane, bool) {
	for _, spare := range []bool{true, false} {
		for n := first; n <= last; n++ {
			if !taken[n] && (!spare || !kept[n]) {
				return n, true
			}
		}
	}
	return 0, false
}

// assignLanes assigns lanes to a whole configuration.
func assignLanes(cfg failover.Config, remembered lanes) (lanes, error) {
	var uplinkNames, policyNames []string
	for _, u := range cfg.Uplinks {
		uplinkNames = append(uplinkNames, u.Name)
	}
	for _, p := range cfg.Policies[1:] {
		policyNames = append(policyNames, p.Name)
	}
	given := lanes{}
	var err error
	if given.Uplinks, err = assign(uplinkNames, remembered.Uplinks, lane.FirstUplink, lane.LastUplink); err != nil {
		return lanes{}, err
	}
	given.Policies, err = assign(policyNames, remembered.Policies, lane.DefaultPolicy+1, lane.LastPolicy)
	if err != nil {
		return lanes{}, err
	}
	given.Policies[cfg.Policies[0].Name] = lane.DefaultPolicy
	return given, nil
}

// remember adds the former names to the lanes, unless a current name has their
// number.
func (l lanes) remember(past lanes) lanes {
	return lanes{
		Uplinks:  mergeLanes(l.Uplinks, past.Uplinks),
		Policies: mergeLanes(l.Policies, past.Policies),
	}
}

// formerPolicies returns the lanes of policies that were remembered and are no more.
func (l lanes) formerPolicies(past lanes) []lane.Lane {
	var out []lane.Lane
	for name, n := range l.remember(past).Policies {
		if _, ok := l.Policies[name]; !ok {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func mergeLanes(present, past map[string]lane.Lane) map[string]lane.Lane {
	all := map[string]lane.Lane{}
	var taken []lane.Lane
	for name, n := range present {
		all[name] = n
		taken = append(taken, n)
	}
	for name, n := range past {
		if _, ok := all[name]; !ok && !slices.Contains(taken, n) {
			all[name] = n
		}
	}
	return all
}

// adopt returns the lanes together with those that the rules in the kernel give to
// interfaces of uplinks that are not remembered: without the state file only the
// rules identify them.
func (l lanes) adopt(uplinks []config.Uplink, byInterface map[string]lane.Lane) lanes {
	known := lanes{Uplinks: map[string]lane.Lane{}}
	for _, u := range uplinks {
		_, remembered := l.Uplinks[u.Name]
		if n, ok := byInterface[configuredName(u)]; ok && !remembered {
			known.Uplinks[u.Name] = n
		}
	}
	return l.remember(known)
}
