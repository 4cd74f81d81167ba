package firewall

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// segments returns how long a connection's own segments may be, as its peer has told it.
func segments(t *testing.T, c *net.TCPConn) (size int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			size = int(info.Snd_mss)
		}
	}); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return size
}

// bothEnds returns the ends of a new connection.
func bothEnds(t *testing.T, server, client *netns.NS, listen, to string) (ends [2]*net.TCPConn) {
	t.Helper()
	var l net.Listener
	inside(t, server, func() (err error) {
		l, err = net.Listen("tcp", listen)
		return err
	})
	defer l.Close()
	ends[0] = dialTCP(t, client, to)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ends[1] = c.(*net.TCPConn)
	return ends
}

// What TCP tells of its segments is clamped to the uplink that it takes, in both
// directions, for what goes out and what comes in, and is never made larger.
func TestSegmentSize(t *testing.T) {
	for _, f := range failover.Families {
		for _, strict := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s strict=%v", f, strict), func(t *testing.T) {
				l := newLab(t)
				p := plans[f]
				run(t, l.gw, "ip", "link", "set", "wan1", "mtu", "1428")
				for i := range l.goal.Uplinks {
					l.goal.Uplinks[i].MarkArrivals = strict
				}
				l.goal.Uplinks[0].MTU, l.goal.Uplinks[1].MTU = [2]int{1500, 1500}, [2]int{1428, 1428}
				l.apply()
				loadText(t, l.gw, fmt.Sprintf(`table inet forwards { chain in_lan {
	type nat hook prerouting priority dstnat; tcp dport 8080 dnat %s to %s;
}
}`, p.family, at(p.client, 80)))
				const options = 12 // the timestamps, RFC 7323
				want := func(what string, ends [2]*net.TCPConn, mtu int) {
					t.Helper()
					for i, end := range ends {
						if got := segments(t, end) + headerSizes[f] + options; got != mtu {
							t.Errorf("%s: end %d sends up to %d bytes, want %d", what, i, got, mtu)
						}
					}
				}
				out := func() [2]*net.TCPConn { return bothEnds(t, l.net, l.client, at(p.host, 5000), at(p.host, 5000)) }
				in := func(to string) [2]*net.TCPConn {
					return bothEnds(t, l.client, l.net, at(p.client, 80), at(to, 8080))
				}
				want("out by the wide uplink", out(), 1500)
				want("in by the wide uplink", in(p.a), 1500)
				want("in by the narrow uplink", in(p.b), 1428)
				l.prefer("wan1", "wan0")
				want("out by the narrow uplink", out(), 1428)
				want("in by the wide uplink, which does not carry", in(p.a), 1500)
				loadText(t, l.gw, `table inet users { chain clamp {
	type filter hook forward priority mangle; tcp flags syn tcp option maxseg size set 1200;
}
}`)
				for i, end := range out() {
					if got := segments(t, end) + options; got != 1200 {
						t.Errorf("with a user's own clamp end %d sends segments of %d bytes, want 1200", i, got)
					}
				}
			})
		}
	}
}

// A link beyond the providers is narrower than what both ends tell. That a packet was too
// big reaches whoever sent it, by both uplinks: a host of the LAN, and the gateway itself;
// also while new flows go elsewhere.
func TestPacketTooBig(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			for i := range l.goal.Uplinks {
				l.goal.Uplinks[i].MTU = [2]int{1500, 1500}
			}
			l.apply()
			far := netns.New(t)
			l.veth(far, "eth0", l.net, "narrow")
			run(t, l.net, "ip", "link", "set", "narrow", "mtu", "1300")
			for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
				l.must(l.net.SetSysctl(key, "1"))
			}
			router, host := []string{"192.0.3.1", "2001:db8:98::1"}[f], []string{"192.0.3.2", "2001:db8:98::2"}[f]
			l.address(l.net, "narrow", router, plans[f].bits)
			l.address(far, "eth0", host, plans[f].bits)
			run(t, far, "ip", plans[f].flag, "route", "add", "default", "via", router)
			loadText(t, l.net, `table inet witness {
	counter big { }
	chain out { type filter hook output priority 0; icmp type destination-unreachable counter name big; icmpv6 type packet-too-big counter name big; }
}`)
			upload := func(what string, c [2]*net.TCPConn) {
				t.Helper()
				data := make([]byte, 100_000)
				go c[0].Write(make([]byte, len(data)))
				c[1].SetReadDeadline(time.Now().Add(20 * time.Second))
				if n, err := io.ReadFull(c[1], data); err != nil {
					t.Errorf("%s: %d bytes arrived: %v", what, n, err)
				}
			}
			for i, uplink := range []string{"wan0", "wan1"} {
				l.prefer(uplink, []string{"wan1", "wan0"}[i])
				for what, from := range map[string]*netns.NS{"LAN": l.client, "gateway": l.gw} {
					before, after := bothEnds(t, far, from, at(host, 5000), at(host, 5000)), bothEnds(t, far, from, at(host, 5001), at(host, 5001))
					upload(what+" by "+uplink, before)
					l.prefer([]string{"wan1", "wan0"}[i], uplink)
					run(t, from, "ip", plans[f].flag, "route", "flush", "cache")
					upload(what+" by "+uplink+", which does not carry any more", after)
					l.prefer(uplink, []string{"wan1", "wan0"}[i])
				}
			}
			if out := run(t, l.net, "nft", "list", "counter", "inet", "witness", "big"); strings.Contains(out, "packets 0 ") {
				t.Errorf("no packet was too big: %s", out)
			}
		})
	}
}

// An established connection without NAT goes on where its uplink is lost and the other one
// is narrower.
func TestMoveToANarrowerUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			for i := range l.goal.Uplinks {
				l.goal.Uplinks[i].SNAT, l.goal.Uplinks[i].SNAT6 = false, None
			}
			l.goal.Uplinks[0].MTU, l.goal.Uplinks[1].MTU = [2]int{1500, 1500}, [2]int{1428, 1428}
			run(t, l.gw, "ip", "link", "set", "wan1", "mtu", "1428")
			run(t, l.net, "ip", "link", "set", "ispB", "mtu", "1428")
			l.apply()
			run(t, l.net, "ip", p.flag, "route", "add", lanOf(f).String(), "via", p.a)
			ends := bothEnds(t, l.net, l.client, at(p.host, 5000), at(p.host, 5000))
			both := func(what string) {
				t.Helper()
				for i := range ends {
					const size = 100_000
					go ends[i].Write(make([]byte, size))
					ends[1-i].SetReadDeadline(time.Now().Add(20 * time.Second))
					if n, err := io.ReadFull(ends[1-i], make([]byte, size)); err != nil {
						t.Errorf("%s: %d bytes arrived from end %d: %v", what, n, i, err)
					}
				}
			}
			both("at first")
			if got := segments(t, ends[0]); got != 1500-headerSizes[f]-12 {
				t.Errorf("segments of %d bytes", got)
			}
			l.lose()
			run(t, l.net, "ip", p.flag, "route", "replace", lanOf(f).String(), "via", p.b)
			both("moved")
		})
	}
}
