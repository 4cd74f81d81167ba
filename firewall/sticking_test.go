package firewall

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// sticky is a socket of the gateway's that names the interface, and maybe the source, for each
// datagram.
type sticky struct {
	*net.UDPConn
	to   *net.UDPAddr
	with []byte
}

func (s sticky) Write(b []byte) (int, error) {
	n, _, err := s.WriteMsgUDP(b, s.with, s.to)
	return n, err
}

// stickTo opens one in a family for wan0.
func (l *lab) stickTo(f failover.Family, to string, source string) sticky {
	l.t.Helper()
	s := sticky{to: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))}
	inside(l.t, l.gw, func() error {
		wan0, err := net.InterfaceByName("wan0")
		if err != nil {
			return err
		}
		s.with = (&ipv4.ControlMessage{Src: net.ParseIP(source), IfIndex: wan0.Index}).Marshal()
		if f == failover.IPv6 {
			s.with = (&ipv6.ControlMessage{Src: net.ParseIP(source), IfIndex: wan0.Index}).Marshal()
		}
		s.UDPConn, err = net.ListenUDP([2]string{"udp4", "udp6"}[f], nil)
		return err
	})
	l.t.Cleanup(func() { s.Close() })
	return s
}

// A program that names the interface for each of its datagrams does not stick to it when it
// is lost: wireguard-go does so, with the interface of the last answer. One that is bound to
// the interface does, and so does what stays on the link.
func TestNamedInterfaceIsLeft(t *testing.T) {
	for _, f := range failover.Families {
		for _, named := range []string{"interface", "interface and source"} {
			t.Run(f.String()+" "+named, func(t *testing.T) {
				l := newLab(t)
				l.apply()
				l.watchWrong()
				p := plans[f]
				serveUDP(t, l.net, at(p.host, 5000))
				source := ""
				if named != "interface" {
					source = p.a
				}
				c := l.stickTo(f, at(p.host, 5000), source)
				bound := l.boundTo("wan0", at(p.host, 5000))
				if got := askUDP(t, c); got != p.a {
					t.Fatalf("the server saw %s", got)
				}
				if got := askUDP(t, bound); got != p.a {
					t.Fatalf("the server saw the bound one as %s", got)
				}
				l.prefer("wan1", "wan0")
				if got := askUDP(t, c); got != p.a {
					t.Errorf("after the routes changed the server saw %s", got)
				}
				l.lose()
				if got := askUDP(t, c); got != p.b {
					t.Errorf("after the verdict the server saw %s", got)
				}
				if got := askUDP(t, bound); got != p.a {
					t.Errorf("after the verdict the server saw the bound one as %s", got)
				}
				if got := askUDP(t, l.stickTo(f, at(p.host, 5000), source)); got != p.b {
					t.Errorf("the server saw a new one as %s", got)
				}
				l.regain()
				if got := askUDP(t, l.stickTo(f, at(p.host, 5000), source)); got != p.a {
					t.Errorf("after the return the server saw a new one as %s", got)
				}
				l.noneWrong()
			})
		}
	}
}

// boundTo opens a socket of the gateway's that is bound to an interface.
func (l *lab) boundTo(device, to string) net.Conn {
	l.t.Helper()
	c := dialUDP(l.t, l.gw, to)
	raw, err := c.(*net.UDPConn).SyscallConn()
	l.must(err)
	l.must(raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }))
	l.must(err)
	return c
}

// Multicast by a lost uplink, as a proxy of mDNS or a router of the provider's television
// sends it, is not for another one.
func TestMulticastByALostUplink(t *testing.T) {
	l := newLab(t)
	l.apply()
	l.lose()
	loadText(t, l.net, `table inet groups {
		counter by_a { }
		counter by_b { }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			ip daddr 224.0.0.251 iifname "ispA" counter name by_a
			ip6 daddr ff02::fb iifname "ispA" counter name by_a
			ip daddr 224.0.0.251 iifname "ispB" counter name by_b
			ip6 daddr ff02::fb iifname "ispB" counter name by_b
		}
	}`)
	for f, group := range [2]string{"224.0.0.251", "ff02::fb"} {
		if _, err := l.stickTo(failover.Family(f), at(group, 5353), "").Write([]byte("who?")); err != nil {
			t.Error(err)
		}
	}
	counter := func(name string) string { return run(t, l.net, "nft", "list", "counter", "inet", "groups", name) }
	until(t, "both by the lost one", func() bool { return strings.Contains(counter("by_a"), "packets 2 ") })
	if out := counter("by_b"); !strings.Contains(out, "packets 0 ") {
		t.Errorf("by another one: %s", out)
	}
}

// The same where the lost interface has no carrier: the kernel itself passes its routes over
// then, and must let a datagram be that names the interface and its source, as answers of
// programs do that listen on several. One that is bound to it stays, and so does, in IPv6, one
// that leaves the source to the kernel: that finds no route by another interface.
func TestNamedInterfaceWithoutCarrierIsLeft(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.watchWrong()
			p := plans[f]
			serveUDP(t, l.net, at(p.host, 5000))
			c := l.stickTo(f, at(p.host, 5000), p.a)
			bound := l.boundTo("wan0", at(p.host, 5000))
			if got := askUDP(t, c); got != p.a {
				t.Fatalf("the server saw %s", got)
			}
			run(t, l.net, "ip", "link", "set", "ispA", "down")
			l.lose()
			if got := askUDP(t, c); got != p.b {
				t.Errorf("after the verdict the server saw %s", got)
			}
			if got := askUDP(t, l.stickTo(f, at(p.host, 5000), p.a)); got != p.b {
				t.Errorf("the server saw a new one as %s", got)
			}
			_ = bound.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = bound.Write([]byte("who?"))
			if n, err := bound.Read(make([]byte, 64)); err == nil {
				t.Errorf("one that is bound to it was answered with %d bytes", n)
			}
			l.noneWrong()
		})
	}
}
