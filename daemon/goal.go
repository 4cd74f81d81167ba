package daemon

import (
	"net/netip"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// picture is what is known of the links, in the daemon's keeping.
type picture struct {
	// links by uplink, as they were last told.
	links map[string]failover.Link
	// last remembers, by uplink, the last interface name and addresses it had:
	// what an uplink has lost is needed to deal with the flows that used it.
	last map[string]remembered
}

type remembered struct {
	name      string
	addresses [2][]netip.Prefix
}

func newPicture() picture {
	return picture{links: map[string]failover.Link{}, last: map[string]remembered{}}
}

// set takes over a link as it was told.
func (p picture) set(uplink string, link failover.Link) {
	p.links[uplink] = link
	last := p.last[uplink]
	if link.Interface != "" {
		last.name = link.Interface
	}
	for _, f := range failover.Families {
		if a := link.Family[f].Addresses; len(a) > 0 {
			last.addresses[f] = a
		}
	}
	p.last[uplink] = last
}

// retain forgets uplinks that are no longer configured.
func (p picture) retain(uplinks []config.Uplink) {
	for name := range p.last {
		if !slices.ContainsFunc(uplinks, func(u config.Uplink) bool { return u.Name == name }) {
			delete(p.links, name)
			delete(p.last, name)
		}
	}
}

// name is the uplink's present interface, else the last one, else the one that
// is configured.
func (p picture) name(u config.Uplink) string {
	if name := p.last[u.Name].name; name != "" {
		return name
	}
	return configuredName(u)
}

// routingGoal says in the words of package routing what the engine intends.
func (s setup) routingGoal(p picture, in failover.Intent, foreign []routing.Route, ipv6 bool) routing.Goal {
	g := routing.Goal{Layout: s.layout, Mirror: s.cfg.Kernel.MirrorMain, NoIPv6: !ipv6, Foreign: foreign}
	for _, u := range s.uplinks {
		if !u.Enabled {
			continue
		}
		link := p.links[u.Name]
		out := routing.Uplink{Lane: s.lanes.Uplinks[u.Name], Interface: p.name(u), Index: link.Index}
		for _, f := range failover.Families {
			out.Family[f] = routing.PathOf(link, f, !slices.Contains(in.Policies[0].Family[f].Lost, u.Name))
		}
		g.Uplinks = append(g.Uplinks, out)
	}
	for _, policy := range in.Policies {
		out := routing.Policy{Lane: s.lanes.Policies[policy.Policy]}
		for _, f := range failover.Families {
			out.Family[f] = s.ladder(policy.Family[f])
		}
		g.Policies = append(g.Policies, out)
	}
	return g
}

func (s setup) ladder(l failover.Ladder) routing.Ladder {
	out := routing.Ladder{Block: l.Block}
	for _, rung := range l.Rungs {
		var shares routing.Rung
		for _, share := range rung.Shares {
			shares = append(shares, routing.Share{Uplink: s.lanes.Uplinks[share.Uplink], Weight: share.Weight})
		}
		out.Rungs = append(out.Rungs, shares)
	}
	return out
}

// firewallGoal says in the words of package firewall what the engine intends.
func (s setup) firewallGoal(p picture, in failover.Intent, strict func(string) bool) firewall.Goal {
	g := firewall.Goal{Layout: s.layout}
	for _, u := range s.uplinks {
		if u.Enabled {
			g.Uplinks = append(g.Uplinks, s.firewallUplink(p, u, strict))
		}
	}
	for i, policy := range in.Policies {
		g.Policies = append(g.Policies, firewall.Policy{
			Lane: s.lanes.Policies[policy.Policy], Name: policy.Policy,
			Uplinks: s.ownUplinks(i), Block: s.engine.Policies[i].Block,
		})
	}
	for _, f := range failover.Families {
		g.Lost[f] = s.lost(in, f)
	}
	return g
}

func (s setup) firewallUplink(p picture, u config.Uplink, strict func(string) bool) firewall.Uplink {
	name := p.name(u)
	out := firewall.Uplink{
		Lane: s.lanes.Uplinks[u.Name], Name: u.Name, Interface: name, MarkArrivals: strict(name),
		SNAT: u.SNAT == config.Masquerade, SNATExcept: u.SNATExcept, SNAT6: snat6(u.SNAT6),
		Native6: slices.Clone(u.Prefix6.Prefixes),
	}
	for _, f := range failover.Families {
		for _, a := range p.last[u.Name].addresses[f] {
			out.Addresses = append(out.Addresses, a.Addr())
			if f == failover.IPv6 {
				out.Native6 = append(out.Native6, a.Masked())
			}
		}
	}
	return out
}

func snat6(s config.SNAT) firewall.SNAT6 {
	switch s {
	case config.Masquerade:
		return firewall.Masquerade
	case config.NoSNAT:
		return firewall.None
	case config.Foreign, config.NPT:
		// Prefix translation is not built yet; masquerading what is foreign
		// keeps those sessions alive meanwhile, and a problem says so.
		return firewall.Foreign
	}
	panic("daemon: unknown snat6 " + string(s))
}

// ownUplinks are the lanes of a policy's own uplinks, in their order.
func (s setup) ownUplinks(policy int) []lane.Lane {
	var out []lane.Lane
	for _, tier := range s.engine.Policies[policy].Tiers {
		for _, share := range tier {
			out = append(out, s.lanes.Uplinks[share.Uplink])
		}
	}
	return out
}

// adoption tells the engine what an earlier run left in the kernel.
func (s setup) adoption(held routing.State, lost [2][]firewall.Pair) failover.Adopt {
	a := failover.Adopt{Carrying: map[string][2][]string{}, Lost: map[string][2][]string{}}
	carrying := held.Carrying(s.layout)
	for name, n := range s.lanes.Policies {
		var carries, gone [2][]string
		for _, f := range failover.Families {
			carries[f] = s.names(carrying[n][f])
			for _, pair := range lost[f] {
				if pair.Policy == n {
					gone[f] = append(gone[f], s.names([]lane.Lane{pair.Uplink})...)
				}
			}
		}
		a.Carrying[name], a.Lost[name] = carries, gone
	}
	return a
}

func (s setup) names(lanes []lane.Lane) []string {
	var out []string
	for _, n := range lanes {
		if name, ok := s.uplinkOf(n); ok {
			out = append(out, name)
		}
	}
	return out
}
