package system

import (
	"testing"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// A reload takes an uplink out of the configuration, or switches it off, whose interface is
// up. What came in by it for the gateway goes on by it where main leads there. Nothing has
// its address as the source on another uplink, not even a reset.
func TestUplinkTakenOut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, config string
		out, stays   int
	}{
		{"removed", "uplinks: [{name: lte, interface: wan1}]\n", fiber, lte},
		{"disabled", "uplinks: [{name: fiber, interface: wan0, enabled: false}, {name: lte, interface: wan1}]\n", fiber, lte},
		{"main leads elsewhere", "uplinks: [{name: fiber, interface: wan0}]\n", lte, fiber},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				up := g.Uplinks[tc.out]
				own, err := traffic.Serve(g.Gateway, up.Address4, up.Address6)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(own.Close)
				p := g.clients(fiber)
				var callers []*session
				for _, kind := range []traffic.Kind{traffic.UDPStream, traffic.TCPStream, traffic.UDPSessions, traffic.TCPSessions} {
					callers = append(callers, g.session(g.Internet, kind, up.Address4, 50), g.session(g.Internet, kind, up.Address6, 50))
				}
				g.goOn(callers...)
				g.put(tc.config)
				g.goBy(tc.stays, p.all()...)
				if tc.out == fiber {
					g.goOn(callers...)
				}
				g.put(quickRecovery)
				g.Await("fiber to carry", lab.Settled)
				g.goBy(fiber, p.fresh[:]...)
				g.goOn(callers...)
			})
		})
	}
}
