package routing

import "testing"

// A transparent proxy is known by a rule that selects by a mark and a table that delivers
// to this machine, in whatever order they come.
func TestProxied(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   bool
	}{
		"nothing":                  {"true", false},
		"as in the kernel's docs":  {"ip rule add fwmark 1 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100", true},
		"under a mask":             {"ip rule add pref 50 fwmark 1/1 lookup 99; ip route add local default dev lo table 99", true},
		"a table with a name":      {"ip rule add fwmark 1 lookup 70000; ip route add local default dev lo table 70000", true},
		"a narrower network":       {"ip rule add fwmark 1 lookup 100; ip route add local 192.168.0.0/16 dev lo table 100", true},
		"the route first":          {"ip route add local default dev lo table 100; ip rule add fwmark 1 lookup 100", true},
		"a rule alone":             {"ip rule add fwmark 1 lookup 100; ip route add default dev lo table 100", false},
		"a route alone":            {"ip route add local default dev lo table 100; ip rule add fwmark 1 lookup 101", false},
		"without a mark":           {"ip rule add from 192.0.2.9 lookup 100; ip route add local default dev lo table 100", false},
		"the table local":          {"ip rule add fwmark 1 lookup local", false},
		"of IPv6, without a check": {"ip -6 rule add fwmark 1 lookup 100; ip -6 route add local default dev lo table 100", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.sh("ip link set lo up; " + c.script)
			rules, err := l.kernel.OtherRules()
			l.must(err)
			got, err := l.kernel.Proxied(rules)
			l.must(err)
			if got != c.want {
				t.Errorf("%q: %v", c.script, got)
			}
		})
	}
}
