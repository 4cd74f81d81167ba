package daemon

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"swerve/control"
	"swerve/testenv/netns"
)

// An uplink whose interface does not exist yet waits and reports that. While the
// interface is set up step by step, the problem names what is still missing; after
// the last step the uplink is used.
func TestInterfaceThatComesLater(t *testing.T) {
	g := newGateway(t)
	text, err := os.ReadFile(g.config())
	g.must(err)
	g.must(os.WriteFile(g.config(), []byte(strings.Replace(string(text), "wan1", "usb0", 1)), 0o600))
	p := g.start()
	const families = "lte is down in ipv4 and ipv6: "
	waits := func(reason, remedy string) {
		t.Helper()
		p.await(reason, func(s *control.Status) bool {
			told := problemOf(s, "uplink-down", "lte")
			return len(s.Uplinks) == 2 && s.Uplinks[0].IPv4.State == control.Up && told != nil &&
				strings.Contains(told.Text, reason) && strings.Contains(told.Remedy, remedy)
		})
	}
	waits(families+"interface usb0 is missing", "plug in or name the interface usb0")
	g.must(netns.Veth(g.ns, "usb0", g.isp, "usb0"))
	waits(families+"interface usb0 is switched off", "ip link set usb0 up")
	g.must(g.ns.SetUp("usb0"))
	waits(families+"no carrier", "check the cable or the modem on usb0")
	g.must(g.isp.SetUp("usb0"))
	waits(families+"no address", "check why usb0 has no address")
	g.must(g.isp.AddAddr("usb0", netip.MustParsePrefix("192.0.2.1/24")))
	g.must(g.ns.AddAddr("usb0", netip.MustParsePrefix("192.0.2.2/24")))
	waits("no gateway", "name it as gateway:")
	g.sh("ip -4 route add default via 192.0.2.1 dev usb0 proto dhcp metric 102")
	p.await("lte is up, and says nothing of IPv6, which it never had", func(s *control.Status) bool {
		return s.Uplinks[1].IPv4.State == control.Up && s.Uplinks[1].IPv6.State == control.Absent && untroubled(s)
	})
	p.await("its table, which moves nothing and may wait", func(*control.Status) bool {
		return strings.Contains(g.sh("ip -4 route show table 5302"), "via 192.0.2.1 dev usb0")
	})
	s, err := p.client.Status(t.Context())
	g.must(err)
	if s.SwitchesTotal != 0 {
		t.Errorf("traffic moved: %+v", s.LastSwitch)
	}
}

// problemOf returns the standing problem with a code and an object; nil if there is
// none.
func problemOf(s *control.Status, code, object string) *control.Problem {
	for _, p := range s.Problems {
		if p.Code == code && p.Object == object {
			return &p
		}
	}
	return nil
}
