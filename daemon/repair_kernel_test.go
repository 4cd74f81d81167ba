package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// Another program goes on removing the route in an uplink's own table, more often than it
// is restored. The kernel then takes the targets for hosts on the uplink's link and says
// that the probes are sent; that they have no answer says nothing of the uplink, which is
// well.
func TestMissingRouteIsNoEvidence(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	isp := "ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad; echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore\n"
	for i, device := range []string{"wan0", "wan1"} { // it has no link-local address to ask from
		isp += fmt.Sprintf("ip -6 neigh replace 2001:db8:%d::2 dev %s lladdr %s nud permanent\n", i+1, device, strings.Fields(g.sh("ip -o link show dev " + device + " | grep -o 'ether [^ ]*'"))[1])
	}
	_, err := g.isp.Run("sh", "-ec", isp)
	g.must(err)
	g.configureBeyond("")
	p := g.start()
	p.await("fiber carries", func(s *control.Status) bool { return carried(s, "fiber") })
	began := time.Now()
	end := g.churn(100*time.Millisecond, func(int) error {
		_, err := g.ns.Run("sh", "-c", "ip -4 route flush table 5301; ip -6 route flush table 5301; true")
		return err
	})
	p.await("that to be told", func(s *control.Status) bool {
		return slices.ContainsFunc(s.Problems, func(p control.Problem) bool { return p.Code == "contested" })
	})
	unsent := func(s *control.Status) bool { return s.Uplinks[0].IPv4.Unsent > 3 }
	p.await("probes without a route not to be sent", unsent)
	time.Sleep(max(0, 8*time.Second-time.Since(began))) // as long as nothing happens
	end()
	p.await("fiber to be up", func(s *control.Status) bool {
		return carried(s, "fiber") && s.Uplinks[0].IPv4.State == control.Up && s.Uplinks[0].IPv6.State == control.Up
	})
	for e, err := range p.client.Events(t.Context(), began, false) {
		g.must(err)
		switch d := e.Detail.(type) {
		case control.SwitchDetail, control.SessionsDetail:
			t.Errorf("%+v", d)
		case control.HealthDetail:
			if d.Uplink == "fiber" && (d.To == control.Down || d.To == control.Shunned) {
				t.Errorf("%+v", d)
			}
		}
	}
}
