package daemon

import "testing"

// Every address of a network is this machine's by a local route, for sockets that bind to
// any of them. Those that were silent before the start keep theirs too.
func TestNetworkOfOwnAddresses(t *testing.T) {
	g := newGateway(t)
	_, err := g.isp.Run("sh", "-ec", `ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad
ip route add 192.0.2.64/28 via 203.0.113.2; ip -6 route add 2001:db8:99::/64 via 2001:db8:1::2`)
	g.must(err)
	g.sh("ip route add local 192.0.2.64/28 dev lo; ip -6 route add local 2001:db8:99::/64 dev lo; sysctl -qw net.ipv6.ip_nonlocal_bind=1")
	g.configureBeyond("")
	from := [2]string{"192.0.2.70", "2001:db8:99::77"}
	g.run()
	for f, address := range []string{"198.18.0.77", "2001:db8:77::1"} {
		server := g.mirror(address)
		g.eventually("a session of "+from[f]+" keeps its address", func() bool {
			s, err := dialFrom(t, g.ns, from[f], server)
			return err == nil && s.seen() == from[f]
		})
	}
}
