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
	// Family has the interface's best route of each family. Where neither is told, Metric
	// and Weight are those of both.
	Family [2]Place
}

// Place is what determines an interface's place in one family's order.
type Place struct {
	// Held: the interface holds a default route of the family, or did when that was last
	// seen. The other fields are that route's.
	Held   bool `json:"held"`
	Metric int  `json:"metric"`
	// Preference is the router's own (RFC 4191): -1 high, 0 medium, 1 low.
	Preference int `json:"preference,omitempty"`
	Weight     int `json:"weight,omitempty"`
}

func (a Place) compare(b Place) int {
	return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Preference, b.Preference), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
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

// Taken is what is known of the interfaces that `uplinks: auto` stands for on a machine.
type Taken struct {
	// Routes are those of the interfaces taken for uplinks, the preferred one first; also
	// of interfaces that held one before.
	Routes []DefaultRoute
	// Candidates hold a default route, but no target is known to have answered through
	// them.
	Candidates []DefaultRoute
	// Assumed: nothing is known, so all interfaces with a default route are in Routes.
	Assumed bool
	// Unasked: a daemon that runs could not be asked.
	Unasked bool
}

// why says why nothing is known.
func (t Taken) why() string {
	if t.Unasked {
		return "as far as is known here: the daemon that runs answers root and the members of its group"
	}
	return "as no daemon is known to have asked"
}

// Notes says of the interfaces for which it matters that it is not known whether a
// target answers through them, one phrase each.
func (t Taken) Notes() []string {
	var list []string
	for _, d := range t.Candidates {
		list = append(list, d.Interface+": no target has answered through it so far; until one does it is not taken for an uplink, as for a LAN's default route by mistake")
	}
	if t.Assumed && len(t.Routes) > 0 {
		var names []string
		for _, d := range t.Routes {
			names = append(names, d.Interface)
		}
		list = append(list, and(names)+": no target has answered so far, "+t.why()+"; "+
			"shown as if one did through each, and an interface is taken only once one does")
	}
	return list
}

// Auto returns the uplinks that `uplinks: auto` stands for: one for each interface
// that holds a default route, ordered by the lowest metric and then by the name
// of the interface, those of a shared route as they are listed; at most 63. Each has the file's probe and health sections, and
// a name derived from its interface. An interface has the same name whatever
// other routes there are, unless the names of two interfaces differ only in
// special characters. Interfaces that share a default route share a tier of the
// default policy in [Config.Engine], by the same weights. That policy's order is, in each
// family, the one of that family's routes.
func (c *Config) Auto(routes []DefaultRoute) []Uplink {
	interfaces := inOrder(routes)
	names := autoNames(interfaces)
	var list []Uplink
	for _, i := range interfaces[:min(len(interfaces), maxUplinks)] {
		u := newUplink(c.Probe, c.Health)
		u.Name, u.Interface = names[i], i
		u.place = [2]Place{placeOf(routes, i, failover.IPv4), placeOf(routes, i, failover.IPv6)}
		list = append(list, u)
	}
	return list
}

// placeOf returns an interface's place in the order of a family: that of its best route.
func placeOf(routes []DefaultRoute, name string, f failover.Family) Place {
	var best *DefaultRoute
	for i, r := range routes {
		switch {
		case r.Interface != name:
		case r.Family[f].Held:
			return r.Family[f]
		case best == nil || r.Metric < best.Metric:
			best = &routes[i]
		}
	}
	if best == nil {
		return Place{}
	}
	return Place{Held: best.Family == [2]Place{}, Metric: best.Metric, Weight: best.Weight}
}

// autoTiers returns tiers of one uplink each, except that those which share a default
// route share a tier, in the order of a family's default routes. Uplinks without one
// follow, in the order of the list.
func autoTiers(uplinks []Uplink, f failover.Family) [][]failover.Share {
	var tiers [][]failover.Share
	var before Place
	for _, u := range slices.SortedStableFunc(slices.Values(uplinks), func(a, b Uplink) int {
		switch x, y := a.place[f], b.place[f]; {
		case x.Held && y.Held:
			return x.compare(y)
		case x.Held:
			return -1
		case y.Held:
			return 1
		}
		return 0
	}) {
		place := u.place[f]
		share := failover.Share{Uplink: u.Name, Weight: max(1, place.Weight)}
		if n := len(tiers) - 1; n >= 0 && place.Weight > 0 && place.Held == before.Held && place.compare(before) == 0 {
			tiers[n] = append(tiers[n], share)
		} else {
			tiers = append(tiers, []failover.Share{share})
		}
		before = place
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
