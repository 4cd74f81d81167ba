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

// clients are the usual traffic of a LAN: new sessions at a hundred a second, one UDP and
// one TCP session, in both families. The index is the family.
type clients struct {
	fresh, udp, tcp [2]*session
}

// all lists the sessions.
func (p *clients) all() (all []*session) {
	for _, f := range failover.Families {
		all = append(all, p.of(f)...)
	}
	return all
}

// of lists those of one family.
func (p *clients) of(f failover.Family) []*session { return []*session{p.fresh[f], p.udp[f], p.tcp[f]} }

// long lists the long-lived ones.
func (p *clients) long() []*session { return slices.Concat(p.udp[:], p.tcp[:]) }

// clients starts clients and waits until the server sees each come by an uplink.
func (g *gateway) clients(uplink int) *clients {
	g.Helper()
	p := g.newClients()
	g.goBy(uplink, p.all()...)
	return p
}

func (g *gateway) newClients() *clients {
	g.Helper()
	p := new(clients)
	for _, f := range failover.Families {
		p.fresh[f] = g.session(g.Client, traffic.UDPSessions, lab.Servers[f], 100)
		p.udp[f] = g.session(g.Client, traffic.UDPStream, lab.Servers[f], 100)
		p.tcp[f] = g.session(g.Client, traffic.TCPStream, lab.Servers[f], 100)
	}
	return p
}

// answerWithin is how long a request waits for its answer. A late answer is no loss: the
// machine was slow.
const answerWithin = 3 * time.Second

// session starts a client in a namespace, at a rate of requests a second.
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

// lateness returns the client's worst lateness in sending.
func (s *session) lateness() (worst time.Duration) {
	for _, r := range s.Log() {
		if !r.Sent.IsZero() {
			worst = max(worst, r.Sent.Sub(r.Due))
		}
	}
	return worst
}

// addressOf returns the source address that the server sees of packets by an uplink.
func (g *gateway) addressOf(uplink int, f failover.Family) netip.Addr {
	if f == failover.IPv6 {
		return g.Uplinks[uplink].Address6
	}
	return g.Uplinks[uplink].Public4
}

// goBy waits until each session is answered by an uplink.
func (g *gateway) goBy(uplink int, all ...*session) {
	g.Helper()
	want := [2]netip.Addr{g.addressOf(uplink, failover.IPv4), g.addressOf(uplink, failover.IPv6)}
	g.answered("by "+uplinkNames[uplink], func(s *session, via netip.Addr) bool { return via == want[s.family] }, all)
}

// goFrom waits until each session is answered, with a source address at the server.
func (g *gateway) goFrom(want netip.Addr, all ...*session) {
	g.Helper()
	g.answered("as "+want.String(), func(_ *session, via netip.Addr) bool { return via == want }, all)
}

// goOn waits until each session is answered, by any uplink.
func (g *gateway) goOn(all ...*session) {
	g.Helper()
	g.answered("again", func(*session, netip.Addr) bool { return true }, all)
}

// inARow is how many consecutive requests show which way a session goes.
const inARow = 20

// answered waits until inARow consecutive requests of each session, sent from now on,
// were answered in the wanted way.
func (g *gateway) answered(how string, wanted func(*session, netip.Addr) bool, all []*session) {
	g.Helper()
	since := time.Now()
	ctx, cancel := wait.Bounded(g.Context())
	defer cancel()
	for _, s := range all {
		what := fmt.Sprintf("%s to be answered %s", s, how)
		holds := func() bool {
			return s.Answered(inARow, since, func(via netip.Addr) bool { return wanted(s, via) })
		}
		if err := wait.Until(ctx, what, holds); err != nil {
			g.Fatalf("%v; the latest: %s", err, s.latest())
		}
	}
}

// latest formats the results of some requests sent a while ago.
func (s *session) latest() (text string) {
	log := s.Log()
	for _, r := range log[max(0, len(log)-120):max(0, len(log)-117)] {
		text += fmt.Sprintf("request %d by %v (%s); ", r.Seq, r.Via, r.Err)
	}
	return text
}

// resultAfter is how long after its sending a request of a session under a fault counts as
// lost. Call awaitResults before checking several sessions.
const resultAfter = 1200 * time.Millisecond

func awaitResults() { time.Sleep(resultAfter) }

// logEffect logs the effect on a session of what began at an onset, up to resultAfter ago.
func (s *session) logEffect(what string, onset time.Time) traffic.Outcome {
	s.g.Helper()
	o := traffic.Measure(s.Log(), onset, time.Now().Add(-resultAfter))
	s.g.Logf("%s: %s: %v", what, s, o)
	return o
}

// undisturbed checks that every request since an instant was answered.
func (s *session) undisturbed(what string, since time.Time) {
	s.g.Helper()
	o := s.Measure(since, time.Now())
	s.g.Logf("%s: %s: %v", what, s, o)
	if o.Unanswered > 0 {
		s.g.Errorf("%s disturbed %s: %v", what, s, o)
	}
	s.livedOn(what)
}

// livedOn checks that a session had nothing worse than lost requests: no end of a
// connection, and no other source address. It ignores new sessions.
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

// sources returns the addresses that the server saw a session come from, in order.
func (s *session) sources() (all []netip.Addr) {
	for _, from := range s.g.server.Received(s.Stream()).Sources {
		all = append(all, from.Addr)
	}
	return all
}

// moved checks that a UDP session changed from one address to another, and to no other.
func (s *session) moved(what string, from, to netip.Addr) {
	s.g.Helper()
	if got := s.sources(); !slices.Equal(got, []netip.Addr{from, to}) {
		s.g.Errorf("%s: %s: came from %v, want %v, then %v", what, s, got, from, to)
	}
}

// wasReset checks that a TCP session's connection ended by a reset, and logs how long
// after its next packet the reset came.
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

// sinceAnswered returns the log without what a TCP session could not send before it was
// connected.
func (s *session) sinceAnswered() []traffic.Request {
	log := s.Log()
	for s.Kind == traffic.TCPStream && len(log) > 0 && log[0].Answered.IsZero() {
		log = log[1:]
	}
	return log
}
