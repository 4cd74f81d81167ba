package firewall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	probing "github.com/prometheus-community/pro-bing"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// probe sends one probe of uplink wan0 as the prober does, and reports whether it
// was answered, or the error of sending.
func (l *lab) probe(f failover.Family) (answered bool, err error) {
	l.t.Helper()
	source := ""
	if f == failover.IPv4 {
		source = plans[f].a
	}
	return l.probeFrom(f, source)
}

// probeFrom is probe with another source; the kernel chooses an empty one.
func (l *lab) probeFrom(f failover.Family, source string) (answered bool, err error) {
	l.t.Helper()
	p := plans[f]
	err = l.gw.Do(func() error {
		pinger := probing.New("")
		pinger.SetIPAddr(&net.IPAddr{IP: netip.MustParseAddr(p.host).AsSlice()})
		pinger.SetPrivileged(true)
		pinger.SetMark(0x01000000)
		pinger.InterfaceName = "wan0"
		pinger.Source = source
		pinger.Count, pinger.Timeout, pinger.Interval = 1, 500*time.Millisecond, time.Second
		pinger.OnRecv = func(*probing.Packet) { answered = true }
		return pinger.RunWithContext(context.Background())
	})
	return answered, err
}

// The possible results of a probe.
const (
	leaves = iota
	dropped
	rerouted // dropped as well, but only where it leaves: it had been rerouted in output
	astray   // it left, and the count shows that it did not leave by its uplink
)

// probed sends a probe, and compares the result with the wanted one. It reports
// whether no probe may have left by the other uplink.
func (l *lab) probed(f failover.Family, want int) bool {
	l.t.Helper()
	answered, err := l.probe(f)
	c := l.counters()
	left, elsewhere := c.Probes[1].Packets, c.Elsewhere[1].Packets
	ok := map[int]bool{
		leaves:   answered && err == nil && left == 1 && elsewhere == 0,
		dropped:  !answered && errors.Is(err, unix.EPERM) && left == 0 && elsewhere == 1,
		rerouted: !answered && errors.Is(err, unix.EPERM) && left == 1 && elsewhere == 1,
		astray:   !answered && err == nil && left == 0 && elsewhere == 0,
	}
	if !ok[want] {
		l.t.Errorf("answered %t, %v, %+v", answered, err, c)
	}
	return want != astray
}

// Whatever other programs do to marks and routes, a probe leaves by its uplink, or
// it is counted, dropped and reported as not sent.
func TestProbesLeaveByTheirUplink(t *testing.T) {
	mangle := func(kind, rule string) func(*lab, plan) {
		return func(l *lab, _ plan) {
			loadText(l.t, l.gw, fmt.Sprintf(`table inet other { chain out { type %s hook output priority mangle; %s; }; }`, kind, rule))
		}
	}
	route := func(routes ...string) func(*lab, plan) {
		return func(l *lab, p plan) {
			for _, r := range routes {
				l.batch(p.flag, fmt.Sprintf("route add "+r, p.host, p.nextB))
			}
		}
	}
	for name, c := range map[string]struct {
		disturb func(*lab, plan)
		want    [2]int
	}{
		"nothing":            {func(*lab, plan) {}, [2]int{leaves, leaves}},
		"marks of flows":     {mangle("filter", "meta mark set ct mark"), [2]int{leaves, leaves}},
		"the same, rerouted": {mangle("route", "meta mark set ct mark"), [2]int{leaves, leaves}},
		"marks erased":       {mangle("route", "meta mark set 0"), [2]int{leaves, leaves}},
		"other marks":        {mangle("route", "meta mark set 0x77"), [2]int{leaves, leaves}},
		"other marks kept":   {mangle("route", "meta mark set 0x77 ct mark set meta mark"), [2]int{astray, astray}},
		"host route":         {route("%[1]s via %[2]s dev wan1"), [2]int{leaves, leaves}},
		// For IPv4 the kernel treats a target without a route as one on the
		// device's link; for IPv6 it skips a route that is not on the device.
		"blackhole": {route("blackhole %[1]s"), [2]int{leaves, leaves}},
		"host route, other marks": {func(l *lab, p plan) {
			mangle("route", "meta mark set 0x77")(l, p)
			route("%[1]s via %[2]s dev wan1")(l, p)
		}, [2]int{rerouted, rerouted}},
	} {
		for _, f := range failover.Families {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				l := newLab(t)
				l.apply()
				p := plans[f]
				// The main table prefers the other uplink.
				l.prefer("wan1", "wan0")
				loadText(t, l.net, `table inet seen {
					chain in {
						type filter hook prerouting priority raw;
						iifname "ispB" icmp type echo-request counter drop
						iifname "ispB" icmpv6 type echo-request counter drop
					}
				}`)
				c.disturb(l, p)
				if !l.probed(f, c.want[f]) {
					return
				}
				if got := run(t, l.net, "nft", "list", "table", "inet", "seen"); strings.Count(got, "packets 0 ") != 2 {
					t.Errorf("a probe left by the other uplink:\n%s", got)
				}
			})
		}
	}
}

// An uplink's address went, and the daemon does not know it yet: the kernel gives a
// probe the other uplink's address, with which it must not leave.
func TestProbeWithoutAnAddress(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			l.batch(p.flag, fmt.Sprintf("addr del %s/%d dev wan0\naddr del %s/%d dev lan0\nroute replace default via %s dev wan0 onlink table 5301",
				p.a, p.bits, p.lan, p.bits, p.nextA))
			if answered, err := l.probeFrom(f, ""); answered || !errors.Is(err, unix.EPERM) {
				t.Errorf("answered %t, %v; want that it must not be sent", answered, err)
			}
			if c := l.counters(); c.Stray.Packets != 1 {
				t.Errorf("%+v, want one stray", c)
			}
		})
	}
}

// What a socket with an uplink's mark sends to a target of another method is a probe too,
// whatever other programs do to marks: it leaves by its uplink, and counts once, however
// many packets it has. Where it would leave elsewhere it is dropped.
func TestConnectionsOfProbes(t *testing.T) {
	mangle := func(kind, rule string) func(*lab, plan) {
		return func(l *lab, _ plan) {
			loadText(l.t, l.gw, fmt.Sprintf(`table inet other { chain out { type %s hook output priority mangle; %s; }; }`, kind, rule))
		}
	}
	for name, c := range map[string]struct {
		disturb   func(*lab, plan)
		elsewhere bool
	}{
		"nothing":            {disturb: func(*lab, plan) {}},
		"marks of flows":     {disturb: mangle("filter", "meta mark set ct mark")},
		"the same, rerouted": {disturb: mangle("route", "meta mark set ct mark")},
		"marks erased":       {disturb: mangle("route", "meta mark set 0")},
		"host route": {disturb: func(l *lab, p plan) {
			l.batch(p.flag, fmt.Sprintf("route add %s via %s dev wan1", p.host, p.nextB))
		}, elsewhere: true},
	} {
		for _, f := range failover.Families {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				l := newLab(t)
				p := plans[f]
				to := netip.AddrPortFrom(netip.MustParseAddr(p.host), 443)
				l.goal.Asked = []Endpoint{{At: to}, {UDP: true, At: to}}
				l.apply()
				l.prefer("wan1", "wan0")
				l.watchWrong()
				l.echo(to)
				c.disturb(l, p)
				tcpErr, udpErr := l.connections(to, netns.Origin{Addr: netip.MustParseAddr(p.a), Mark: 0x01000000})
				counts := l.counters()
				left, elsewhere, six := counts.Probes[1].Packets, counts.Elsewhere[1].Packets, counts.Probes6[1].Packets
				switch {
				case c.elsewhere && (tcpErr == nil || !errors.Is(udpErr, unix.EPERM) || left != 0 || elsewhere < 2):
					t.Errorf("TCP %v, UDP %v; %d left, %d did elsewhere", tcpErr, udpErr, left, elsewhere)
				case !c.elsewhere && (tcpErr != nil || udpErr != nil || left != 2 || elsewhere != 0 || six != 2*uint64(f)):
					t.Errorf("TCP %v, UDP %v; %d left, %d of IPv6, %d did elsewhere; want each to count once", tcpErr, udpErr, left, six, elsewhere)
				}
				l.noneWrong()
				if c.elsewhere {
					return
				}
				// The same without a mark is nobody's probe.
				tcpErr, udpErr = l.connections(to, netns.Origin{})
				if now := l.counters(); now.Probes[1].Packets != left || now.Probes[2].Packets != 0 || now.Flows[2].Packets != 2 || tcpErr != nil || udpErr != nil {
					t.Errorf("without a mark: TCP %v, UDP %v, %+v", tcpErr, udpErr, now)
				}
			})
		}
	}
}

// echo has the host in the internet repeat what TCP and UDP bring it, until the test's end.
func (l *lab) echo(at netip.AddrPort) {
	l.t.Helper()
	listener, err := l.net.Listen("tcp", at.String())
	l.must(err)
	packets, err := l.net.ListenPacket("udp", at.String())
	l.must(err)
	l.t.Cleanup(func() { listener.Close(); packets.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	go func() {
		for buf := make([]byte, 64); ; {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo(buf[:n], from)
		}
	}()
}

// connections has the gateway exchange a few packets with the host, by TCP and by UDP.
func (l *lab) connections(to netip.AddrPort, from netns.Origin) (tcpErr, udpErr error) {
	l.t.Helper()
	exchange := func(conn net.Conn) error {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		for range 3 {
			if _, err := conn.Write([]byte("question")); err != nil {
				return err
			}
			if _, err := conn.Read(make([]byte, 64)); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if stream, err := l.gw.DialTCPFrom(ctx, from, to); err != nil {
		tcpErr = err
	} else {
		tcpErr = exchange(stream)
	}
	packets, err := l.gw.DialUDPFrom(from, to)
	if err != nil {
		return tcpErr, err
	}
	return tcpErr, exchange(packets)
}
