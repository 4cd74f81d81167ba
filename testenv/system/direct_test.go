package system

import (
	"strings"
	"testing"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// The default route of an Ethernet names no gateway, and the provider answers ARP for
// all addresses: the uplink is used as it was before the start. Once the provider
// answers no more it is left, and the problem names the cause.
func TestDefaultWithoutVia(t *testing.T) {
	scenario(t, func(t *trial) {
		g := newGateway(t, usual, quickRecovery)
		answerAll := func(on string) {
			if out, err := g.ISP[fiber].Run("sysctl", "-qw", "net.ipv4.conf.cust.proxy_arp="+on); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		answerAll("1")
		g.shell("ip -4 route del default dev wan0; ip -4 route add default dev wan0")
		g.Start()
		g.Await("fiber to carry, and all to be up", lab.Settled)
		if s := g.Status().Uplinks[fiber].IPv4; !s.OnLink || s.Gateway != nil {
			t.Errorf("the status has %+v", s)
		}
		p := g.clients(fiber)
		answerAll("0")
		g.shell("ip -4 neigh flush dev wan0")
		g.goBy(lte, p.fresh[failover.IPv4], p.udp[failover.IPv4])
		s := g.Await("the problem", func(s *control.Status) bool { return problem(s, "uplink-down", "fiber") != nil })
		if remedy := problem(s, "uplink-down", "fiber").Remedy; !strings.Contains(remedy, "no via") {
			t.Errorf("the remedy is %q", remedy)
		}
		answerAll("1")
		g.goBy(fiber, p.fresh[failover.IPv4])
	})
}
