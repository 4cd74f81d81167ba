package daemon

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/ipv6"

	"swerve/control"
)

// advertise sends a router advertisement (RFC 4861, 4.2) from fiber's provider, with
// a lifetime in seconds, an MTU, a hop limit, and a high preference (RFC 4191).
func (g *gateway) advertise(lifetime uint16, mtu uint32, hopLimit byte) {
	g.t.Helper()
	const high = 1 << 3
	m := []byte{134, 0, 0, 0, hopLimit, high, byte(lifetime >> 8), byte(lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	m = append(m, 5, 1, 0, 0)
	m = binary.BigEndian.AppendUint32(m, mtu)
	g.must(g.isp.Do(func() error {
		c, err := net.ListenPacket("ip6:ipv6-icmp", "fe80::1%wan0")
		if err != nil {
			return err
		}
		defer c.Close()
		device, err := net.InterfaceByName("wan0")
		if err != nil {
			return err
		}
		to := &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: "wan0"}
		_, err = ipv6.NewPacketConn(c).WriteTo(m, &ipv6.ControlMessage{HopLimit: 255, IfIndex: device.Index}, to)
		return err
	}))
}

// What a router advertisement says of packets comes along into our routes; its
// lifetime does not: when the kernel's route expires while its router still answers,
// ours stay.
func TestRouterAdvertisementComesAlong(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	g.must(g.isp.AddAddr("wan0", netip.MustParsePrefix("fe80::1/64")))
	g.must(g.ns.AddAddr("wan0", netip.MustParsePrefix("fe80::2/64")))
	_, err := g.isp.Run("ip", "-6", "addr", "add", "2001:db8:77::1/128", "dev", "lo", "nodad")
	g.must(err)
	g.sh("ip -6 route del default dev wan0; sysctl -qw net.ipv6.conf.wan0.accept_ra=2 net.ipv6.route.gc_interval=1")
	inMain := func() string { return g.sh("ip -6 route show default dev wan0 proto ra") }
	has := func(lines []string, words ...string) bool {
		for _, line := range lines {
			for _, word := range words {
				if !strings.Contains(line+" ", " "+word+" ") {
					return false
				}
			}
		}
		return true
	}
	ours := func() (found []string) {
		for _, line := range g.ours("wan0") {
			if strings.Contains(line, "fe80::1") {
				found = append(found, line)
			}
		}
		return found
	}
	carries := func(words ...string) func() bool {
		return func() bool { lines := ours(); return len(lines) == 3 && has(lines, words...) }
	}
	g.advertise(1800, 1400, 33)
	g.eventually("the kernel makes a route", func() bool { return strings.Contains(inMain(), "mtu 1400") })
	p := g.start()
	p.await("both are up", allUp)
	g.eventually("our routes say the same", carries("mtu 1400", "hoplimit 33"))
	g.advertise(5, 1350, 34)
	g.eventually("our routes follow", carries("mtu 1350", "hoplimit 34"))
	g.eventually("the kernel's route expires", func() bool { return inMain() == "" })
	g.sh("ping -6 -c 1 -W 5 2001:db8:77::1")
	if lines := ours(); !carries("mtu 1350", "hoplimit 34")() || strings.Contains(strings.Join(lines, "\n"), "expires") {
		t.Errorf("after that ours are\n%s", strings.Join(lines, "\n"))
	}
	s, err := p.client.Status(t.Context())
	g.must(err)
	if s.Uplinks[0].IPv6.State != control.Up || s.SwitchesTotal != 0 {
		t.Errorf("the expiry is taken for an outage: %+v", s.Uplinks[0].IPv6)
	}
	g.advertise(1800, 1300, 64)
	g.eventually("our routes follow again", carries("mtu 1300", "hoplimit 64"))
}
