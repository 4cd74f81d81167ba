package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/netns"
)

// delegated gives the gateway a LAN with a prefix of each provider, and returns the
// LAN's client. In main each provider's default route is for its own prefixes.
func (g *gateway) delegated() *netns.NS {
	g.t.Helper()
	lan := netns.New(g.t)
	g.must(netns.Veth(g.ns, "lan0", lan, "lan0"))
	for i, ns := range []*netns.NS{g.ns, lan} {
		g.must(ns.SetUp("lan0"))
		for _, network := range []string{"2001:db8:100:1::%d/64", "2001:db8:200:1::%d/64", "2001:db8:200:2::%d/64"} {
			g.must(ns.AddAddr("lan0", netip.MustParsePrefix(fmt.Sprintf(network, i+1))))
		}
	}
	// A router asks for its neighbours with a link-local address.
	for i, ns := range []*netns.NS{g.isp, g.ns} {
		for _, dev := range []string{"wan0", "wan1"} {
			g.must(ns.AddAddr(dev, netip.MustParsePrefix(fmt.Sprintf("fe80::%d/64", i+1))))
		}
	}
	g.must(g.ns.AddAddr("lan0", netip.MustParsePrefix("fe80::1/64")))
	_, err := lan.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:100:1::1")
	g.must(err)
	_, err = g.isp.Run("sh", "-ec", `ip -6 addr add 2001:db8:77::1/128 dev lo nodad
		ip -6 route add 2001:db8:100::/56 via 2001:db8:1::2; ip -6 route add 2001:db8:200::/56 via 2001:db8:2::2`)
	g.must(err)
	g.sh(`sysctl -qw net.ipv6.conf.all.forwarding=1
		ip -6 route flush default
		for from in 2001:db8:1::/64 2001:db8:100::/56; do ip -6 route add default from $from via fe80::1 dev wan0 proto static metric 512; done
		for from in 2001:db8:2::/64 2001:db8:200::/56; do ip -6 route add default from $from via fe80::1 dev wan1 proto static metric 512; done`)
	return lan
}

// mirror runs a server behind the providers that tells each client at each byte
// from where it came.
func (g *gateway) mirror(address string) netip.AddrPort {
	g.t.Helper()
	l, err := g.isp.Listen("tcp", net.JoinHostPort(address, "0"))
	g.must(err)
	g.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for b := make([]byte, 1); ; {
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
					fmt.Fprintln(c, from)
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// session is a TCP session that shows the server with which address it arrives.
type session struct{ net.Conn }

// dialFrom opens a session from an address.
func dialFrom(t *testing.T, ns *netns.NS, from string, to netip.AddrPort) (session, error) {
	t.Helper()
	var c net.Conn
	err := ns.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err = d.DialContext(ctx, "tcp", to.String())
		return err
	})
	if err != nil {
		return session{}, err
	}
	t.Cleanup(func() { c.Close() })
	return session{c}, nil
}

// seen returns the address with which the session arrives.
func (s session) seen() string {
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := s.Write([]byte{1}); err != nil {
		return err.Error()
	}
	b := make([]byte, 64)
	n, err := s.Read(b)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}

// Each provider's default route in main is for its own prefixes, as on routers with
// several delegated prefixes. Packets leave by their prefix's provider unchanged, as
// they did before the start, while it is well; they leave by the other one with its
// address while it is down, and sessions that were there before the start go on.
func TestDefaultsForOneSource(t *testing.T) {
	g := newGateway(t)
	lan := g.delegated()
	server := g.mirror("2001:db8:77::1")
	const byFiber, byLTE = "2001:db8:100:1::2", "2001:db8:200:1::2"
	old := map[string]session{}
	for _, from := range []string{byFiber, byLTE} {
		s, err := dialFrom(t, lan, from, server)
		g.must(err)
		if old[from] = s; s.seen() != from {
			t.Fatalf("before the start the session from %s arrives as %s", from, s.seen())
		}
	}
	arrives := func(from, as string) func() bool {
		return func() bool {
			s, err := dialFrom(t, lan, from, server)
			return err == nil && s.seen() == as
		}
	}
	p := g.run()
	p.await("both are up", func(s *control.Status) bool {
		return allUp(s) && s.Uplinks[0].IPv6.State == control.Up && s.Uplinks[1].IPv6.State == control.Up && !hasCode(s, "foreign-default")
	})
	const quiet = "2001:db8:200:2::2" // no session has shown that it is native
	if !arrives(quiet, quiet)() {
		t.Error("a session from a network that was silent before the start is masqueraded")
	}
	for from, s := range old {
		if got := s.seen(); got != from {
			t.Errorf("after the start the session from %s arrives as %s", from, got)
		}
		for range 3 {
			if !arrives(from, from)() {
				t.Errorf("after the start a new session from %s does not arrive as such:\n%s", from, g.picture())
			}
		}
	}
	if out := g.sh("ip -6 rule"); !strings.Contains(out, "32764:\tfrom 2001:db8:200::/56 lookup main proto 83") {
		t.Errorf("the rules:\n%s", out)
	}
	g.hushOn("wan1", true)
	p.await("lte is down", func(s *control.Status) bool { return s.Uplinks[1].IPv6.State == control.Down })
	g.eventually("sessions from lte's prefix arrive by fiber", arrives(byLTE, "2001:db8:1::2"))
	if !arrives(byFiber, byFiber)() || old[byFiber].seen() != byFiber {
		t.Error("sessions from fiber's prefix do not go on")
	}
	g.hushOn("wan1", false)
	p.await("both are up again", allUp)
	g.eventually("sessions from lte's prefix arrive as before", arrives(byLTE, byLTE))
}
