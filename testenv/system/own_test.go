package system

import (
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
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
