package system

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
)

// talker is a server in the internet that never stops talking, to clients that only listen.
type talker struct {
	net.Listener
	running sync.WaitGroup
	closed  chan struct{}
}

func (g *gateway) talks(at netip.AddrPort) *talker {
	g.Helper()
	l, err := g.Internet.Listen("tcp", at.String())
	if err != nil {
		g.Fatal(err)
	}
	s := &talker{Listener: l, closed: make(chan struct{})}
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer c.Close()
				for {
					_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // nobody may listen any more
					if _, err := c.Write([]byte("news\n")); err != nil {
						return
					}
					select {
					case <-s.closed:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			})
		}
	})
	return s
}

func (s *talker) close() {
	s.Close()
	close(s.closed)
	s.running.Wait()
}

// listener is a connection on which a client in the LAN only listens.
type listener struct {
	conn    net.Conn
	heard   chan struct{} // closed after the first words
	ended   chan error    // why it ended
	at      time.Time     // when
	heardAt atomic.Int64  // the last words, in nanoseconds since 1970
}

// last returns when the last words came.
func (l *listener) last() time.Time { return time.Unix(0, l.heardAt.Load()) }

func (g *gateway) listens(to netip.AddrPort) *listener {
	g.Helper()
	c, err := g.Client.DialTCP(g.Context(), to)
	if err != nil {
		g.Fatal(err)
	}
	l := &listener{conn: c, heard: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		buf := make([]byte, 5)
		_, err := io.ReadFull(c, buf)
		close(l.heard)
		for err == nil {
			_, err = c.Read(buf)
			l.heardAt.Store(time.Now().UnixNano())
		}
		l.at = time.Now()
		l.ended <- err
	}()
	<-l.heard
	return l
}

// listeners are one in each family.
type listeners struct {
	all     [2]*listener
	servers [2]*talker
}

func (g *gateway) listeners() *listeners {
	g.Helper()
	l := &listeners{}
	for _, f := range failover.Families {
		at := netip.AddrPortFrom(lab.Servers[f], 8090)
		l.servers[f] = g.talks(at)
		l.all[f] = g.listens(at)
	}
	g.Cleanup(func() {
		for f := range l.all {
			l.all[f].conn.Close()
			l.servers[f].close()
		}
	})
	return l
}

// wereReset waits until both have had their reset.
func (l *listeners) wereReset(g *gateway, what string, onset time.Time) {
	g.Helper()
	for f, one := range l.all {
		select {
		case err := <-one.ended:
			if !errors.Is(err, unix.ECONNRESET) {
				g.Errorf("%s: %s listener ended with %v", what, failover.Family(f), err)
			}
			g.Logf("%s: %s listener: reset after %v", what, failover.Family(f), one.at.Sub(onset).Round(time.Millisecond))
		case <-time.After(20 * time.Second):
			g.Errorf("%s: %s listener is still waiting", what, failover.Family(f))
		}
	}
}

// A client that only listens, to a download or to a log, has its reset soon after the
// verdict, and not when it speaks some day; also where the kernel took the connection's entry
// before there was a verdict.
func TestListenersAreTold(t *testing.T) {
	for _, spec := range []string{"black-hole", "carrier", "interface-down", "address-removal"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, tellsRoster)
				l := g.listeners()
				g.listedClients()
				fault := g.Break(fiber, spec)
				l.wereReset(g, spec, fault.Onset)
				g.tellsPokes()
			})
		})
	}
	t.Run("interface gone", func(t *testing.T) {
		scenario(t, func(t *trial) {
			g := startGateway(t, usual, tellsRoster)
			l := g.listeners()
			g.listedClients()
			onset := time.Now()
			g.shell("ip link del wan0")
			l.wereReset(g, "interface gone", onset)
			g.tellsPokes()
		})
	})
}

// tellsRoster has the daemon's log tell whom it knows.
const tellsRoster = quickRecovery + "log: {level: debug}\n"

// listedClients waits until the daemon knows both listeners.
func (g *gateway) listedClients() {
	g.Helper()
	g.Until("the daemon to know who listens", func() bool {
		return regexp.MustCompile(`in use.*\bknown=2\b`).MatchString(g.daemon.Log())
	})
}

// tellsPokes wants the events to tell that one client was made to speak in each family.
func (g *gateway) tellsPokes() {
	g.Helper()
	g.Until("the events to tell of the pokes", func() bool {
		poked := map[string]int64{}
		for _, e := range g.Events() {
			if d, ok := e.Detail.(control.SessionsDetail); ok && d.Poked != nil {
				poked[d.Uplink+" "+d.Family] += *d.Poked
			}
		}
		return maps.Equal(poked, map[string]int64{"fiber ipv4": 1, "fiber ipv6": 1})
	})
}

// So has one whose uplink the configuration removes, while what it listens to still comes.
func TestListenersOfARemovedUplink(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, tellsRoster)
		l := g.listeners()
		g.listedClients()
		g.leaks = true // what the gateway says to what still comes by fiber, which is nobody's now
		onset := time.Now()
		g.put(strings.Replace(tellsRoster, "{name: fiber", "{name: fiber, enabled: false", 1) + "policies: [{name: default, tiers: [lte]}]\n")
		l.wereReset(g, "removed", onset)
	})
}

// One whose uplink has its address back in a moment goes on listening.
func TestListenersOverARenewal(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, tellsRoster)
		l := g.listeners()
		g.listedClients()
		g.shell("ip -4 addr del 203.0.113.2/24 dev wan0; sleep 0.2; ip -4 addr add 203.0.113.2/24 dev wan0; " +
			"ip route add default via 203.0.113.1 dev wan0 proto dhcp metric 100 || true")
		since := time.Now()
		g.Until("news to come again", func() bool { return l.all[failover.IPv4].last().After(since.Add(time.Second)) })
		select {
		case err := <-l.all[failover.IPv4].ended:
			g.Errorf("the listener ended with %v", err)
		default:
		}
	})
}
