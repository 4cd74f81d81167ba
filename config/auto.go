package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"swerve/failover"
)

// DefaultRoute is a default route in the kernel's main table, of either family,
// that Swerve did not install.
type DefaultRoute struct {
	Interface string
	// Metric of the route; lower is preferred.
	Metric int
	// Weight is the interface's share of a route that several interfaces of this metric
	// share, 1 to 255; 0 for a route of its own.
	Weight int
}

// Compare orders routes by metric, then those of one interface by its name. Those of a
// shared route follow, and are equal.
func (a DefaultRoute) Compare(b DefaultRoute) int {
	alone := cmp.Compare(min(a.Weight, 1), min(b.Weight, 1))
	if by := cmp.Or(cmp.Compare(a.Metric, b.Metric), alone); by != 0 || a.Weight > 0 {
		return by
	}
	return cmp.Compare(a.Interface, b.Interface)
}

// Auto returns the uplinks that `uplinks: auto` stands for: one for each interface
// that holds a default route, ordered by the lowest metric and then by the name
// of the interface, those of a shared route as they are listed; at most 63. Each has the file's probe and health sections, and
// a name derived from its interface. An interface has the same name whatever
// other routes there are, unless the names of two interfaces differ only in
// special characters. Interfaces that share a default route share a tier of the
// default policy in [Config.Engine], by the same weights.
func (c *Config) Auto(routes []DefaultRoute) []Uplink {
	interfaces := inOrder(routes)
	names := autoNames(interfaces)
	var list []Uplink
	for _, i := range interfaces[:min(len(interfaces), maxUplinks)] {
		u := newUplink(c.Probe, c.Health)
		u.Name, u.Interface = names[i], i
		u.shared = sharedBy(routes, i)
		list = append(list, u)
	}
	return list
}

// shared is an uplink's part of a default route that several share.
type shared struct{ metric, weight int }

// sharedBy returns an interface's part in its best route.
func sharedBy(routes []DefaultRoute, name string) shared {
	var best *DefaultRoute
	for i, r := range routes {
		if r.Interface == name && (best == nil || r.Metric < best.Metric) {
			best = &routes[i]
		}
	}
	if best == nil || best.Weight == 0 {
		return shared{}
	}
	return shared{best.Metric, best.Weight}
}

// autoTiers returns tiers of one uplink each, except that those which share a default
// route share a tier.
func autoTiers(uplinks []Uplink) [][]failover.Share {
	var tiers [][]failover.Share
	tierOf := map[int]int{} // by metric
	for _, u := range uplinks {
		at, known := tierOf[u.shared.metric]
		switch {
		case u.shared.weight == 0:
			tiers = append(tiers, []failover.Share{{Uplink: u.Name, Weight: 1}})
		case known:
			tiers[at] = append(tiers[at], failover.Share{Uplink: u.Name, Weight: u.shared.weight})
		default:
			tierOf[u.shared.metric] = len(tiers)
			tiers = append(tiers, []failover.Share{{Uplink: u.Name, Weight: u.shared.weight}})
		}
	}
	return tiers
}

// inOrder lists the interfaces of routes, each once, the most preferred first.
func inOrder(routes []DefaultRoute) []string {
	sorted := slices.SortedStableFunc(slices.Values(routes), DefaultRoute.Compare)
	var list []string
	for _, r := range sorted {
		if !slices.Contains(list, r.Interface) && wrongInterface(r.Interface) == "" {
			list = append(list, r.Interface)
		}
	}
	return list
}

// autoNames assigns each interface a unique, valid uplink name. Interfaces whose
// names are valid already come first, so that they keep them.
func autoNames(interfaces []string) map[string]string {
	names, taken := map[string]string{}, map[string]bool{}
	sorted := slices.Sorted(slices.Values(interfaces))
	for _, fits := range []bool{true, false} {
		for _, i := range sorted {
			if namePattern.MatchString(i) == fits {
				names[i] = freeName(autoName(i), taken)
				taken[names[i]] = true
			}
		}
	}
	return names
}

// maxName bounds the length of a name, the number that freeName appends included.
const maxName = 31

// autoName derives an uplink name from that of an interface: in lower case, with
// a hyphen for every other character, and starting with a letter.
func autoName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, s)
	if s[0] < 'a' || s[0] > 'z' {
		s = "if" + s
	}
	return s[:min(len(s), maxName)]
}

// freeName returns the name, or, where it is taken, the name with the first free
// number from 2 appended.
func freeName(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		suffix := fmt.Sprintf("-%d", n)
		free = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	return free
}
