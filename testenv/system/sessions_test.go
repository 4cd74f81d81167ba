package system

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
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
		all = append(all, p.of(f)...)
	}
	return all
}

// of lists those of a family.
func (p *party) of(f failover.Family) []*session { return []*session{p.fresh[f], p.udp[f], p.tcp[f]} }

// long lists those that last.
func (p *party) long() []*session { return slices.Concat(p.udp[:], p.tcp[:]) }

// party starts clients and waits until each was answered by way of an uplink.
func (g *gateway) party(uplink int) *party {
	g.Helper()
	p := g.newParty()
	g.goBy(uplink, p.all()...)
	return p
}

func (g *gateway) newParty() *party {
	g.Helper()
	p := new(party)
	for _, f := range failover.Families {
		p.fresh[f] = g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 100)
		p.udp[f] = g.session(g.Client, traffic.UDPStream, lab.Servers[f], 100)
		p.tcp[f] = g.session(g.Client, traffic.TCPStream, lab.Servers[f], 100)
	}
	return p
}

// answerWithin is how long a request has for its answer. One that comes late was
// not lost, only this machine was slow.
const answerWithin = 3 * time.Second

// session starts a client somewhere, at so many requests a second.
func (g *gateway) session(where *netns.NS, kind traffic.Kind, to netip.Addr, rate float64) *session {
	g.Helper()
	c, err := traffic.Start(where, kind, to, traffic.Options{Rate: rate, Timeout: answerWithin})
	if err != nil {
		g.Fatal(err)
	}
	s := &session{Client: c, g: g, family: failover.IPv4}
	if to.Is6() {
		s.family = failover.IPv6
	}
	g.Cleanup(func() {
		g.paused(s.lateness())
		c.Stop()
	})
	return s
}

// lateness is how late the client sent at worst.
func (s *session) lateness() (worst time.Duration) {
	for _, r := range s.Log() {
		if !r.Sent.IsZero() {
			worst = max(worst, r.Sent.Sub(r.Due))
		}
	}
	return worst
}

// addressOf is the address that the server sees of who comes by an uplink.
func (g *gateway) addressOf(uplink int, f failover.Family) netip.Addr {
	if f == failover.IPv6 {
		return g.Uplinks[uplink].Address6
	}
	return g.Uplinks[uplink].Public4
}

// goBy waits until each session is answered by way of an uplink.
func (g *gateway) goBy(uplink int, all ...*session) {
	g.Helper()
	want := [2]netip.Addr{g.addressOf(uplink, failover.IPv4), g.addressOf(uplink, failover.IPv6)}
	g.answered("by "+uplinkNames[uplink], func(s *session, via netip.Addr) bool { return via == want[s.family] }, all)
}

// goFrom waits until each session is answered, and seen with an address.
func (g *gateway) goFrom(want netip.Addr, all ...*session) {
	g.Helper()
	g.answered("as "+want.String(), func(_ *session, via netip.Addr) bool { return via == want }, all)
}

// goOn waits until each session is answered, whichever way.
func (g *gateway) goOn(all ...*session) {
	g.Helper()
	g.answered("again", func(*session, netip.Addr) bool { return true }, all)
}

// inARow is how many requests, one after the other, show which way a session goes.
const inARow = 20

// answered waits until so many requests in a row, sent from now on, were answered
// in the wanted way.
func (g *gateway) answered(how string, wanted func(*session, netip.Addr) bool, all []*session) {
	g.Helper()
	since := time.Now()
	ctx, cancel := wait.Bounded(g.Context())
	defer cancel()
	for _, s := range all {
		what := fmt.Sprintf("%s to be answered %s", s, how)
		if err := wait.Until(ctx, what, func() bool { return s.wasAnswered(since, wanted) }); err != nil {
			g.Fatalf("%v; it had %s", err, s.latest())
		}
	}
}

func (s *session) wasAnswered(since time.Time, wanted func(*session, netip.Addr) bool) bool {
	row := 0
	for _, r := range s.Log() {
		switch {
		case r.Due.Before(since):
		case r.Answered.IsZero() || !wanted(s, r.Via):
			row = 0
		default:
			if row++; row == inARow {
				return true
			}
		}
	}
	return false
}

// latest tells what became of the requests sent a while ago.
func (s *session) latest() (told string) {
	log := s.Log()
	for _, r := range log[max(0, len(log)-120):max(0, len(log)-117)] {
		told += fmt.Sprintf("request %d by %v (%s); ", r.Seq, r.Via, r.Err)
	}
	return told
}

// fate is how long after its sending a request of a session under a fault counts
// as lost. Call settle before looking at several sessions.
const fate = 1200 * time.Millisecond

func settle() { time.Sleep(fate) }

// felt logs what a session felt of what began at an onset, up to a fate ago.
func (s *session) felt(what string, onset time.Time) traffic.Outcome {
	s.g.Helper()
	o := traffic.Measure(s.Log(), onset, time.Now().Add(-fate))
	s.g.Logf("%s: %s: %v", what, s, o)
	return o
}

// undisturbed wants every request since an instant to have been answered.
func (s *session) undisturbed(what string, since time.Time) {
	s.g.Helper()
	o := s.Measure(since, time.Now())
	s.g.Logf("%s: %s: %v", what, s, o)
	if o.Unanswered > 0 {
		s.g.Errorf("%s disturbed %s: %v", what, s, o)
	}
	s.livedOn(what)
}

// livedOn wants a session not to have noticed anything worse than lost requests:
// no end of a connection, and no other source address. New sessions are none.
func (s *session) livedOn(what string) {
	s.g.Helper()
	if s.Kind == traffic.UDPSessions || s.Kind == traffic.TCPSessions {
		return
	}
	if breaks := s.Breaks(); len(breaks) > 0 {
		s.g.Errorf("%s: %s: %d connections broke: %s", what, s, len(breaks), breaks[0].Err)
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

// moved wants a UDP session to have gone from one address to another, and to
// nothing else.
func (s *session) moved(what string, from, to netip.Addr) {
	s.g.Helper()
	if got := s.sources(); !slices.Equal(got, []netip.Addr{from, to}) {
		s.g.Errorf("%s: %s: came from %v, want %v, then %v", what, s, got, from, to)
	}
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
		s.g.Logf("%s: %s: reset %v after the onset, %v after its last packet; redialled %v later",
			what, s, b.Reset.Sub(onset), b.Reset.Sub(b.LastSent()), b.Redialled.Sub(b.At))
		return
	}
	s.g.Errorf("%s: %s: no connection ended", what, s)
}

// sinceAnswered is the log without what a TCP session could not send before it
// was connected.
func (s *session) sinceAnswered() []traffic.Request {
	log := s.Log()
	for s.Kind == traffic.TCPStream && len(log) > 0 && log[0].Answered.IsZero() {
		log = log[1:]
	}
	return log
}
