package firewall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"syscall"
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
			once := serveTCP(t, l.gw, at(p.a, 2224))
			served := dialFrom(t, l.net, p.host, at(p.a, 2224), 0) // no neighbour, which needs no default route
			all := map[string]net.Conn{"probe": probe, "other": other, "wildcard": wildcard, "bound": bound, "its listener is closed": served}
			for name, c := range all {
				if _, err := askTCP(c); err != nil {
					t.Fatalf("%s at first: %v", name, err)
				}
			}
			once.listener.Close()
			until(t, "the listener to be gone", func() (gone bool) {
				gone = true
				inside(t, l.gw, func() error {
					return eachSocket(netip.MustParseAddr(p.a), tcpListening, func(s socket) { gone = gone && s.port != 2224 })
				})
				return gone
			})
			inside(t, l.gw, func() error {
				n, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a), Spared{})
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

// Of an uplink that is alive, as one that is drained, what is bound to its device stays, and
// what is spared by where it goes, such as to the uplink's resolvers.
func TestDestroySocketsOfALivingUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			serveTCP(t, l.net, at(p.host, 5000))
			l.address(l.net, "lo", resolverOf[f], netip.MustParseAddr(resolverOf[f]).BitLen())
			serveTCP(t, l.net, at(resolverOf[f], 53))
			free, bound := dialFrom(t, l.gw, p.a, at(p.host, 5000), 0), dialBound(t, l.gw, "wan0", at(p.host, 5000))
			asking := dialTCP(t, l.gw, at(resolverOf[f], 53))
			destroy := func(spared Spared) {
				inside(t, l.gw, func() error {
					_, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a), spared)
					return err
				})
			}
			destroy(Spared{Bound: true, To: []netip.Addr{netip.MustParseAddr(resolverOf[f])}})
			if _, err := askTCP(asking); err != nil {
				t.Errorf("to a resolver: %v", err)
			}
			if _, err := askTCP(bound); err != nil {
				t.Errorf("bound to the device: %v", err)
			}
			destroy(Spared{})
			if _, err := heard(bound); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("bound to the device, the uplink lost: %v", err)
			}
			if _, err := heard(free); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("bound to the address: %v", err)
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
				n, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a), Spared{})
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

// An entry that was made amid a connection does not show which end began it.
func TestDestroyResumedSockets(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	ln, err := l.net.Listen("tcp", at(p.host, 5000))
	l.must(err)
	defer ln.Close()
	opened := dialTCP(t, l.gw, at(p.host, 5000))
	server, err := ln.Accept()
	l.must(err)
	defer server.Close()
	run(t, l.gw, "conntrack", "-F")
	fmt.Fprintln(server, "!")
	if _, err := heard(opened); err != nil {
		t.Fatal(err)
	}
	inside(t, l.gw, func() error {
		n, err := l.kernel.DestroySockets(l.goal.Layout, 1, netip.MustParseAddr(p.a), Spared{})
		if n != 1 {
			t.Errorf("%d sockets were destroyed, want 1", n)
		}
		return err
	})
}

// dialListening opens a connection from a port on which there is a listener too.
func dialListening(t *testing.T, ns *netns.NS, from, to string) (c net.Conn) {
	t.Helper()
	share := func(_, _ string, raw syscall.RawConn) (err error) {
		raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		})
		return err
	}
	inside(t, ns, func() error {
		ln, err := (&net.ListenConfig{Control: share}).Listen(context.Background(), "tcp", net.JoinHostPort(from, "0"))
		if err != nil {
			return err
		}
		t.Cleanup(func() { ln.Close() })
		d := net.Dialer{LocalAddr: ln.Addr(), Control: share}
		c, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
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

// office adds a network of the gateway's own behind a third device, with a host that
// main has a route to, and another one that a rule of a user leads to.
func (l *lab) office() (ns *netns.NS) {
	l.t.Helper()
	ns = netns.New(l.t)
	l.veth(l.gw, "vpn0", ns, "eth0")
	for _, f := range failover.Families {
		o, p := offices[f], plans[f]
		l.address(l.gw, "vpn0", o.gateway, p.bits)
		l.address(ns, "eth0", o.next, p.bits)
		for _, host := range []string{o.routed, o.ruled} {
			l.address(ns, "lo", host, p.bits)
		}
		run(l.t, ns, "ip", p.flag, "route", "add", "default", "via", o.gateway)
		l.batch(p.flag, fmt.Sprintf(`route add %[1]s via %[2]s
			rule add pref 100 to %[3]s lookup 900
			route add default via %[2]s dev vpn0 table 900
			rule add pref 101 fwmark 5 lookup 901
			route add default via %[4]s dev wan0 table 901`, o.routed, o.next, o.ruled, p.nextA))
	}
	return ns
}

var offices = [2]struct{ gateway, next, routed, ruled string }{
	{"10.8.0.1", "10.8.0.2", "10.9.1.1", "10.9.2.2"},
	{"fd08::1", "fd08::2", "fd09:1::1", "fd09:2::2"},
}

// Of the sockets on a lost address those stay that do not need its uplink's default
// route, whatever became of the uplink; all others end.
func TestDestroyedAreThoseByTheDefaultRoute(t *testing.T) {
	losses := map[string]func(*lab, plan){
		"black-hole":   func(*lab, plan) {},
		"carrier lost": func(l *lab, _ plan) { l.must(l.net.SetDown("ispA")) },
		"address gone": func(l *lab, p plan) {
			run(l.t, l.gw, "ip", "addr", "del", fmt.Sprintf("%s/%d", p.a, p.bits), "dev", "wan0")
		},
	}
	for loss, happens := range losses {
		for _, f := range failover.Families {
			t.Run(loss+" "+f.String(), func(t *testing.T) {
				l, p, o := newLab(t), plans[f], offices[f]
				l.apply()
				office := l.office()
				for _, ns := range []*netns.NS{l.gw, l.client, l.net, office} {
					serveTCP(t, ns, ":5000")
				}
				dial := func(to string, mark int) net.Conn { return dialFrom(t, l.gw, p.a, at(to, 5000), mark) }
				stay := map[string]net.Conn{
					"itself": dial(p.a, 0), "its LAN address": dial(p.lan, 0), "the other uplink's address": dial(p.b, 0),
					"a LAN host": dial(p.client, 0), "a host behind a VPN": dial(o.routed, 0),
				}
				end := map[string]net.Conn{
					"the internet": dial(p.host, 0), "with a mark": dial(p.host, 5), "bound to the device": dialBound(t, l.gw, "wan0", at(p.host, 5000)),
					"without an entry": dial(p.host, 0),
				}
				neighbour, ruled := map[string]net.Conn{"a neighbour": dial(p.nextA, 0)}, map[string]net.Conn{"by a user's rule": dial(o.ruled, 0)}
				if loss == "black-hole" {
					maps.Copy(stay, neighbour)
				} else {
					maps.Copy(end, neighbour)
				}
				if loss == "address gone" {
					maps.Copy(end, ruled)
				} else {
					maps.Copy(stay, ruled)
				}
				for _, all := range []map[string]net.Conn{stay, end} {
					for name, c := range all {
						if got, err := askTCP(c); got != p.a {
							t.Fatalf("%s at first: the server saw %q, %v", name, got, err)
						}
					}
				}
				run(t, l.gw, "conntrack", "-D", "-p", "tcp", "-f", f.String(), "--sport", port(end["without an entry"]))
				happens(l, p)
				l.lose()
				for name, c := range end {
					if _, err := heard(c); !errors.Is(err, unix.ECONNABORTED) {
						t.Errorf("%s: %v", name, err)
					}
				}
				for name, c := range stay {
					if loss == "address gone" { // nothing can be sent from it until it is back
						l.must(c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
						if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("%s: %v", name, err)
						}
					} else if got, err := askTCP(c); got != p.a {
						t.Errorf("%s: the server saw %q, %v", name, got, err)
					}
				}
			})
		}
	}
}

// What ran before the table came gets no lane where it uses no uplink, so that no
// verdict resets it.
func TestAdoptedSocketsThatNeedNoUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l, p, o := newLab(t), plans[f], offices[f]
			loadText(t, l.gw, "table inet tracking {\n\tchain seen {\n\t\ttype filter hook output priority 0; policy accept;\n\t\tct state new accept\n\t}\n}")
			office := l.office()
			for _, ns := range []*netns.NS{l.gw, l.client, l.net, office} {
				serveTCP(t, ns, ":5000")
			}
			stay, ends := map[string]net.Conn{}, dialFrom(t, l.gw, p.a, at(p.host, 5000), 0)
			for _, to := range []string{p.a, p.lan, p.b, p.client, p.nextA, o.routed} {
				stay[to] = dialFrom(t, l.gw, p.a, at(to, 5000), 0)
			}
			stay["inwards"] = dialFrom(t, l.gw, p.lan, at(p.a, 5000), 0)
			for to, c := range stay {
				if _, err := askTCP(c); err != nil {
					t.Fatalf("to %s: %v", to, err)
				}
			}
			if _, err := askTCP(ends); err != nil {
				t.Fatal(err)
			}
			inside(t, l.gw, func() error {
				_, err := l.kernel.AdoptFlows(l.goal, 1, 2)
				return err
			})
			l.apply()
			l.lose()
			for to, c := range stay {
				if _, err := askTCP(c); err != nil {
					t.Errorf("to %s: %v", to, err)
				}
			}
			if _, err := heard(ends); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("to the internet: %v", err)
			}
		})
	}
}

// dialBound opens a TCP connection from a socket that is bound to a device.
func dialBound(t *testing.T, ns *netns.NS, device, to string) (c net.Conn) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }), err)
	}}
	inside(t, ns, func() (err error) {
		c, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}
