package system

import (
	"fmt"
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/testenv"
	"swerve/testenv/traffic"
)

// session is a client of one kind in one family.
type session struct {
	*traffic.Client
	g      *gateway
	family failover.Family
}

func (s *session) String() string { return fmt.Sprintf("%s %s", s.family, s.Kind) }

// party is what a LAN has under way: new sessions at a hundred a second, one UDP
// and one TCP session, in both families. The index is the family.
type party struct {
	fresh, udp, tcp [2]*session
}

// all lists the sessions.
func (p *party) all() (all []*session) {
	for _, f := range failover.Families {
		all = append(all, p.fresh[f], p.udp[f], p.tcp[f])
	}
	return all
}

// party starts clients and waits until each was answered by way of an uplink.
func (g *gateway) party(uplink int) *party {
	g.Helper()
	p := g.newParty()
	for _, s := range p.all() {
		s.goesBy(uplink)
	}
	return p
}

func (g *gateway) newParty() *party {
	g.Helper()
	p := new(party)
	for _, f := range failover.Families {
		p.fresh[f] = g.session(traffic.UDPSessions, f, 0)
		p.udp[f] = g.session(traffic.UDPStream, f, 0)
		p.tcp[f] = g.session(traffic.TCPStream, f, 0)
	}
	return p
}

// session starts one client on the LAN; rate 0 is a hundred requests a second.
func (g *gateway) session(kind traffic.Kind, f failover.Family, rate float64) *session {
	g.Helper()
	c, err := traffic.Start(g.Client, kind, servers[f], traffic.Options{Rate: rate})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(c.Stop)
	return &session{Client: c, g: g, family: f}
}

// addressOf is the address that the server sees of who comes by an uplink.
func (g *gateway) addressOf(uplink int, f failover.Family) netip.Addr {
	if f == failover.IPv6 {
		return g.Uplinks[uplink].Address6
	}
	return g.Uplinks[uplink].Address4
}

// inARow is how many requests show which way a session goes.
const inARow = 20

// goesBy waits until a session's latest requests were all answered, by way of an
// uplink.
func (s *session) goesBy(uplink int) {
	s.g.Helper()
	s.comesFrom(s.g.addressOf(uplink, s.family))
}

// comesFrom waits until a session's latest requests were all answered, and seen
// with a source address.
func (s *session) comesFrom(want netip.Addr) {
	s.g.Helper()
	s.isAnswered(fmt.Sprintf("%s to come from %v", s, want), func(via netip.Addr) bool { return via == want })
}

// goesOn waits until a session's latest requests were all answered, whichever way.
func (s *session) goesOn() {
	s.g.Helper()
	s.isAnswered(fmt.Sprintf("%s to go on", s), func(netip.Addr) bool { return true })
}

func (s *session) isAnswered(what string, via func(netip.Addr) bool) {
	s.g.Helper()
	s.g.eventually(what, func() bool {
		latest := s.settled(inARow)
		for _, r := range latest {
			if r.Answered.IsZero() || !via(r.Via) {
				return false
			}
		}
		return len(latest) == inARow
	})
}

// settled returns the latest n requests whose fate is known. Those after them are
// under way, so in the order of sending an old one that was lost comes first.
func (s *session) settled(n int) []traffic.Request {
	log := s.Log()
	for len(log) > 0 && log[len(log)-1].Answered.IsZero() && log[len(log)-1].Err == "" {
		log = log[:len(log)-1]
	}
	return log[max(0, len(log)-n):]
}

// felt is what happened to a session since a fault's onset, logged. It waits until
// the fate of what was sent is known.
func (s *session) felt(what string, onset time.Time) traffic.Outcome {
	s.g.Helper()
	o := s.Measure(onset, time.Now())
	s.g.Logf("%s: %s: %v", what, s, o)
	return o
}

// livedOn wants a session not to have noticed anything worse than lost requests:
// no end of a connection, and no other source address.
func (s *session) livedOn(what string) {
	s.g.Helper()
	if n := len(s.Breaks()); n > 0 {
		s.g.Errorf("%s: %s: %d connections broke: %s", what, s, n, s.Breaks()[0].Err)
	}
	if from := s.sources(); len(from) != 1 {
		s.g.Errorf("%s: %s: came from %v, want one address", what, s, from)
	}
}

// sources are the addresses that the server saw a session come from, in order.
func (s *session) sources() (all []netip.Addr) {
	for _, from := range s.g.server.Received(s.Stream()).Sources {
		all = append(all, from.Addr)
	}
	return all
}

// wasReset wants a TCP session's connection to have ended by a reset, and logs how
// long after its next packet it came.
func (s *session) wasReset(what string, onset time.Time) {
	s.g.Helper()
	for _, b := range s.Breaks() {
		if b.At.Before(onset) {
			continue
		}
		if b.Reset.IsZero() || b.Redialled.IsZero() {
			s.g.Errorf("%s: %s: ended with %q, reset %v, redialled %v", what, s, b.Err, b.Reset, b.Redialled)
			return
		}
		sinceLast := b.Reset.Sub(b.LastSent())
		s.g.Logf("%s: %s: reset %v after the onset, %v after its last packet; redialled %v later",
			what, s, b.Reset.Sub(onset), sinceLast, b.Redialled.Sub(b.At))
		return
	}
	s.g.Errorf("%s: %s: no connection ended", what, s)
}

// moved wants a UDP session to have gone from one uplink's address to another's,
// and to nothing else.
func (s *session) moved(what string, from, to int) {
	s.g.Helper()
	want := []netip.Addr{s.g.addressOf(from, s.family), s.g.addressOf(to, s.family)}
	if got := s.sources(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.g.Errorf("%s: %s: came from %v, want %v", what, s, got, want)
	}
}

// usual is the usual lab.
var usual = testenv.Options{}

// masqueraded is a lab that works without a daemon.
var masqueraded = testenv.Options{Firewall: testenv.FirewallMasquerade}

// livedOnOrFresh is livedOn for a session of any kind.
func (s *session) livedOnOrFresh(what string) {
	s.g.Helper()
	if s.Kind == traffic.UDPSessions || s.Kind == traffic.TCPSessions {
		return
	}
	s.livedOn(what)
}
