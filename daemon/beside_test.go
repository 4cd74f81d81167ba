package daemon

import (
	"testing"

	"swerve/control"
	"swerve/testenv/netns"
)

// The gateway has one arm in the modem's network, and hosts there have it as their
// router: what the modem answers, it answers to them directly. They keep their address
// on that uplink, sessions of before the start too. A second network on the same link,
// to which the modem has no route, is masqueraded, and by the other uplink both are.
func TestHostsBesideTheGateway(t *testing.T) {
	g := newGateway(t)
	beside := netns.New(t)
	g.must(netns.Veth(g.isp, "port", beside, "eth0"))
	_, err := g.isp.Run("sh", "-ec", `ip link add br0 type bridge; ip link set br0 up; ip link set port master br0 up
ip addr flush dev wan0; ip link set wan0 master br0; ip addr add 203.0.113.1/24 dev br0; ip addr add 2001:db8:1::1/64 dev br0 nodad
ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad`)
	g.must(err)
	_, err = beside.Run("sh", "-ec", `ip link set eth0 up; ip addr add 203.0.113.60/24 dev eth0; ip addr add 10.77.0.60/24 dev eth0
ip route add default via 203.0.113.2; ip route add default via 10.77.0.1 table 77; ip rule add from 10.77.0.60 lookup 77`)
	g.must(err)
	// Without redirects, which would send the hosts to the modem themselves.
	g.sh(`for d in all wan0; do echo 0 >/proc/sys/net/ipv4/conf/$d/send_redirects; done
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip addr add 10.77.0.1/24 dev wan0`)
	g.configureBeyond("")
	server := g.mirror("198.18.0.77")
	// The modem's neighbours are not known yet, which may take longer than a dial waits.
	arrives := func(from, want string) {
		t.Helper()
		g.eventually("new sessions from "+from+" arrive as "+want, func() bool {
			s, err := dialFrom(t, beside, from, server)
			return err == nil && s.seen() == want
		})
	}
	arrives("203.0.113.60", "203.0.113.60")
	before, err := dialFrom(t, beside, "203.0.113.60", server)
	g.must(err)
	lives := func(when string) {
		t.Helper()
		if got := before.seen(); got != "203.0.113.60" {
			t.Errorf("%s, a session of before the start: %s", when, got)
		}
	}
	lives("before the start")
	p := g.run()
	p.await("fiber carries", func(s *control.Status) bool { return carried(s, "fiber") })
	lives("by fiber")
	arrives("203.0.113.60", "203.0.113.60")
	arrives("10.77.0.60", "203.0.113.2")
	g.hushOn("br0", true)
	p.await("lte carries", func(s *control.Status) bool { return carried(s, "lte") })
	arrives("203.0.113.60", "198.51.100.2")
	arrives("10.77.0.60", "198.51.100.2")
	g.hushOn("br0", false)
	p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
	lives("by fiber again")
	arrives("203.0.113.60", "203.0.113.60")
}
