package firewall

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// Of the sockets on a lost address only those go that this machine opened.
func TestDestroySockets(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			serveTCP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.gw, ":2222") // on all addresses, of both families
			serveTCP(t, l.gw, at(p.a, 2223))
			opened := dialTCP(t, l.gw, at(p.host, 5000))
			probe := dialFrom(t, l.gw, p.a, at(p.host, 5000), 0x01000000)
			other := dialFrom(t, l.gw, p.b, at(p.host, 5000), 0)
			wildcard := dialTCP(t, l.net, at(p.a, 2222))
			bound := dialTCP(t, l.net, at(p.a, 2223))
			all := map[string]net.Conn{"probe": probe, "other": other, "wildcard": wildcard, "bound": bound}
			for name, c := range all {
				if _, err := askTCP(c); err != nil {
					t.Fatalf("%s at first: %v", name, err)
				}
			}
			inside(t, l.gw, func() error {
				n, err := l.kernel.DestroySockets(l.goal.Layout, netip.MustParseAddr(p.a))
				if n != 1 {
					t.Errorf("%d sockets were destroyed, want 1", n)
				}
				return err
			})
			if _, err := heard(opened); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("the opened connection: %v", err)
			}
			for name, c := range all {
				if _, err := askTCP(c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// dialFrom opens a TCP connection from an address, with a packet mark.
func dialFrom(t *testing.T, ns *netns.NS, from, to string, mark int) (c net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Control: withMark(mark)}
	inside(t, ns, func() (err error) {
		c, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}
