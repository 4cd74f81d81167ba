package vm

import (
	"slices"
	"strings"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// problem is the status's problem with a code about an object; nil: there is none.
func (s *site) problem(code, object string) *control.Problem {
	st := s.status()
	i := slices.IndexFunc(st.Problems, func(p control.Problem) bool { return p.Code == code && p.Object == object })
	if i < 0 {
		return nil
	}
	return &st.Problems[i]
}

// uplinkInVRF puts the second uplink into a VRF: it is used no more, and told; the first
// one's traffic notices nothing. Out of it, it is an uplink again.
func (s *site) uplinkInVRF(c *traffic.Client) {
	s.prefers(lab.Fiber)
	before, begin := s.switches(), time.Now()
	s.run(`printf '[NetDev]\nName=vrf-wan\nKind=vrf\n[VRF]\nTable=30\n' >/etc/systemd/network/15-vrf-wan.netdev
printf '[Match]\nName=vrf-wan\n' >/etc/systemd/network/15-vrf-wan.network
mkdir -p /etc/systemd/network/20-wan1.network.d
printf '[Network]\nVRF=vrf-wan\n' >/etc/systemd/network/20-wan1.network.d/vrf.conf
networkctl reload`)
	s.await("wan1 to be in its VRF", func() bool {
		return strings.Contains(s.try("ip route show table 30"), "default") && strings.Contains(s.try("ip link show wan1"), "master vrf-wan")
	})
	s.await("the VRF to be told", func() bool { return s.problem("uplink-in-vrf", "wan1") != nil })
	if log := s.since(begin); s.switches() != before {
		s.t.Errorf("traffic of the other uplink moved:\n%s", log)
	}
	s.by(c, lab.Fiber)
	s.t.Logf("the LAN by the other uplink: %v", c.Measure(begin, time.Now()))
	s.run("rm /etc/systemd/network/20-wan1.network.d/vrf.conf; networkctl reload; ip link set wan1 nomaster; ip link del vrf-wan; rm /etc/systemd/network/15-vrf-wan.*; networkctl reload; networkctl reconfigure wan1")
	s.settled()
}

// lanInVRF puts the LAN into a VRF whose table has no default, so that what it does not
// know goes on to main, and to Swerve's rules.
func (s *site) lanInVRF(c *traffic.Client) {
	s.run("ip link add vrf-lan up type vrf table 20 && ip link set lan0 master vrf-lan && ip route add " + lab.LAN4.String() + " dev lan0")
	s.by(c, lab.Fiber)
	onset, mend := s.breakFiber(s.sessions(c))
	s.t.Logf("a LAN in a VRF: %v", c.Measure(onset, time.Now()))
	mend()
	s.run("ip link set lan0 nomaster && ip link del vrf-lan")
	s.by(c, lab.Fiber)
}
