package daemon

import (
	"net/netip"
	"slices"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// goal is everything that determines what the kernel should hold: a prepared
// configuration, what is known of the links, and the engine's last intent. Its
// methods are pure: they express the goal in the types of the packages that carry
// it out.
type goal struct {
	setup
	links  picture
	intent failover.Intent
}

// routing returns the goal for routes and rules. foreign are the default routes of
// others; ipv6 reports whether the kernel has IPv6.
func (g goal) routing(foreign []routing.Route, ipv6 bool) routing.Goal {
	out := routing.Goal{
		Layout: g.layout, Mirror: g.cfg.Kernel.MirrorMain, NoIPv6: !ipv6,
		Foreign: foreign, KeepForeign: g.cfg.Kernel.KeepForeign, Former: g.formerNow(),
	}
	for _, u := range g.uplinks {
		link := g.links.links[u.Name]
		if !u.Enabled {
			out.Unused = append(out.Unused, link.Index)
			continue
		}
		uplink := routing.Uplink{Lane: g.lanes.Uplinks[u.Name], Interface: g.links.name(u), Index: link.Index}
		for _, f := range failover.Families {
			uplink.Family[f] = routing.PathOf(link, f, !slices.Contains(g.intent.Policies[0].Family[f].Lost, u.Name))
			uplink.Family[f].Avoided = slices.Contains(g.intent.Policies[0].Family[f].Avoided, u.Name)
			uplink.Family[f].Lost = slices.Contains(g.lostUplinks()[f], u.Name)
		}
		out.Uplinks = append(out.Uplinks, uplink)
	}
	for _, p := range g.intent.Policies {
		policy := routing.Policy{Lane: g.lanes.Policies[p.Policy]}
		for _, f := range failover.Families {
			policy.Family[f] = g.ladder(p.Family[f])
		}
		out.Policies = append(out.Policies, policy)
	}
	return out
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

// firewall returns the goal for the packet filter. strict reports whether the
// kernel filters reverse paths strictly on a device.
func (g goal) firewall(strict func(device string) bool) firewall.Goal {
	out := firewall.Goal{Layout: g.layout, Rules: g.rules, Sets: firewallSets(g.cfg.Sets), FormerPolicies: g.formerPolicies, Asked: endpoints(g.uplinks),
		Rescue: rescueOf(g.setup)}
	for _, u := range g.uplinks {
		if u.Enabled {
			out.Uplinks = append(out.Uplinks, g.firewallUplink(u, strict))
		}
	}
	for _, a := range g.formerNow() {
		out.Former = append(out.Former, a.Address)
	}
	for i, p := range g.intent.Policies {
		policy := firewall.Policy{
			Lane: g.lanes.Policies[p.Policy], Name: p.Policy,
			Uplinks: g.ownUplinks(i), Block: g.engine.Policies[i].Block, Spread: spread(g.setup, i),
		}
		for _, f := range failover.Families {
			policy.Members[f], policy.Tier[f] = g.members(i, f)
			policy.Detour[f] = detourOf(g.setup, p.Family[f])
		}
		out.Policies = append(out.Policies, policy)
	}
	for _, f := range failover.Families {
		out.Lost[f], out.Refused[f], out.Deaf[f] = g.lost(f), g.refused(f), g.deaf(f)
		for _, name := range g.intent.Policies[0].Family[f].Drained {
			out.Drained[f] = append(out.Drained[f], g.lanes.Uplinks[name])
		}
	}
	for _, a := range g.links.trials() {
		out.Trials = append(out.Trials, a.Addr())
	}
	return out
}

// endpoints returns the ends that probes of these uplinks connect to, apart from echo
// requests.
func endpoints(uplinks []config.Uplink) []firewall.Endpoint {
	var out []firewall.Endpoint
	for _, u := range uplinks {
		for _, t := range u.Probe.Targets {
			if by := t.Transport(); by != "" && u.Enabled {
				out = append(out, firewall.Endpoint{UDP: by == "udp", At: netip.AddrPortFrom(t.Addr, t.Port)})
			}
		}
	}
	return out
}

// deaf returns the uplinks whose own resolvers are answered for with an error: those that
// the default policy's sessions have left as they are lost, and those that do not offer the
// family now.
func (g goal) deaf(f failover.Family) []lane.Lane {
	var out []lane.Lane
	for _, u := range g.uplinks {
		link := g.links.links[u.Name]
		ladder := g.intent.Policies[0].Family[f]
		left := slices.Contains(ladder.Lost, u.Name) && !slices.Contains(ladder.Drained, u.Name)
		if u.Enabled && len(u.DNS) > 0 && (!link.Routable(f) || left) {
			out = append(out, g.lanes.Uplinks[u.Name])
		}
	}
	return out
}

// refused returns the pairs whose flows are answered at once since their policy blocks and
// has no way: new ones, and those of an uplink by which nothing can leave. What an uplink
// that is down still takes goes on by it, as it does where nothing blocks.
func (g goal) refused(f failover.Family) []firewall.Pair {
	var out []firewall.Pair
	for i, p := range g.intent.Policies {
		if !p.Family[f].Blocked {
			continue
		}
		n := g.lanes.Policies[p.Policy]
		out = append(out, firewall.Pair{Policy: n})
		for _, u := range g.uplinks {
			own := slices.Contains(g.ownUplinks(i), g.lanes.Uplinks[u.Name])
			if link := g.links.links[u.Name]; own && u.Enabled && !(link.Carrier && link.Routable(f)) {
				out = append(out, firewall.Pair{Uplink: g.lanes.Uplinks[u.Name], Policy: n})
			}
		}
	}
	return out
}

func (g goal) firewallUplink(u config.Uplink, strict func(string) bool) firewall.Uplink {
	name := g.links.name(u)
	out := firewall.Uplink{
		Lane: g.lanes.Uplinks[u.Name], Name: u.Name, Interface: name, MarkArrivals: strict(name),
		SNAT: u.SNAT != config.NoSNAT, SNATExcept: u.SNATExcept, SNAT6: snat6(u.SNAT6),
		Native4: slices.Concat(nativeOf(g.native, u, failover.IPv4), insideOf(u, g.links.last[u.Name])),
		Native6: slices.Concat(u.Prefix6.Prefixes, nativeOf(g.native, u, failover.IPv6), g.links.last[u.Name].prefixes),
		Plain:   slices.Concat(plainOf(g.plain, u, failover.IPv4), plainOf(g.plain, u, failover.IPv6)),
		Beside:  g.links.last[u.Name].beside,
		MTU:     g.links.last[u.Name].mtu,
		DNS:     u.DNS,
	}
	out.NPT, _ = g.translations(u)
	if configured := configuredName(u); configured != name {
		out.Former = configured // a device that was renamed may be named so again while nobody runs
	}
	for _, f := range failover.Families {
		out.Found = append(out.Found, nativeOf(g.native, u, f)...)
		last := g.links.last[u.Name]
		out.Source[f] = last.translated[f]
		for _, a := range last.addresses[f] {
			out.Links = append(out.Links, a.Masked())
		}
		if p := last.preferred[f]; f == failover.IPv4 && p.IsValid() && !p.IsSingleIP() && failover.IsPublic(p.Addr()) && learns(u, f) {
			out.Native4 = append(out.Native4, p.Masked()) // a public network that the provider routes here
		}
		for _, a := range last.elsewhere[f] {
			out.Borrowed = append(out.Borrowed, a.Addr())
		}
		for _, a := range last.sources(f) {
			out.Addresses = append(out.Addresses, a.Addr())
			if f == failover.IPv6 {
				out.Native6 = append(out.Native6, a.Masked())
			}
		}
	}
	return out
}

// exceptBridged returns an uplink that translates nothing from or to the networks on its
// own link.
func (g goal) exceptBridged(u firewall.Uplink) firewall.Uplink {
	u.SNATExcept, u.Plain = slices.Clone(u.SNATExcept), slices.Clone(u.Plain)
	for _, a := range g.links.last[u.Name].addresses[failover.IPv4] {
		u.SNATExcept = append(u.SNATExcept, a.Masked()) // as sources and as destinations
	}
	for _, a := range g.links.last[u.Name].addresses[failover.IPv6] {
		// As sources they are native in any case.
		u.Plain = append(u.Plain, firewall.Ends{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), To: a.Masked()})
	}
	return u
}

func snat6(s config.SNAT) firewall.SNAT6 {
	switch s {
	case config.Masquerade:
		return firewall.Masquerade
	case config.NoSNAT:
		return firewall.None
	case config.Foreign, config.NPT: // what is in no translated prefix
		return firewall.Foreign
	}
	panic("daemon: unknown snat6 " + string(s))
}

// ownUplinks returns the lanes of a policy's own uplinks, in their order.
func (s setup) ownUplinks(policy int) []lane.Lane {
	var out []lane.Lane
	for _, tier := range s.engine.Policies[policy].Tiers {
		for _, share := range tier {
			out = append(out, s.lanes.Uplinks[share.Uplink])
		}
	}
	return out
}

// adoption returns what the engine adopts from an earlier run: the state that the
// kernel still holds, and the learned patience.
func (s setup) adoption(held routing.State, lost [2][]firewall.Pair, patience, lapses map[string][2]time.Duration) failover.Adopt {
	a := failover.Adopt{Carrying: map[string][2][]string{}, Lost: map[string][2][]string{}, Patience: patience, Lapses: lapses}
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

// lostUplinks returns, by family, the uplinks that a policy's sessions have left as they
// are lost, sorted. One that is drained works, and what main has to lead there stays.
func (g goal) lostUplinks() (lost [2][]string) {
	for _, f := range failover.Families {
		for _, p := range g.intent.Policies {
			for _, name := range p.Family[f].Lost {
				if !slices.Contains(p.Family[f].Drained, name) {
					lost[f] = append(lost[f], name)
				}
			}
		}
		slices.Sort(lost[f])
		lost[f] = slices.Compact(lost[f])
	}
	return lost
}

// lost returns the pairs whose flows have to leave, according to the intent.
func (g goal) lost(f failover.Family) []firewall.Pair {
	var out []firewall.Pair
	for _, p := range g.intent.Policies {
		for _, name := range p.Family[f].Lost {
			out = append(out, g.pair(name, p.Policy))
		}
	}
	return out
}

func (s setup) pair(uplink, policy string) firewall.Pair {
	return firewall.Pair{Uplink: s.lanes.Uplinks[uplink], Policy: s.lanes.Policies[policy]}
}

// moves returns the work to be done for each of the lost pairs.
func (g goal) moves(f failover.Family) []move {
	var out []move
	for _, p := range g.intent.Policies {
		for _, name := range p.Family[f].Lost {
			out = append(out, g.move(p, f, name))
		}
	}
	return out
}

// Why sessions leave an uplink.
const (
	whyLost     = "the uplink is lost and the policy has another"
	whyDegraded = "the uplink is degraded, and on_degraded is move"
)

func (g goal) move(p failover.PolicyIntent, f failover.Family, uplink string) move {
	todo := part{family: f}
	pair := g.pair(uplink, p.Policy)
	// Sockets have no policy: they move with the default policy's sessions.
	if pair.Policy == lane.DefaultPolicy {
		for _, a := range g.links.last[uplink].exclusive(f) {
			todo.addresses = append(todo.addresses, a.Addr())
		}
	}
	todo.ways = g.ways(p.Family[f], uplink)
	m := move{
		layout: g.layout, uplink: uplink, policy: p.Policy, pair: pair, parts: []part{todo},
		vain: !g.links.last[uplink].offered && !g.wasOffered(uplink), why: whyLost,
	}
	if slices.Contains(p.Family[f].Drained, uplink) {
		m.drained, m.why = true, "the time after the failback (on_failback) is over"
		m.spared = firewall.Spared{Bound: true, To: resolversOf(g.setup, uplink)}
		if g.engine.Sessions.OnFailback.After == 0 {
			m.why = "a failback has left the uplink, and on_failback is move"
		}
	}
	return m
}

// resolversOf are an uplink's own.
func resolversOf(s setup, uplink string) []netip.Addr {
	for _, u := range s.uplinks {
		if u.Name == uplink {
			return u.DNS
		}
	}
	return nil
}

// ways are the interfaces of a ladder, except for that of one uplink.
func (g goal) ways(l failover.Ladder, without string) []string {
	var out []string
	for _, rung := range l.Rungs {
		for _, share := range rung.Shares {
			if share.Uplink != without {
				out = append(out, g.links.links[share.Uplink].Interface)
			}
		}
	}
	return out
}

// barredNow returns the work for flows of policies that block and, by the goal before
// this one, had an uplink that they have no more.
func (g goal) barredNow(before, now firewall.Goal) []move {
	known := map[firewall.Pair]bool{}
	for _, pair := range before.Barred() {
		known[pair] = true
	}
	var out []move
	for _, pair := range now.Barred() {
		if known[pair] {
			continue
		}
		had := slices.ContainsFunc(before.Policies, func(p firewall.Policy) bool { return p.Lane == pair.Policy })
		i := slices.IndexFunc(g.intent.Policies, func(p failover.PolicyIntent) bool { return g.lanes.Policies[p.Policy] == pair.Policy })
		uplink, ok := g.uplinkOf(pair.Uplink)
		if !had || i < 0 || !ok {
			continue
		}
		p := g.intent.Policies[i]
		m := move{layout: g.layout, uplink: uplink, policy: p.Policy, pair: pair, why: "the policy blocks and has the uplink no more"}
		for _, f := range failover.Families {
			m.parts = append(m.parts, part{family: f, ways: g.ways(p.Family[f], uplink)})
		}
		out = append(out, m)
	}
	return out
}

// wasOffered reports whether the uplink was offered in any family in an earlier run, or
// before the last reload.
func (s setup) wasOffered(uplink string) bool {
	return slices.ContainsFunc(s.engine.Uplinks, func(u failover.Uplink) bool {
		return u.Name == uplink && (u.Family[failover.IPv4].Seen || u.Family[failover.IPv6].Seen)
	})
}

// interfaces returns the interfaces of the uplinks that are present.
func (g goal) interfaces() []routing.Interface {
	var out []routing.Interface
	for _, u := range g.uplinks {
		if link := g.links.links[u.Name]; u.Enabled && link.Present {
			out = append(out, routing.Interface{Name: link.Interface, Index: link.Index})
		}
	}
	return out
}
