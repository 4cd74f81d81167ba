package daemon

import (
	"fmt"
	"slices"

	"swerve/failover"
)

// lanes gives each uplink and policy its number in the kernel.
type lanes struct {
	Uplinks  map[string]failover.Lane `json:"uplinks"`
	Policies map[string]failover.Lane `json:"policies"`
}

// assign gives every name a lane: the one remembered for it, else the lowest
// that neither a configured nor a remembered name has, in the order of names.
// Names that are no longer configured keep theirs while there is room, so that
// an uplink that is taken out and put back is known by its old number.
func assign(names []string, remembered map[string]failover.Lane, first, last failover.Lane) (map[string]failover.Lane, error) {
	given := map[string]failover.Lane{}
	taken := map[failover.Lane]bool{}
	for _, name := range names {
		if lane, ok := remembered[name]; ok && lane >= first && lane <= last && !taken[lane] {
			given[name] = lane
			taken[lane] = true
		}
	}
	kept := map[failover.Lane]bool{}
	for _, lane := range remembered {
		kept[lane] = true
	}
	for _, name := range names {
		if _, ok := given[name]; ok {
			continue
		}
		lane, ok := free(first, last, taken, kept)
		if !ok {
			return nil, fmt.Errorf("daemon: no lane is left for %q: at most %d of a kind", name, last-first+1)
		}
		given[name] = lane
		taken[lane] = true
	}
	return given, nil
}

// free finds the lowest lane that nobody has, if need be one that only a name
// of the past has.
func free(first, last failover.Lane, taken, kept map[failover.Lane]bool) (failover.Lane, bool) {
	for _, spare := range []bool{true, false} {
		for lane := first; lane <= last; lane++ {
			if !taken[lane] && (!spare || !kept[lane]) {
				return lane, true
			}
		}
	}
	return 0, false
}

// assignLanes gives lanes to a whole configuration.
func assignLanes(cfg failover.Config, remembered lanes) (lanes, error) {
	var uplinks, policies []string
	for _, u := range cfg.Uplinks {
		uplinks = append(uplinks, u.Name)
	}
	for _, p := range cfg.Policies[1:] {
		policies = append(policies, p.Name)
	}
	given := lanes{}
	var err error
	if given.Uplinks, err = assign(uplinks, remembered.Uplinks, failover.FirstUplinkLane, failover.LastUplinkLane); err != nil {
		return lanes{}, err
	}
	given.Policies, err = assign(policies, remembered.Policies, failover.DefaultPolicyLane+1, failover.LastPolicyLane)
	if err != nil {
		return lanes{}, err
	}
	given.Policies[cfg.Policies[0].Name] = failover.DefaultPolicyLane
	return given, nil
}

// remember adds the names of the past to the lanes given, where no present
// name has their number.
func (l lanes) remember(past lanes) lanes {
	return lanes{
		Uplinks:  mergeLanes(l.Uplinks, past.Uplinks),
		Policies: mergeLanes(l.Policies, past.Policies),
	}
}

func mergeLanes(present, past map[string]failover.Lane) map[string]failover.Lane {
	all := map[string]failover.Lane{}
	var taken []failover.Lane
	for name, lane := range present {
		all[name] = lane
		taken = append(taken, lane)
	}
	for name, lane := range past {
		if _, ok := all[name]; !ok && !slices.Contains(taken, lane) {
			all[name] = lane
		}
	}
	return all
}
