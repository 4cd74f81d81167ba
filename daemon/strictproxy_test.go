package daemon

import (
	"testing"

	"swerve/control"
)

// A transparent proxy runs, beside which the reverse path cannot depend on marks, and the
// kernel filters strictly. An uplink that was down is seen to answer again all the same.
func TestStrictFilterBesideATransparentProxy(t *testing.T) {
	g := newGateway(t)
	_, err := g.isp.Run("sh", "-ec", "ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad")
	g.must(err)
	g.sh(`for d in all wan0 wan1; do echo 1 >/proc/sys/net/ipv4/conf/$d/rp_filter; done
ip rule add fwmark 1/1 lookup 99; ip route add local default dev lo table 99`)
	g.configureBeyond("")
	p := g.start()
	p.await("fiber carries", func(s *control.Status) bool { return carried(s, "fiber") })
	g.hushOn("wan0", true)
	p.await("fiber is down, and lte carries", func(s *control.Status) bool {
		return carried(s, "lte") && s.Uplinks[0].IPv4.State == control.Down
	})
	g.hushOn("wan0", false)
	p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
}
