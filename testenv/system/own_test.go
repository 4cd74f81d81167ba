package system

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// The gateway's own programs, which bind to no device: new connections leave by the
// uplink that carries, a TCP connection ends at once when its uplink is lost, so that the
// program notices, and a UDP socket continues.
func TestOwnSockets(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"carrier", "black-hole"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				var all []*session
				for _, f := range failover.Families {
					for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream, traffic.TCPStream, traffic.TCPSessions} {
						all = append(all, g.session(g.Gateway, kind, lab.Servers[f], 50))
					}
				}
				g.goBy(fiber, all...)
				f := g.Break(fiber, spec)
				g.goBy(lte, all...)
				awaitResults()
				for _, s := range all {
					s.logEffect(spec, f.Onset)
					if s.Kind == traffic.TCPStream {
						s.endedAtOnce(spec, f.Onset)
					}
				}
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				for _, s := range all {
					if s.Kind == traffic.UDPSessions || s.Kind == traffic.TCPSessions {
						g.goBy(fiber, s)
					}
				}
			})
		})
	}
}

// endedAtOnce checks that the kernel ended a connection, not a timeout.
func (s *session) endedAtOnce(what string, onset time.Time) {
	s.g.Helper()
	breaks := s.Breaks()
	if len(breaks) == 0 {
		s.g.Errorf("%s: %s: no connection ended", what, s)
		return
	}
	s.g.Logf("%s: %s: ended %v after the onset: %s", what, s, breaks[0].At.Sub(onset), breaks[0].Err)
}

// Connections from an uplink's address that go by no uplink, to this machine itself and to
// the LAN, live on whatever becomes of it; whether they are older than the daemon or not.
func TestOwnSocketsThatNeedNoUplink(t *testing.T) {
	t.Parallel()
	for _, loss := range []string{"carrier", "black-hole", "removed"} {
		t.Run(loss, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, usual, twoUplinks)
				g.leaks = loss == "removed" // what the gateway's own sockets send before they are closed
				echoes(t, g.Gateway)
				echoes(t, g.Client)
				near := g.nearConnections("older")
				g.Start()
				g.Await("all to be up", lab.Settled)
				maps.Copy(near, g.nearConnections("newer"))
				var own []*session
				for _, f := range failover.Families {
					own = append(own, g.session(g.Gateway, traffic.TCPStream, lab.Servers[f], 50))
				}
				g.goBy(fiber, own...)
				began := time.Now()
				if loss == "removed" {
					g.put(uplinksAt("lte", "wan1"))
				} else {
					began = g.Break(fiber, loss).Onset
				}
				g.goBy(lte, own...)
				awaitResults()
				for _, s := range own {
					s.endedAtOnce(loss, began)
				}
				for name, c := range near {
					if err := echoed(c); err != nil {
						t.Errorf("%s: the connection %s: %v", loss, name, err)
					}
				}
			})
		})
	}
}

const nearPort = 4007

// echoes answers what it is sent by TCP.
func echoes(t *trial, ns *netns.NS) {
	t.Helper()
	l, err := ns.Listen("tcp", fmt.Sprintf(":%d", nearPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
}

// nearConnections opens connections from the first uplink's addresses to this machine
// and to the LAN.
func (g *gateway) nearConnections(when string) map[string]net.Conn {
	g.Helper()
	client4, client6, _ := lab.ClientAddresses(0)
	all := map[string]net.Conn{}
	for f, to := range [2][]netip.Addr{
		{g.Uplinks[fiber].Address4, g.Uplinks[lte].Address4, client4},
		{g.Uplinks[fiber].Address6, g.Uplinks[lte].Address6, client6},
	} {
		from := to[0]
		for _, a := range to {
			c, err := g.Gateway.DialTCPFrom(g.Context(), netns.Origin{Addr: from}, netip.AddrPortFrom(a, nearPort))
			if err != nil {
				g.Fatal(err)
			}
			g.Cleanup(func() { c.Close() })
			if err := echoed(c); err != nil {
				g.Fatal(err)
			}
			all[fmt.Sprintf("(%s, %s) to %s", when, failover.Family(f), a)] = c
		}
	}
	return all
}

func echoed(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
