package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// DefaultRoute is a default route that the kernel holds in its main table, of
// either family and not of Swerve's own making.
type DefaultRoute struct {
	Interface string
	// Metric of the route; the lower is preferred.
	Metric int
}

// Auto makes the uplinks that `uplinks: auto` means: one for each interface that
// holds a default route, in the order of their least metrics, and of their names
// where those are equal; 63 at most. Each has the file's probe and health, and a
// name made from its interface's. The same interface has the same name whatever
// other routes there are, unless two interfaces differ in special characters
// alone.
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

// inOrder lists the interfaces of routes, each once, the preferred first.
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

// autoNames gives each interface a name of its own that an uplink may have.
// Interfaces whose own names will do come first, so that these keep them.
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

// maxName is how long a name may be; a number of two digits has to fit behind it.
const maxName = 31

// autoName makes a name of an interface's: lower case, every foreign character
// a hyphen, a letter first.
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

func freeName(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		suffix := fmt.Sprintf("-%d", n)
		free = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	return free
}
