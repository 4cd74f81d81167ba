package system

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// entry adds a conntrack entry of fiber's default policy with conntrack(8), whose TCP
// handshake is over: as kernels before 6.3 keep it for five days after its flow was
// reset, and as a helper's expected flow inherits it from its master.
const entry = `conntrack -I -t 300 -p %s -s %s -d %s --sport %d --dport %d --src-nat %s -m 0x01c00000`

// After a move, a client that uses the ports of an old connection again is not refused,
// and an expected flow follows its master: what is left of the moved flows is deleted,
// also where it has a static address of the lost uplink.
func TestLeftOverFlows(t *testing.T) {
	scenario(t, func(t *trial) {
		const port = 1000
		g := startGateway(t, usual, twoUplinks)
		f := g.Break(fiber, "black-hole")
		g.Await("lte to carry", lab.CarriedBy("lte"))
		g.Until("fiber to be lost", func() bool {
			return strings.Contains(g.out("nft list map inet swerve dead_ipv4"), "0x01c00000") &&
				strings.Contains(g.out("nft list map inet swerve dead_ipv6"), "0x01c00000")
		})
		g.goBy(lte, g.session(g.Client, traffic.UDPSessions, lab.Servers[failover.IPv4], 50))
		for _, family := range failover.Families {
			from, to := lanClient[family], lab.Servers[family]
			static := g.addressOf(fiber, family).Next().Next() // of the uplink's network, on no interface
			for _, proto := range []string{"tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED", "udp -u SEEN_REPLY"} {
				g.out(fmt.Sprintf(entry, proto, from, to, port, traffic.Port, static))
			}
			g.connects(netip.AddrPortFrom(from, port), netip.AddrPortFrom(to, traffic.Port))
			g.speaks(netip.AddrPortFrom(from, port), netip.AddrPortFrom(to, traffic.Port))
		}
		g.Mend(f)
	})
}

// connects checks that a client on the LAN can connect from an address and port.
func (g *gateway) connects(from, to netip.AddrPort) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), time.Minute)
	defer cancel()
	err := g.Client.Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
		c, err := d.DialContext(ctx, "tcp", to.String())
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		g.Errorf("connect from %s to %s: %v\n%s", from, to, err, g.out("conntrack -L -p tcp"))
	}
}

// speaks waits until packets of a UDP socket on the LAN, which is bound to an address
// and port, leave by lte: the entry is answered there.
func (g *gateway) speaks(from, to netip.AddrPort) {
	g.Helper()
	var c net.Conn
	err := g.Client.Do(func() (err error) {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		g.Fatal(err)
	}
	defer c.Close()
	family := failover.FamilyOf(to.Addr())
	list := fmt.Sprintf("conntrack -L -p udp --sport %d -f %s --reply-dst %s", from.Port(), family, g.addressOf(lte, family))
	g.Until("a UDP flow of "+from.String()+" by lte", func() bool {
		c.Write([]byte("?"))
		return g.out(list) != ""
	})
}
