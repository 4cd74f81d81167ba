package vm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// TestKernel plays what needs modules that the kernel of a build machine may lack, or an
// old kernel: flow tables, resets, WireGuard and VRFs. Uplinks have both families.
func TestKernel(t *testing.T) {
	eachReleaseIn(t, lab.Options{}, func(t *testing.T, s *site) {
		s.run("ip link add vrf-mgmt up type vrf table 10 && ip link add mgmt0 up master vrf-mgmt type dummy && " +
			"ip addr add 172.31.0.2/24 dev mgmt0 && ip route add default via 172.31.0.1 dev mgmt0 table 10")
		s.bothFamilies()
		w := s.newPeer()
		s.run("wg-quick up full")
		stream := s.start(traffic.UDPStream, lab.Server4, 50)
		s.throughTunnel(stream, time.Now())
		s.install()
		t.Run("full tunnel of before", func(t *testing.T) { s.in(t).fullTunnel(w, stream) })
		stream.Stop()
		s.run("wg-quick down full")
		c := s.follow()
		s.by(c, lab.Fiber)
		t.Run("full tunnel of later", func(t *testing.T) { s.in(t).laterTunnel(w) })
		t.Run("tunnel", func(t *testing.T) { s.in(t).tunnel(w) })
		for _, f := range failover.Families {
			t.Run("flow table in "+f.String(), func(t *testing.T) { s.in(t).flowTable(c, f) })
		}
		t.Run("source ports", func(t *testing.T) { s.in(t).sourcePorts(c) })
		t.Run("vrf of an uplink", func(t *testing.T) { s.in(t).uplinkInVRF(c) })
		t.Run("vrf of the LAN", func(t *testing.T) { s.in(t).lanInVRF(c) })
		t.Run("purge", func(t *testing.T) { s.in(t).purge() })
	})
}

// bothFamilies has systemd-networkd lease both uplinks, and gives them IPv6 by hand.
func (s *site) bothFamilies() {
	s.t.Helper()
	for _, up := range s.lab.Uplinks {
		s.run(fmt.Sprintf("mkdir -p /etc/systemd/network/20-%s.network.d && "+
			"printf '[Network]\\nAddress=%s/64\\n[Route]\\nGateway=%s\\nMetric=%d\\n' >/etc/systemd/network/20-%[1]s.network.d/ipv6.conf",
			up.Interface, up.Address6, up.Router6, up.Metric6))
	}
	s.networkd()
}

// breakFiber black-holes the first uplink until what it returns is called. by waits until
// traffic goes by an uplink.
func (s *site) breakFiber(by func(uplink int)) (onset time.Time, mend func()) {
	s.t.Helper()
	f, err := s.lab.Fault(lab.Fiber, "black-hole")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Undo() })
	by(lab.LTE)
	return f.Onset, func() {
		s.t.Helper()
		if err := f.Undo(); err != nil {
			s.t.Fatal(err)
		}
		by(lab.Fiber)
		s.settled()
	}
}

// sessions returns what waits until new sessions go by an uplink.
func (s *site) sessions(c *traffic.Client) func(int) {
	return func(uplink int) { s.by(c, uplink) }
}

// start starts a client in the LAN.
func (s *site) start(kind traffic.Kind, to netip.Addr, rate float64) *traffic.Client {
	s.t.Helper()
	c, err := traffic.Start(s.lab.Client, kind, to, traffic.Options{Rate: rate})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Stop)
	return c
}

// soon is await with less patience, for what must not take long, and does not end the
// test.
func (s *site) soon(limit time.Duration, what string, holds func() bool) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	begin := time.Now()
	if err := wait.Until(ctx, what, holds); err != nil {
		s.t.Error(err)
		return false
	}
	s.t.Logf("%s after %v", what, time.Since(begin).Round(100*time.Millisecond))
	return true
}

func public(up lab.Uplink, f failover.Family) netip.Addr {
	if f == failover.IPv6 {
		return up.Address6
	}
	return up.Public4
}

// latestVia is where the latest answered request of a client came by.
func latestVia(c *traffic.Client) (via netip.Addr, sent time.Time) {
	for _, r := range c.Log() {
		if r.Via.IsValid() {
			via, sent = r.Via, r.Sent
		}
	}
	return via, sent
}

// flowTable offloads the LAN's flows in a flow table of the user's, and loses the uplink
// that they use: UDP goes on by the next one, TCP is reset. Nothing of that would happen
// while the flow table went on by the routes that it remembers.
func (s *site) flowTable(c *traffic.Client, f failover.Family) {
	s.run(`nft -f - <<'END'
table inet user {
	flowtable ft {
		hook ingress priority filter; devices = { lan0, wan0, wan1 };
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		meta l4proto { tcp, udp } flow add @ft
	}
}
END`)
	defer s.try("nft delete table inet user")
	to, fiber, lte := lab.Servers[f], public(s.lab.Uplinks[lab.Fiber], f), public(s.lab.Uplinks[lab.LTE], f)
	udp, tcp := s.start(traffic.UDPStream, to, 100), s.start(traffic.TCPStream, to, 100)
	s.await("both flows to be offloaded", func() bool {
		v1, _ := latestVia(udp)
		v2, _ := latestVia(tcp)
		list := s.try(fmt.Sprintf("conntrack -L -f %s -d %s 2>/dev/null", f, to))
		return v1 == fiber && v2 == fiber && offloaded(list, "udp") && offloaded(list, "tcp")
	})
	before := s.resets()
	onset, mend := s.breakFiber(s.sessions(c))
	s.soon(20*time.Second, "the UDP flow to go on by the other uplink", func() bool {
		via, _ := latestVia(udp)
		return via == lte
	})
	if s.soon(20*time.Second, "the TCP flow to be reset", func() bool {
		b := tcp.Breaks()
		return len(b) > 0 && !b[0].Reset.IsZero() && !b[0].Redialled.IsZero()
	}) {
		b := tcp.Breaks()[0]
		s.t.Logf("%s: TCP reset %v after the onset (%s), redialled %v later", f, b.Reset.Sub(onset).Round(time.Millisecond), b.Err,
			b.Redialled.Sub(b.Reset).Round(time.Millisecond))
	}
	s.t.Logf("%s: UDP %v; %d resets", f, udp.Measure(onset, time.Now()), s.resets()-before)
	udp.Stop()
	tcp.Stop()
	mend()
}

// offloaded reports whether a list of conntrack(8) has a flow of a protocol in a flow
// table.
func offloaded(list, protocol string) bool {
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, protocol) && strings.Contains(line, "[OFFLOAD]") {
			return true
		}
	}
	return false
}

// resets counts what Swerve answered with a reset.
func (s *site) resets() (n int) {
	words := strings.Fields(s.try("nft list counter inet swerve resets | grep packets"))
	for i, w := range words[:max(0, len(words)-1)] {
		if w == "packets" {
			_, _ = fmt.Sscan(words[i+1], &n)
		}
	}
	return n
}

// sourcePorts loses an uplink under connections from fixed ports. Each gets its reset,
// and a new connection between the same ports never meets one: neither after the old one
// was reset, whose entry stays established for days on Linux before 6.3, nor after a
// client that is gone without a word.
func (s *site) sourcePorts(c *traffic.Client) {
	const each, first = 4, 61000
	var reset, silent []net.Conn
	for n := range each {
		reset = append(reset, s.dialFrom(first+n, 10*time.Second))
		silent = append(silent, s.dialFrom(first+100+n, 10*time.Second))
	}
	for _, conn := range append(append([]net.Conn(nil), reset...), silent...) {
		ask(s.t, conn)
	}
	for _, conn := range silent {
		vanish(s.t, conn)
	}
	_, mend := s.breakFiber(s.sessions(c))
	for _, conn := range reset {
		begin := time.Now()
		_ = conn.SetDeadline(begin.Add(20 * time.Second))
		_, _ = conn.Write([]byte("x"))
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			s.t.Errorf("%v: %v after %v; want a reset", conn.LocalAddr(), err, time.Since(begin))
		}
		conn.Close()
	}
	s.t.Logf("entries between the ports: %s", s.try(fmt.Sprintf("conntrack -L -p tcp -d %s 2>/dev/null | grep -E 'sport=61[01]'", lab.Server4)))
	var slowest time.Duration
	for n := range each {
		for _, port := range []int{first + n, first + 100 + n} {
			for range 3 { // one after the other, each between the same ports
				begin := time.Now()
				conn := s.dialFrom(port, 10*time.Second)
				if conn == nil {
					break
				}
				slowest = max(slowest, time.Since(begin))
				ask(s.t, conn)
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		}
	}
	s.t.Logf("%d connections were dialled again, the slowest in %v", 2*each*3, slowest.Round(time.Millisecond))
	mend()
}

func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection reset")
}

// dialFrom connects the LAN's client to the server from a port; nil, and an error of the
// test, if that fails.
func (s *site) dialFrom(port int, limit time.Duration) net.Conn {
	s.t.Helper()
	var conn net.Conn
	var err error
	if inside := s.lab.Client.Inside(func() {
		d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{Port: port}}
		conn, err = d.Dial("tcp4", netip.AddrPortFrom(lab.Server4, traffic.Port).String())
	}); inside != nil {
		err = inside
	}
	if err != nil {
		s.t.Errorf("dial from port %d: %v", port, err)
		return nil
	}
	return conn
}

// ask sends a byte, which the server does not answer, and waits until it has arrived.
func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	if conn == nil {
		return
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := wait.Until(ctx, "a byte to be acknowledged", func() bool { return unsent(conn) == 0 }); err != nil {
		t.Errorf("%v: %v", conn.LocalAddr(), err)
	}
}

// unsent is how many bytes wait for their acknowledgement.
func unsent(conn net.Conn) (n int) {
	_ = onSocket(conn, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n
}

// vanish closes a connection without a word to the other side, as a machine does that
// loses its power.
func vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	if conn == nil {
		return
	}
	if err := onSocket(conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 1) }); err != nil {
		t.Errorf("close without a word: %v", err)
	}
	conn.Close()
}

func onSocket(conn net.Conn, fn func(fd int) error) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	if outside := raw.Control(func(fd uintptr) { err = fn(int(fd)) }); outside != nil {
		return outside
	}
	return err
}
