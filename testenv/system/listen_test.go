package system

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"sync"
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
}

func (g *gateway) talks(at netip.AddrPort) *talker {
	g.Helper()
	l, err := g.Internet.Listen("tcp", at.String())
	if err != nil {
		g.Fatal(err)
	}
	s := &talker{Listener: l}
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
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	})
	return s
}

func (s *talker) close() {
	s.Close()
	s.running.Wait()
}

// listener is a connection on which a client in the LAN only listens.
type listener struct {
	conn  net.Conn
	heard chan struct{} // closed after the first words
	ended chan error    // why it ended
	at    time.Time     // when
}

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
		}
		l.at = time.Now()
		l.ended <- err
	}()
	<-l.heard
	return l
}

// A client that only listens, to a download or to a log, has its reset soon after the
// verdict, and not when it speaks some day.
func TestListenersAreTold(t *testing.T) {
	for _, spec := range []string{"black-hole", "carrier"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				var all [2]*listener
				for _, f := range failover.Families {
					at := netip.AddrPortFrom(lab.Servers[f], 8090)
					s := g.talks(at)
					defer s.close()
					all[f] = g.listens(at)
					defer all[f].conn.Close()
				}
				fault := g.Break(fiber, spec)
				for f, l := range all {
					select {
					case err := <-l.ended:
						if !errors.Is(err, unix.ECONNRESET) {
							t.Errorf("%s: ended with %v", failover.Family(f), err)
						}
						t.Logf("%s: reset %v after the onset", failover.Family(f), l.at.Sub(fault.Onset).Round(time.Millisecond))
					case <-time.After(20 * time.Second):
						t.Errorf("%s: still waiting", failover.Family(f))
					}
				}
				g.tellsPokes()
			})
		})
	}
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
