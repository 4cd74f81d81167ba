package daemon

import (
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// spreads are the firewall's words for what a policy spreads by.
var spreads = map[config.Spread]firewall.Spread{
	config.SpreadPairs: firewall.Pairs, config.SpreadClients: firewall.Clients, config.SpreadFlows: firewall.Flows,
}

// spread returns how the new flows of a policy are shared: not at all where no tier that
// it may use has several uplinks.
func spread(s setup, policy int) firewall.Spread {
	shared := func(p failover.Policy) bool {
		return slices.ContainsFunc(slices.Concat(p.Tiers, p.Tiers6), func(tier []failover.Share) bool { return len(tier) > 1 })
	}
	p := s.engine.Policies[policy]
	if !shared(p) && (p.Block || !shared(s.engine.Policies[0])) {
		return firewall.NoSpread
	}
	i := slices.IndexFunc(s.cfg.Policies, func(c config.Policy) bool { return c.Name == p.Name })
	if i < 0 {
		return firewall.Pairs
	}
	return spreads[s.cfg.Policies[i].Spread]
}

// members returns the uplinks that share a policy's new flows in a family now, and the
// whole tier that they are of.
func (g goal) members(policy int, f failover.Family) (members, tier []firewall.Member) {
	rungs := g.intent.Policies[policy].Family[f].Rungs
	if len(rungs) == 0 || len(rungs[0].Shares) < 2 {
		return nil, nil
	}
	first := rungs[0]
	tiers := slices.Concat(g.engine.Policies[policy].TiersOf(f), g.engine.Policies[0].TiersOf(f))
	for _, t := range tiers {
		holds := func(s failover.Share) bool {
			return slices.ContainsFunc(t, func(o failover.Share) bool { return o.Uplink == s.Uplink })
		}
		if !slices.ContainsFunc(first.Shares, func(s failover.Share) bool { return !holds(s) }) {
			return sharing(g.setup, first.Shares), sharing(g.setup, t)
		}
	}
	return sharing(g.setup, first.Shares), nil
}

func sharing(s setup, shares []failover.Share) []firewall.Member {
	var out []firewall.Member
	for _, share := range shares {
		out = append(out, firewall.Member{Uplink: s.lanes.Uplinks[share.Uplink], Weight: max(1, share.Weight)})
	}
	return out
}

// yieldToRules leaves the default policy's new flows to the routes in families in which
// other programs have rules after our first one. They have their turn before that
// policy's, and may depend on what cannot be known before the packet is routed, such as
// who sends it.
func yieldToRules(g firewall.Goal, rules []routing.ForeignRule) firewall.Goal {
	for i, p := range g.Policies {
		if p.Lane != lane.DefaultPolicy {
			continue
		}
		for _, f := range failover.Families {
			if slices.ContainsFunc(rules, func(r routing.ForeignRule) bool { return r.Family == f }) {
				g.Policies[i].Members[f], g.Policies[i].Tier[f] = nil, nil
			}
		}
	}
	return g
}
