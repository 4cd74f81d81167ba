package wire_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
	"swerve/testenv/wait"
	"swerve/testenv/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// bench is a wire with a host at each end: 203.0.113.2 and 203.0.113.1.
type bench struct {
	gw, isp *netns.NS
	*wire.Wire
	out, in *net.UDPConn // connected to each other; out is the gateway's
}

func newBench(t testing.TB, opts wire.Options) *bench {
	t.Helper()
	b := &bench{gw: netns.New(t), isp: netns.New(t)}
	var err error
	b.Wire, err = wire.Open(netns.New(t), wire.End{NS: b.gw, Link: "wan0"}, wire.End{NS: b.isp, Link: "wan"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Wire.Close)
	for _, err := range []error{
		b.gw.SetUp("wan0"), b.gw.AddAddr("wan0", netip.MustParsePrefix("203.0.113.2/24")),
		b.isp.SetUp("wan"), b.isp.AddAddr("wan", netip.MustParsePrefix("203.0.113.1/24")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.out = udp(t, b.gw, "203.0.113.2:7", "203.0.113.1:7")
	b.in = udp(t, b.isp, "203.0.113.1:7", "203.0.113.2:7")
	b.resolve(t)
	return b
}

func udp(t testing.TB, ns *netns.NS, from, to string) (c *net.UDPConn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// Room for all that a test sends: the reader may be scheduled late.
	_ = raw.Control(func(fd uintptr) {
		_, err = packet.Buffer(int(fd), 8<<20)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// resolve has the neighbours resolved, so that what follows measures the wire only.
func (b *bench) resolve(t testing.TB) {
	t.Helper()
	for range 3 {
		send(t, b.out, 0, 100)
		send(t, b.in, 0, 100)
		drain(b.in, 2*time.Second)
		drain(b.out, 2*time.Second)
	}
}

// send sends one packet of a size that contains a number.
func send(t testing.TB, c *net.UDPConn, number uint32, size int) {
	t.Helper()
	p := make([]byte, size)
	binary.BigEndian.PutUint32(p, number)
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
}

// drain reads one packet's number.
func drain(c *net.UDPConn, wait time.Duration) (number uint32, ok bool) {
	buf := make([]byte, 2048)
	c.SetReadDeadline(time.Now().Add(wait))
	n, err := c.Read(buf)
	if err != nil || n < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(buf), true
}

// exchange sends n packets and returns the numbers of those that arrive before nothing
// has arrived for a while. It reads meanwhile: a socket's buffer is small.
func exchange(t testing.TB, from, to *net.UDPConn, n int, quiet time.Duration) (got []uint32) {
	t.Helper()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			number, ok := drain(to, quiet)
			if !ok {
				return
			}
			got = append(got, number)
		}
	}()
	for i := range n {
		send(t, from, uint32(i), 100)
		if i%50 == 49 {
			time.Sleep(ms)
		}
	}
	<-read
	return got
}

func TestFramesCrossWithTheirDelay(t *testing.T) {
	b := newBench(t, wire.Options{ToISP: wire.Path{Delay: 30 * ms}, ToGateway: wire.Path{Delay: 50 * ms}})
	for _, way := range []struct {
		from, to *net.UDPConn
		delay    time.Duration
	}{{b.out, b.in, 30 * ms}, {b.in, b.out, 50 * ms}} {
		began := time.Now()
		send(t, way.from, 1, 100)
		if _, ok := drain(way.to, 5*time.Second); !ok {
			t.Fatal("the packet did not arrive")
		}
		if took := time.Since(began); took < way.delay || took > way.delay+500*ms {
			t.Errorf("took %v, want %v", took, way.delay)
		}
	}
	out, err := b.gw.Run("ping", "-c", "3", "-i", "0.01", "203.0.113.1")
	if err != nil || !strings.Contains(out, " 3 received") {
		t.Errorf("ping: %v\n%s", err, out)
	}
}

func TestOrderAndCounters(t *testing.T) {
	b := newBench(t, wire.Options{ToISP: wire.Path{Delay: 5 * ms, Jitter: 5 * ms}})
	before := b.Counters(wire.ToISP)
	got := exchange(t, b.out, b.in, 1000, 500*ms)
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d of 1000 packets arrived, in order: %v", len(got), slices.IsSorted(got))
	}
	after := b.Counters(wire.ToISP)
	if after.In-before.In < 1000 || after.Out-before.Out < 1000 || after.Dropped() != 0 {
		t.Errorf("counters went from %+v to %+v over 1000 packets", before, after)
	}
}

func TestLossWhileRunning(t *testing.T) {
	b := newBench(t, wire.Options{Seed: 7})
	b.Change(wire.ToISP, func(p *wire.Path) { p.Loss = 0.5 })
	if p := b.Path(wire.ToISP); p.Loss != 0.5 || b.Path(wire.ToGateway).Loss != 0 {
		t.Errorf("loss of one direction set: %+v, other %+v", p, b.Path(wire.ToGateway))
	}
	if n := len(exchange(t, b.out, b.in, 1000, 200*ms)); n < 400 || n > 600 {
		t.Errorf("%d of 1000 packets arrived at 50 %% loss", n)
	}
	if n := len(exchange(t, b.in, b.out, 100, 200*ms)); n != 100 {
		t.Errorf("%d of 100 arrived in the direction without loss", n)
	}
	b.Change(wire.Both, func(p *wire.Path) { p.Loss = 0 })
	if n := len(exchange(t, b.out, b.in, 100, 200*ms)); n != 100 {
		t.Errorf("%d of 100 arrived after the loss was over", n)
	}
}

func TestQueueOverflowIsCounted(t *testing.T) {
	b := newBench(t, wire.Options{ToISP: wire.Path{Delay: 300 * ms, Queue: 10}})
	before := b.Counters(wire.ToISP).Overflow
	got := exchange(t, b.out, b.in, 50, time.Second)
	dropped := int(b.Counters(wire.ToISP).Overflow - before)
	if len(got) > 10 || len(got) == 0 || len(got)+dropped < 50 {
		t.Errorf("%d arrived and %d overflowed, of 50 into a queue of 10", len(got), dropped)
	}
}

func TestRate(t *testing.T) {
	b := newBench(t, wire.Options{ToISP: wire.Path{Rate: 800_000}}) // 100 bytes a millisecond
	began := time.Now()
	got := exchange(t, b.out, b.in, 100, 300*ms)
	took := time.Since(began) - 300*ms
	if want := 100 * 142 * time.Second / 100_000; len(got) != 100 || took < want-5*ms {
		t.Errorf("100 frames of 142 bytes: %d arrived within %v, want all, in %v", len(got), took, want)
	}
}

func TestHold(t *testing.T) {
	b := newBench(t, wire.Options{})
	since := b.Hold(wire.ToISP, 300*ms)
	for i := range 20 {
		send(t, b.out, uint32(i), 100)
	}
	first, ok := drain(b.in, 5*time.Second)
	if took := time.Since(since); !ok || first != 0 || took < 300*ms {
		t.Errorf("during a stall of 300 ms, packet %d (%v) came after %v", first, ok, took)
	}
	for want := uint32(1); want < 20; want++ {
		if got, ok := drain(b.in, time.Second); !ok || got != want {
			t.Fatalf("after the stall packet %d (%v) came, want %d", got, ok, want)
		}
	}
	b.Hold(wire.Both, time.Hour)
	send(t, b.out, 1, 100)
	if _, ok := drain(b.in, 50*ms); ok {
		t.Error("a packet got through a stall")
	}
	b.Hold(wire.Both, 0)
	if _, ok := drain(b.in, 5*time.Second); !ok {
		t.Error("a Hold of 0 did not end the stall")
	}
}

func TestFilterSparesTheRouter(t *testing.T) {
	b := newBench(t, wire.Options{Routers: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
	if err := b.isp.AddAddr("lo", netip.MustParsePrefix("1.1.1.1/32")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.gw.Run("ip", "route", "add", "default", "via", "203.0.113.1"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		filter         wire.Filter
		router, beyond bool
	}{{wire.PassAll, true, true}, {wire.DropBeyond, true, false}, {wire.DropBeyond6, true, true},
		{wire.DropAll, false, false}, {wire.PassAll, true, true}} {
		b.SetFilter(tc.filter)
		if got := pings(b.gw, "203.0.113.1"); got != tc.router {
			t.Errorf("%v: the router answers: %v, want %v", tc.filter, got, tc.router)
		}
		if got := pings(b.gw, "1.1.1.1"); got != tc.beyond {
			t.Errorf("%v: beyond the router answers: %v, want %v", tc.filter, got, tc.beyond)
		}
	}
	if n := b.Counters(wire.ToISP).Filtered; n == 0 {
		t.Error("no frame counts as filtered")
	}
}

func TestForeignSourcesAreDroppedAndCounted(t *testing.T) {
	b := newBench(t, wire.Options{Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	if err := b.gw.AddAddr("wan0", netip.MustParsePrefix("198.51.100.2/24")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.gw.Run("ping", "-c1", "-W1", "-I", "198.51.100.2", "203.0.113.1"); err == nil {
		t.Error("a ping from another ISP's address was answered")
	}
	if n := b.Counters(wire.ToISP).Foreign; n != 1 {
		t.Errorf("%d foreign frames, want 1", n)
	}
	if got := b.ForeignSources(); len(got) != 1 || got[0].String() != "198.51.100.2" {
		t.Errorf("foreign sources %v, want 198.51.100.2", got)
	}
	if !pings(b.gw, "203.0.113.1") {
		t.Error("a ping from the own address was not answered")
	}
}

func TestCarrier(t *testing.T) {
	b := newBench(t, wire.Options{})
	for _, on := range []bool{false, true, false, true} {
		if err := b.SetCarrier(on); err != nil {
			t.Fatal(err)
		}
		wait.For(t, "the carrier to change", func() bool {
			l, err := b.gw.Netlink().LinkByName("wan0")
			return err == nil && (l.Attrs().OperState.String() == "up") == on
		})
		if l, err := b.isp.Netlink().LinkByName("wan"); err != nil || l.Attrs().OperState.String() != "up" {
			t.Errorf("the ISP's end lost its carrier: %v", err)
		}
	}
	if got := exchange(t, b.out, b.in, 10, 200*ms); len(got) != 10 {
		t.Errorf("%d of 10 packets arrived once the plug was back", len(got))
	}
}

// A gateway that forwards from a link with offloads must still send whole frames over
// the wire; the kernel of the far end would drop wrong checksums.
func TestFramesAreWhole(t *testing.T) {
	b := newBench(t, wire.Options{})
	out, err := b.gw.Run("ip", "-d", "link", "show", "wan0")
	if err != nil || !strings.Contains(out, "mtu 1500") {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := b.isp.Listen("tcp", "203.0.113.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := b.gw.DialTCP(ctx, netip.MustParseAddrPort("203.0.113.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	const size = 1 << 20
	go c.Write(make([]byte, size))
	buf := make([]byte, 1<<16)
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	for got := 0; got < size; {
		n, err := peer.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		got += n
	}
	count := b.Counters(wire.ToISP)
	if count.Overflow != 0 || count.In < size/1500 {
		t.Errorf("a mebibyte crossed as %+v; want many frames, none too long", count)
	}
}

func TestLatenessIsKept(t *testing.T) {
	b := newBench(t, wire.Options{ToISP: wire.Path{Delay: ms}})
	exchange(t, b.out, b.in, 10, 50*ms)
	if b.Lateness() <= 0 {
		t.Error("no frame was late at all, not even by a nanosecond")
	}
	b.MarkLateness()
	if got := b.Lateness(); got != 0 {
		t.Errorf("lateness after a mark is %v", got)
	}
}

func pings(ns *netns.NS, to string) bool {
	_, err := ns.Run("ping", "-c1", "-W1", to)
	return err == nil
}
