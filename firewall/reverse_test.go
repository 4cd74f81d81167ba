package firewall

import "testing"

// Only what looks up the way back by the device is a filter of reverse paths; our own
// table is none.
func TestFiltersReversePaths(t *testing.T) {
	l := newLab(t)
	l.apply()
	for _, c := range []struct {
		rule string
		want bool
	}{
		{"accept", false},
		{"fib daddr type local accept", false},
		{"fib saddr type local drop", false},
		{"fib daddr . iif type local accept", false},
		{"fib saddr . iif oif missing drop", true},
		{"fib saddr . mark . iif oif 0 drop", true},
		{`fib saddr . iif oifname "lan0" accept`, true},
	} {
		run(t, l.gw, "nft", "add table inet theirs; flush table inet theirs; add chain inet theirs c { type filter hook prerouting priority 0; }; add rule inet theirs c "+c.rule)
		inside(t, l.gw, func() error {
			got, err := l.kernel.FiltersReversePaths()
			if got != c.want {
				t.Errorf("%s: %v", c.rule, got)
			}
			return err
		})
	}
}
