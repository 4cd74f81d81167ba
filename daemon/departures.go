package daemon

import (
	"fmt"
	"maps"
	"time"

	"swerve/failover"
)

// departures is since when the uplinks that failbacks have left are drained, by policy,
// family and uplink.
type departures map[string]map[string]map[string]deadline

// mostDepartures bounds them: more than all uplinks of all policies.
const mostDepartures = 2 * 64 * 64

// check rejects what this version could not have written.
func (all departures) check() error {
	n := 0
	for policy, families := range all {
		for family, uplinks := range families {
			for uplink, since := range uplinks {
				if err := since.check(0); err != nil {
					return fmt.Errorf("departure from uplink %q by policy %q in %s: %w", uplink, policy, family, err)
				}
				n++
			}
		}
	}
	if n > mostDepartures {
		return fmt.Errorf("%d departures, more than %d", n, mostDepartures)
	}
	return nil
}

// sameDeparture is by how much the times of one and the same may differ.
const sameDeparture = time.Second

// updated returns those of the view; nil for none. What is known already stays as it is, so
// that nothing is written while nothing happens.
func (all departures) updated(view failover.View, c *clock) departures {
	var out departures
	now := c.now()
	for _, p := range view.Policies {
		for _, f := range failover.Families {
			for _, d := range p.Draining[f] {
				since, known := all[p.Name][f.String()][d.Uplink]
				if !known || (c.left(&since)+now-d.Since).Abs() > sameDeparture {
					since = *c.moment(now - d.Since)
				}
				out = out.with(p.Name, f.String(), d.Uplink, since)
			}
		}
	}
	return out
}

// with adds one, to all of which the caller is the owner.
func (all departures) with(policy, family, uplink string, since deadline) departures {
	if all == nil {
		all = departures{}
	}
	if all[policy] == nil {
		all[policy] = map[string]map[string]deadline{}
	}
	if all[policy][family] == nil {
		all[policy][family] = map[string]deadline{}
	}
	all[policy][family][uplink] = since
	return all
}

// after returns them with their ages.
func (all departures) after(c *clock) map[string][2][]failover.Departed {
	out := map[string][2][]failover.Departed{}
	for policy, families := range all {
		var both [2][]failover.Departed
		for _, f := range failover.Families {
			for uplink, since := range families[f.String()] {
				both[f] = append(both[f], failover.Departed{Uplink: uplink, Age: max(0, -c.left(&since))})
			}
		}
		out[policy] = both
	}
	return out
}

// renamed returns the same under new names.
func (all departures) renamed(uplinks, policies map[string]string) departures {
	if len(all) == 0 {
		return all
	}
	out := departures{}
	for policy, families := range rekeyed(all, policies) {
		families = maps.Clone(families)
		for family, of := range families {
			families[family] = rekeyed(of, uplinks)
		}
		out[policy] = families
	}
	return out
}
