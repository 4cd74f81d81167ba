package vm

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
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
// old kernel: flow tables, resets, WireGuard and VRFs. Uplinks have both families. Leases are
// long: each renewal changes routes, and so has a flow table look at its routes anew.
func TestKernel(t *testing.T) {
	eachReleaseIn(t, lab.Options{}, time.Hour, func(t *testing.T, s *site) {
		s.run("ip link add vrf-mgmt up type vrf table 10 && ip link add mgmt0 up master vrf-mgmt type dummy && " +
			"ip addr add 172.31.0.2/24 dev mgmt0 && ip route add default via 172.31.0.1 dev mgmt0 table 10")
		s.bothFamilies()
		w := s.newPeer()
		s.run("wg-quick up full")
		stream := s.start(traffic.UDPStream, lab.Server4, 50)
		s.throughTunnel(stream, time.Now())
		s.install()
		s.fragile()
		t.Run("full tunnel of before", func(t *testing.T) { s.in(t).fullTunnel(w, stream) })
		stream.Stop()
		s.run("wg-quick down full")
		c := s.follow()
		s.by(c, lab.Fiber)
		t.Run("full tunnel of later", func(t *testing.T) { s.in(t).laterTunnel(w) })
		t.Run("tunnel", func(t *testing.T) { s.in(t).tunnel(w) })
		t.Run("flow table", func(t *testing.T) { s.in(t).flowTable(c) })
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

// fragile has the uplinks fail often and be used again soon.
func (s *site) fragile() {
	s.t.Helper()
	s.run("printf 'health: {damping: {half_life: 1s}}\\nfailback: {after: 3s}\\n' >>/etc/swerve/swerve.yaml && swerve check && swerve reload")
	s.settled()
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
	s.t.Logf("%s", s.since(f.Onset))
	return f.Onset, func() {
		s.t.Helper()
		if err := f.Undo(); err != nil {
			s.t.Fatal(err)
		}
		by(lab.Fiber)
		s.settled()
		s.prefers(lab.Fiber)
	}
}

// prefers waits until the default policy's new flows go by an uplink, in both families.
func (s *site) prefers(uplink int) {
	s.t.Helper()
	want := s.lab.Uplinks[uplink].Interface
	s.await(want+" to carry new flows", func() bool {
		p := s.status().Policies
		return len(p) > 0 && len(p[0].IPv4) == 1 && p[0].IPv4[0].Uplink == want && len(p[0].IPv6) == 1 && p[0].IPv6[0].Uplink == want
	})
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
func latestVia(c *traffic.Client) (via netip.Addr) {
	for _, r := range c.Log() {
		if r.Via.IsValid() {
			via = r.Via
		}
	}
	return via
}

// soonAfter is long for what a flow does at its next packet, also in a slow guest, and
// shorter than anything that would have the flow table look at its routes by itself.
const soonAfter = 5 * time.Second

// flowTable offloads the LAN's flows in a flow table of the user's, and loses the uplink
// that they use: UDP goes on by the next one, TCP is reset. So the flow table has to look
// at its routes anew, and after the packet filter has changed.
func (s *site) flowTable(c *traffic.Client) {
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
	s.prefers(lab.Fiber)
	s.sink()
	var flows [2]struct{ udp, tcp *traffic.Client }
	var crowds [2]*crowd
	for f, to := range lab.Servers {
		crowds[f] = s.crowd(to)
		flows[f].udp, flows[f].tcp = s.start(traffic.UDPStream, to, 50), s.start(traffic.TCPStream, to, 50)
	}
	var list string
	if !s.soon(time.Minute, "all flows to be offloaded", func() bool {
		list = s.try("for f in ipv4 ipv6; do conntrack -L -f $f 2>/dev/null | grep dport=7007; done")
		n := 0
		for f, to := range lab.Servers {
			fiber := public(s.lab.Uplinks[lab.Fiber], failover.Family(f))
			if latestVia(flows[f].udp) == fiber && latestVia(flows[f].tcp) == fiber && offloaded(list, "udp", to) && offloaded(list, "tcp", to) {
				n++
			}
		}
		return n == len(flows)
	}) {
		s.t.Fatalf("the flows:\n%s", list)
	}
	before := s.resets()
	onset, mend := s.breakFiber(s.sessions(c))
	moved := time.Now()
	for f, flow := range flows {
		family := failover.Family(f)
		lte := public(s.lab.Uplinks[lab.LTE], family)
		s.soon(soonAfter, "the UDP flow to go on by the other uplink in "+family.String(), func() bool { return latestVia(flow.udp) == lte })
		if s.soon(soonAfter, "the TCP flow to be reset in "+family.String(), func() bool {
			b := flow.tcp.Breaks()
			return len(b) > 0 && !b[0].Reset.IsZero() && !b[0].Redialled.IsZero()
		}) {
			b := flow.tcp.Breaks()[0]
			s.t.Logf("%s: TCP reset %v after the onset, redialled %v later", family, b.Reset.Sub(onset).Round(time.Millisecond), b.Redialled.Sub(b.Reset).Round(time.Millisecond))
			if late := b.Reset.Sub(moved); late > soonAfter {
				s.t.Errorf("%s: the reset came %v after the verdict", family, late)
			}
		}
	}
	for f, c := range crowds {
		family := failover.Family(f)
		s.soon(soonAfter, fmt.Sprintf("%d connections to be reset in %s", crowdSize, family), func() bool { n, _ := c.reset(); return n == crowdSize })
		n, last := c.reset()
		s.t.Logf("%s: %d of %d reset, the last one %v after the onset", family, n, crowdSize, last.Sub(onset).Round(time.Millisecond))
		c.close()
	}
	for f, flow := range flows {
		s.t.Logf("%s: UDP %v; %s", failover.Family(f), flow.udp.Measure(onset, time.Now()), gaps(flow.udp, onset))
		flow.udp.Stop()
		flow.tcp.Stop()
	}
	s.t.Logf("%d resets", s.resets()-before)
	mend()
}

// gaps tells when requests were not answered, from an instant on.
func gaps(c *traffic.Client, onset time.Time) string {
	var out []string
	from, to, n := time.Time{}, time.Time{}, 0
	end := func() {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d from %v to %v", n, from.Sub(onset).Round(time.Millisecond), to.Sub(onset).Round(time.Millisecond)))
		}
		n = 0
	}
	for _, r := range c.Log() {
		switch {
		case r.Sent.Before(onset):
		case r.Err == "":
			end()
		case n == 0:
			from, to, n = r.Sent, r.Sent, 1
		default:
			to, n = r.Sent, n+1
		}
	}
	end()
	return "not answered: " + strings.Join(out, ", ")
}

// offloaded reports whether a list of conntrack(8) has a flow of a protocol to an address
// in a flow table.
func offloaded(list, protocol string, to netip.Addr) bool {
	for line := range strings.Lines(list) {
		if strings.Contains(line, protocol) && strings.Contains(line, "dst="+to.String()+" ") && strings.Contains(line, "[OFFLOAD]") {
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
	s.sink()
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

// sinkPort is where the internet takes connections and says nothing.
const sinkPort = 7008

func (s *site) sink() {
	s.t.Helper()
	for _, to := range lab.Servers {
		l, err := s.lab.Internet.Listen("tcp", netip.AddrPortFrom(to, sinkPort).String())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }()
			}
		}()
	}
}

// crowd is TCP connections that send a byte each second, one after the other, so that
// some packet is under way at every moment.
type crowd struct {
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	ends  []time.Time // when each was reset
}

const crowdSize = 60

func (s *site) crowd(to netip.Addr) *crowd {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	c := &crowd{stop: stop}
	s.t.Cleanup(c.close)
	for range crowdSize {
		conn, err := s.lab.Client.DialTCP(ctx, netip.AddrPortFrom(to, sinkPort))
		if err != nil {
			s.t.Fatal(err)
		}
		c.conns = append(c.conns, conn)
	}
	for _, conn := range c.conns {
		c.tasks.Go(func() {
			if _, err := conn.Read(make([]byte, 1)); isReset(err) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.ends = append(c.ends, time.Now())
			}
		})
	}
	c.tasks.Go(func() {
		tick := time.NewTicker(time.Second / crowdSize)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = c.conns[n%crowdSize].Write([]byte("x"))
			<-tick.C
		}
	})
	return c
}

// reset is how many were reset so far, and when the last one was.
func (c *crowd) reset() (n int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n = len(c.ends); n > 0 {
		last = c.ends[n-1]
	}
	return n, last
}

func (c *crowd) close() {
	c.stop()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.tasks.Wait()
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
		conn, err = d.Dial("tcp4", netip.AddrPortFrom(lab.Server4, sinkPort).String())
	}); inside != nil {
		err = inside
	}
	if err != nil {
		s.t.Errorf("dial from port %d: %v", port, err)
		return nil
	}
	return conn
}

// ask sends a byte and waits until it has arrived.
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
