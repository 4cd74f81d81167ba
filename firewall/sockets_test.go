package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// Of the sockets on a lost address only those that this machine opened are destroyed.
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
				n, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a))
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

// If two uplinks have the same address, only the sockets of the lost one are
// destroyed, according to conntrack, and those whose flow conntrack does not know.
func TestDestroySocketsOfTwins(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			l.address(l.gw, "wan1", p.a, p.bits)
			serveTCP(t, l.net, at(p.host, 5000))
			lost := dialTCP(t, l.gw, at(p.host, 5000))
			twin := dialTCP(t, l.gw, at(p.host, 5000))
			unknown := dialTCP(t, l.gw, at(p.host, 5000))
			for _, c := range []net.Conn{lost, twin, unknown} {
				if _, err := askTCP(c); err != nil {
					t.Fatal(err)
				}
			}
			run(t, l.gw, "conntrack", "-U", "-p", "tcp", "-f", f.String(), "--sport", port(twin), "--mark", "0x02c00000/0x7fff0000")
			run(t, l.gw, "conntrack", "-D", "-p", "tcp", "-f", f.String(), "--sport", port(unknown))
			inside(t, l.gw, func() error {
				n, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a))
				if n != 2 {
					t.Errorf("%d sockets were destroyed, want 2", n)
				}
				return err
			})
			for _, c := range []net.Conn{lost, unknown} {
				if _, err := heard(c); !errors.Is(err, unix.ECONNABORTED) {
					t.Errorf("a socket of the lost uplink: %v", err)
				}
			}
			if err := twin.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := twin.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the twin's socket: %v", err)
			}
		})
	}
}

// port is the local port of a connection.
func port(c net.Conn) string { return fmt.Sprint(c.LocalAddr().(*net.TCPAddr).Port) }

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
