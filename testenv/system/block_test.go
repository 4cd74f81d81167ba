package system

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
)

var switches = flag.Int("switches", 6, "of TestBlockLeaksNothing: how often an uplink breaks or comes back")

// blockedPort is the destination port of what never leaves by fiber. Captures tell it.
const blockedPort = firstFlowPort

var blocking = quickRecovery + fmt.Sprintf(`policies: [{name: strict, tiers: [lte], last_resort: block}]
rules: [{proto: udp, ports: %[1]d, use: strict}, {proto: tcp, ports: %[1]d, use: strict}]
`, blockedPort)

// A policy that blocks has lte alone. Whatever becomes of the uplinks, with the daemon
// at work, dead and started again, under a load of new flows and established ones of the
// LAN and of the gateway itself, none of its packets leaves by fiber.
func TestBlockLeaksNothing(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, blocking)
		c, err := startCapture(g.Gateway, "wan0", "wan1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		load := g.startBlockedLoad()
		t.Cleanup(load.stop)
		for n := 0; n < *switches; n += 2 {
			uplink, fault, dead := lte, []string{"carrier", "black-hole"}[n/2%2], n/2%5 == 4
			if n/2%3 == 2 {
				uplink = fiber
			}
			if dead {
				g.Kill()
			}
			f := g.Break(uplink, fault)
			if dead {
				time.Sleep(300 * time.Millisecond)
				g.Start()
			}
			g.Await("the broken uplink to be down", func(s *control.Status) bool {
				return s.Uplinks[uplink].IPv4.State == control.Down && s.Uplinks[uplink].IPv6.State == control.Down
			})
			load.hears(g, uplink == lte)
			g.Mend(f)
			g.Await("fiber to carry, and all to be up", lab.Settled)
			load.hears(g, false)
		}
		load.stop()
		var own, wrong int
		for _, d := range c.from(0) {
			switch {
			case d.port == blockedPort && d.uplink == fiber:
				wrong++
			case d.port == blockedPort:
				own++
			}
		}
		g.Logf("%d switches: %d packets by lte, %d by fiber; %d answers, %d refusals", *switches, own, wrong, load.answered.Load(), load.refused.Load())
		if wrong > 0 || own < 100**switches {
			g.Errorf("%d packets left by fiber, which their policy never uses, and %d by lte", wrong, own)
		}
	})
}

// blockedLoad sends by the policy that blocks: from the client and the gateway, in both
// families, with a new UDP flow every few packets, and a TCP connection after the other.
type blockedLoad struct {
	answered, refused atomic.Int64
	cancel            context.CancelFunc
	tasks             sync.WaitGroup
}

func (g *gateway) startBlockedLoad() *blockedLoad {
	g.Helper()
	ctx, cancel := context.WithCancel(g.Context())
	l := &blockedLoad{cancel: cancel}
	for _, f := range failover.Families {
		to := netip.AddrPortFrom(lab.Servers[f], blockedPort)
		echo, err := g.Internet.ListenPacket("udp", to.String())
		if err != nil {
			g.Fatal(err)
		}
		accepting, err := g.Internet.Listen("tcp", to.String())
		if err != nil {
			g.Fatal(err)
		}
		l.tasks.Go(func() {
			buf := make([]byte, 64)
			for {
				n, from, err := echo.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = echo.WriteTo(buf[:n], from)
			}
		})
		l.tasks.Go(func() {
			for {
				c, err := accepting.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		context.AfterFunc(ctx, func() { echo.Close(); accepting.Close() })
		for _, from := range []*netns.NS{g.Client, g.Gateway} {
			l.tasks.Go(func() { l.udp(ctx, from, to, 1) })
			l.tasks.Go(func() { l.udp(ctx, from, to, 1000) })
			l.tasks.Go(func() { l.tcp(ctx, from, to) })
		}
	}
	return l
}

func (l *blockedLoad) stop() {
	l.cancel()
	l.tasks.Wait()
}

// udp sends 50 packets a second, so many by each flow.
func (l *blockedLoad) udp(ctx context.Context, from *netns.NS, to netip.AddrPort, packets int) {
	var c *net.UDPConn
	for n := 0; ctx.Err() == nil; n++ {
		if c == nil || n%packets == 0 {
			if c != nil {
				c.Close()
			}
			var err error
			if c, err = from.DialUDP(to); err != nil {
				c = nil
				time.Sleep(20 * time.Millisecond)
				continue
			}
		}
		_, err := c.Write([]byte("x"))
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err = c.Read(make([]byte, 64)); err == nil {
				l.answered.Add(1)
			}
		}
		if e, ok := err.(net.Error); ok && !e.Timeout() {
			l.refused.Add(1)
		}
		time.Sleep(15 * time.Millisecond)
	}
	if c != nil {
		c.Close()
	}
}

func (l *blockedLoad) tcp(ctx context.Context, from *netns.NS, to netip.AddrPort) {
	for ctx.Err() == nil {
		brief, cancel := context.WithTimeout(ctx, 3*time.Second)
		c, err := from.DialTCP(brief, to)
		if err == nil {
			l.answered.Add(1)
			c.Close()
		} else if brief.Err() == nil {
			l.refused.Add(1)
		}
		cancel()
		time.Sleep(50 * time.Millisecond)
	}
}

// hears waits until what the load sends is refused, or is answered.
func (l *blockedLoad) hears(g *gateway, refusals bool) {
	g.Helper()
	count, what := &l.answered, "answers"
	if refusals {
		count, what = &l.refused, "refusals"
	}
	before := count.Load()
	g.Until("the load to have "+what, func() bool { return count.Load() >= before+20 })
}
