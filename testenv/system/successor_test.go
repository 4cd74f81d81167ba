package system

import (
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// third is the index of the last of three uplinks, "sat".
const third = 2

// threeUplinks has a third one, which is metered.
const threeUplinks = `uplinks:
  - {name: fiber, interface: wan0}
  - {name: lte, interface: wan1}
  - {name: sat, interface: wan2, metered: true}
health: {window: 5s, damping: {half_life: 2s, suppress: 12, reuse: 6}}
failback: {after: 2s, min_interval: 1s}
`

// However an uplink is lost, new flows go to the best of the others: none by a worse one,
// though that is metered and answers sooner.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		families     []failover.Family
	}{
		{name: "black-hole"},
		{"IPv4 address", "ip addr del 203.0.113.2/24 dev wan0", []failover.Family{failover.IPv4}},
		{"IPv6 address", "ip addr del 2001:db8:1::2/64 dev wan0", []failover.Family{failover.IPv6}},
		{"link deleted", "ip link del wan0", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, lab.Options{Uplinks: 3}, threeUplinks)
				g.leaks = true // as in TestAddressesGo
				g.Break(lte, "delay=40ms")
				g.Await("lte's answers to take longer", func(s *control.Status) bool {
					v4, v6 := s.Uplinks[lte].IPv4, s.Uplinks[lte].IPv6
					return v4.RTTMS != nil && v6.RTTMS != nil && min(*v4.RTTMS, *v6.RTTMS) > 60
				})
				if tc.families == nil {
					tc.families = failover.Families[:]
				}
				var fresh []*session
				for _, f := range tc.families {
					fresh = append(fresh, g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 200))
				}
				g.goBy(fiber, fresh...)
				if tc.script == "" {
					g.Break(fiber, tc.name)
				} else {
					g.shell(tc.script)
				}
				g.goBy(lte, fresh...)
				awaitResults()
				for _, s := range fresh {
					n := 0
					for _, r := range s.Log() {
						if r.Via == g.addressOf(third, s.family) {
							n++
						}
					}
					if n > 0 {
						t.Errorf("%s: %d of %d went by sat", s, n, len(s.Log()))
					}
				}
			})
		})
	}
}
