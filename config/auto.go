package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// DefaultRoute is a default route in the kernel's main table, of either family,
// that Swerve did not install.
type DefaultRoute struct {
	Interface string
	// Metric of the route; lower is preferred.
	Metric int
}

// Auto returns the uplinks that `uplinks: auto` stands for: one for each interface
// that holds a default route, ordered by the lowest metric and then by the name
// of the interface; at most 63. Each has the file's probe and health sections, and
// a name derived from its interface. An interface has the same name whatever
// other routes there are, unless the names of two interfaces differ only in
// special characters.
func (c *Config) Auto(routes []DefaultRoute) []Uplink {
	interfaces := inOrder(routes)
	names := autoNames(interfaces)
	var list []Uplink
	for _, i := range interfaces[:min(len(interfaces), maxUplinks)] {
		u := newUplink(c.Probe, c.Health)
		u.Name, u.Interface = names[i], i
		list = append(list, u)
	}
	return list
}

// inOrder lists the interfaces of routes, each once, the most preferred first.
func inOrder(routes []DefaultRoute) []string {
	sorted := slices.SortedFunc(slices.Values(routes), func(a, b DefaultRoute) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Interface, b.Interface))
	})
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
