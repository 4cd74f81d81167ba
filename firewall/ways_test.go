package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// The way of a flow is that of its protocol and ports, and is not sure where a mark
// that a rule matches would lead it elsewhere.
func TestWayOfAFlow(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l, p := newLab(t), plans[f]
			l.batch(p.flag, fmt.Sprintf(`rule add pref 100 ipproto udp lookup 900
				rule add pref 101 ipproto tcp dport 443 lookup 900
				route add default via %s dev wan1 table 900`, p.nextB))
			ask := func(protocol byte, port uint16, inbound bool) (device string, sure bool) {
				t.Helper()
				inside(t, l.gw, func() error {
					w, err := newWays(l.goal)
					if err != nil {
						return err
					}
					defer w.close()
					lan, err := w.handle.LinkByName("lan0")
					if err != nil {
						return err
					}
					client, host := netip.MustParseAddr(p.client), netip.MustParseAddr(p.host)
					asked := flow{family: f, src: client, dst: host, protocol: protocol, ports: [2]uint16{7, port}}
					if inbound {
						asked = flow{family: f, src: host, dst: client, protocol: protocol, ports: [2]uint16{port, 7}}
					}
					var way way
					way, sure = w.of(asked, client, lan.Attrs().Index, host)
					link, err := w.handle.LinkByIndex(way.index)
					if err == nil {
						device = link.Attrs().Name
					}
					return err
				})
				return device, sure
			}
			for _, c := range []struct {
				protocol byte
				port     uint16
				inbound  bool
				want     string
			}{
				{unix.IPPROTO_UDP, 53, false, "wan1"}, {unix.IPPROTO_TCP, 80, false, "wan0"}, {unix.IPPROTO_TCP, 443, false, "wan1"},
				{unix.IPPROTO_TCP, 443, true, "wan1"}, {unix.IPPROTO_GRE, 0, false, "wan0"},
			} {
				if got, sure := ask(c.protocol, c.port, c.inbound); got != c.want || !sure {
					t.Errorf("%+v: by %s, sure %t", c, got, sure)
				}
			}
			l.batch(p.flag, "rule add pref 102 fwmark 7 lookup 900")
			if got, sure := ask(unix.IPPROTO_TCP, 80, false); got != "wan0" || sure {
				t.Errorf("with a mark that leads elsewhere: by %s, sure %t", got, sure)
			}
		})
	}
}
