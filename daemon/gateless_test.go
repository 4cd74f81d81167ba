package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"swerve/control"
)

// Under `uplinks: auto` a default route without a gateway on an Ethernet whose provider
// does not answer for all addresses, and one in a table of the user's own, are not
// taken: the problems send the reader there, and not to the modem.
func TestAutoSaysWhatItDoesNotTake(t *testing.T) {
	g := newGateway(t)
	g.must(os.WriteFile(g.config(), fmt.Appendf(nil, `
uplinks: auto
probe: {targets: [192.0.2.77]}
control: {socket: %s, group: ""}
state: %s/state
`, g.socket(), g.folder), 0o600))
	g.sh(`ip -4 route del default dev wan1; ip -6 route del default dev wan1
		ip -4 route add default dev wan1 metric 50
		ip -4 route add default via 198.51.100.1 dev wan1 table 100`)
	p := g.start()
	p.await("what is not taken, and why", func(s *control.Status) bool {
		bare, one := problemOf(s, "not-an-uplink", "wan1"), problemOf(s, "one-uplink", "uplinks")
		return bare != nil && bare.Severity == control.Info && strings.Contains(bare.Remedy, "with via there: the one of wan1") &&
			one != nil && strings.Contains(one.Remedy, "ip route show table all") &&
			problemOf(s, "no-gateway", "wan0") == nil && problemOf(s, "not-an-uplink", "wan0") != nil
	})
	g.sh("ip -4 route replace default via 198.51.100.1 dev wan1 metric 50")
	p.await("wan1 is a candidate", func(s *control.Status) bool {
		usual := problemOf(s, "not-an-uplink", "wan1")
		return usual != nil && !strings.Contains(usual.Remedy, "with via")
	})
}
