package daemon

import (
	"maps"
	"reflect"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
)

// An uplink is known by its name, but what is known of it, its lane and with it its
// sessions belong to the interface. If a configuration has another name for an
// interface, all of that goes on under the new name.

// renames are what a configuration names anew: former names by new ones.
type renames struct{ uplinks, policies map[string]string }

// renamedUplinks returns the former names of those uplinks whose interface was an
// uplink by another name. links is what was known of these.
func renamedUplinks(past, next []config.Uplink, links picture) map[string]string {
	former := map[string]string{}
	for _, u := range next {
		i := slices.IndexFunc(past, func(p config.Uplink) bool { return sameInterface(p, u, links) })
		if i >= 0 && past[i].Name != u.Name {
			former[u.Name] = past[i].Name
		}
	}
	return former
}

// sameInterface reports whether an uplink's interface is the one of a former uplink,
// by what was configured or by the name that the former one has in the kernel.
func sameInterface(past, next config.Uplink, links picture) bool {
	if past.Interface == next.Interface {
		return true
	}
	name := configuredName(next)
	return name != "" && links.links[past.Name].Interface == name
}

// renamedSince returns the former names of uplinks whose interface had another name
// in an earlier run: that of the remembered lane which the kernel's rules give the
// interface.
func renamedSince(uplinks []config.Uplink, inKernel, remembered map[string]lane.Lane) map[string]string {
	former := map[string]string{}
	for _, u := range uplinks {
		n, ok := inKernel[configuredName(u)]
		if !ok || remembered[u.Name] == n {
			continue
		}
		for name, has := range remembered {
			if has == n {
				former[u.Name] = name
			}
		}
	}
	return former
}

// renamedPolicies returns the former names of policies: of those that have come,
// each with one that is gone and used the same uplinks in the same order.
func renamedPolicies(past, next []failover.Policy, uplinks map[string]string) map[string]string {
	known := func(list []failover.Policy, name string) bool {
		return slices.ContainsFunc(list, func(p failover.Policy) bool { return p.Name == name })
	}
	former := map[string]string{}
	for _, p := range next {
		if known(past, p.Name) {
			continue
		}
		wanted := formerTiers(p.Tiers, uplinks)
		for _, was := range past {
			_, taken := valueIn(former, was.Name)
			if !taken && !known(next, was.Name) && was.Block == p.Block && reflect.DeepEqual(was.Tiers, wanted) &&
				reflect.DeepEqual(was.Tiers6, formerTiers(p.Tiers6, uplinks)) {
				former[p.Name] = was.Name
				break
			}
		}
	}
	return former
}

// formerTiers returns tiers with the former names of their uplinks.
func formerTiers(tiers [][]failover.Share, former map[string]string) [][]failover.Share {
	var out [][]failover.Share
	for _, tier := range tiers {
		var shares []failover.Share
		for _, share := range tier {
			if name, ok := former[share.Uplink]; ok {
				share.Uplink = name
			}
			shares = append(shares, share)
		}
		out = append(out, shares)
	}
	return out
}

// valueIn returns the key of a value.
func valueIn[V comparable](m map[string]V, value V) (string, bool) {
	for k, v := range m {
		if v == value {
			return k, true
		}
	}
	return "", false
}

// rekeyed returns a copy of a map by name, with what it has of former names under
// the new ones.
func rekeyed[V any](m map[string]V, former map[string]string) map[string]V {
	if len(former) == 0 || len(m) == 0 {
		return m
	}
	out := maps.Clone(m)
	for now, was := range former {
		delete(out, now)
		delete(out, was)
	}
	for now, was := range former {
		if v, ok := m[was]; ok {
			out[now] = v
		}
	}
	return out
}

// renamed returns the state under new names.
func (s state) renamed(r renames) state {
	s.Lanes = lanes{Uplinks: rekeyed(s.Lanes.Uplinks, r.uplinks), Policies: rekeyed(s.Lanes.Policies, r.policies)}
	s.Seen, s.Native = rekeyed(s.Seen, r.uplinks), rekeyed(s.Native, r.uplinks)
	s.Plain, s.Proven = rekeyed(s.Plain, r.uplinks), rekeyed(s.Proven, r.uplinks)
	s.Patience, s.Lapses = rekeyed(s.Patience, r.uplinks), rekeyed(s.Lapses, r.uplinks)
	s.Silences, s.Holds = rekeyed(s.Silences, r.uplinks), rekeyed(s.Holds, r.uplinks)
	s.Overflows = s.Overflows.renamed(r.uplinks, r.policies)
	s.Departures = s.Departures.renamed(r.uplinks, r.policies)
	s.Overrides = s.Overrides.renamed(r)
	return s
}

// renamed returns what is known of the links under new names.
func (p picture) renamed(former map[string]string) picture {
	return picture{
		links: rekeyed(p.links, former), last: rekeyed(p.last, former), misnamed: rekeyed(p.misnamed, former),
		lan: p.lan,
	}
}

// rename prepares for uplinks that have new names: counts by the former ones begin
// anew, since probes under both may still be counted.
func (c *probeCheck) rename(former map[string]string) {
	for now, was := range former {
		for _, name := range []string{now, was} {
			c.forget(name)
			delete(c.sent, name)
		}
	}
	c.answers.rename(former)
}

// rename continues to judge under new names: where answers come in is by lane, which
// is the interface's.
func (c *answerCheck) rename(former map[string]string) {
	c.from, c.came, c.source = rekeyed(c.from, former), rekeyed(c.came, former), rekeyed(c.source, former)
}

// rename continues to count under new names.
func (c *counters) rename(former map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures, c.samples = rekeyed(c.figures, former), rekeyed(c.samples, former)
	c.probes, c.tallies = rekeyed(c.probes, former), rekeyed(c.tallies, former)
}
