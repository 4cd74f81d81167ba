package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/packet"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
	"swerve/testenv/wire"
)

// look is the time between two looks at the lab.
const look = 50 * ms

// pauses are the times in which the machine kept the lab or the daemon waiting.
type pauses struct {
	mu  sync.Mutex
	all []pause
}

type pause struct {
	at    time.Time
	lasts time.Duration
}

// note records a pause that is long enough to matter.
func (p *pauses) note(at time.Time, d time.Duration) {
	if d < 10*ms {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, pause{at, d})
}

// in returns the sum of the pauses in a time.
func (p *pauses) in(i interval) (sum time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.all {
		if i.has(one.at) {
			sum += one.lasts
		}
	}
	return sum
}

// worst returns the longest of all pauses.
func (p *pauses) worst() (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.all {
		longest = max(longest, one.lasts)
	}
	return longest
}

// watch looks at the lab until the context ends.
func (s *stage) watch(ctx context.Context) {
	var seen [8]uint64
	pid, starved := 0, time.Duration(0)
	for due := time.Now(); ; due = time.Now().Add(look) {
		if wait.Sleep(ctx, time.Until(due)) != nil {
			return
		}
		now := time.Now()
		s.pauses.note(now, max(s.lab.Lateness(), now.Sub(due)-5*ms))
		s.lab.MarkLateness()
		if p := s.swerve.Pid(); p != 0 {
			w := waited(p)
			if p == pid && w > starved {
				s.pauses.note(now, w-starved)
			}
			pid, starved = p, w
		}
		for i, w := range s.lab.Wire {
			if n := w.Counters(wire.ToISP).Foreign; n > seen[i] {
				s.leaked(now, i, n-seen[i])
				seen[i] = n
			}
		}
		s.journal.checked("leaks", len(s.lab.Wire))
		s.alive(now)
	}
}

// leaked reports packets with another's address, unless our table was deleted.
func (s *stage) leaked(at time.Time, uplink int, packets uint64) {
	h := s.truth.all()
	for _, f := range h {
		if f.harm() == leaks && s.unrepaired(h, f, at) {
			return
		}
	}
	foreign := s.lab.Wire[uplink].ForeignFrames()
	foreign = foreign[len(foreign)-min(len(foreign), int(packets)):]
	// What comes in for an address that is lost is sent on by the default route, daemon or
	// no daemon: back, or by another uplink.
	forLost := func(p []byte) bool {
		for i, up := range s.lab.Uplinks {
			own := []netip.Addr{up.Address4, up.Other4, up.Address6, up.Other6}
			if h.addressless(i, at) && slices.Contains(own, packet.Destination(p)) {
				return true
			}
		}
		return false
	}
	allowed := func(packet []byte) bool {
		return forLost(packet) || ownOfLAN(packet) && h.addressless(uplink, at)
	}
	// What comes in for a LAN that is not there is sent on by the default route, daemon or
	// no daemon.
	if h.during("lan-down", at, time.Second) && !slices.ContainsFunc(foreign, func(f []byte) bool { return !ownOfLAN(f) && !forLAN(f) }) {
		return
	}
	if len(foreign) > 0 && !slices.ContainsFunc(foreign, func(f []byte) bool { return !allowed(f) }) {
		return
	}
	// One leak is one break, however long.
	goesOn := at.Before(s.leaking.Add(leakEnds))
	s.leaking = at
	if goesOn {
		return
	}
	var latest []string
	for _, f := range foreign {
		latest = append(latest, packet.Describe(f))
	}
	s.journal.broken(at, h, "%d packets left by %s with a source that is not its own: %s", packets, uplinkNames[uplink], strings.Join(latest, "; "))
}

// leakEnds is the time without foreign packets after which another leak begins.
const leakEnds = time.Second

// ownOfLAN reports whether a packet has the gateway's address on the LAN. While a
// device has no address the kernel masquerades with another's, daemon or no daemon, and
// sends back what comes in for the address that it had.
func ownOfLAN(p []byte) bool {
	a := packet.Source(p)
	return a == netip.MustParseAddr("192.168.10.1") || a == netip.MustParseAddr("fd00:10::1")
}

// forLAN reports whether a packet is for a host of the LAN.
func forLAN(p []byte) bool {
	a := packet.Destination(p)
	return lab.LAN4.Contains(a) || lab.LAN6.Contains(a)
}

// unrepaired reports whether a deletion may not be repaired yet: a second after it, or
// after the daemon was back, and longer by the machine's pauses.
func (s *stage) unrepaired(h history, deletion span, at time.Time) bool {
	if at.Before(deletion.from) {
		return false
	}
	if deletion.begun.IsZero() {
		return true
	}
	repaired := h.dealtWith(deletion.from, deletion.repaired(), at)
	repaired = repaired.Add(s.pauses.in(interval{deletion.from, at}))
	return !at.After(repaired.Add(look))
}

// alive checks that the daemon runs unless a fault has ended it, and starts it again.
func (s *stage) alive(now time.Time) {
	if !s.hand.TryLock() {
		return
	}
	defer s.hand.Unlock()
	s.journal.checked("daemon alive", 1)
	if s.swerve.Pid() != 0 || s.sabotage {
		return
	}
	err := s.swerve.Wait(context.Background())
	n := s.truth.began(fault{kind: &kind{name: "end", harm: absents}, uplink: -1})
	s.journal.broken(now, s.truth.all(), "the daemon ended by itself: %v\n%s", err, lastLines(s.swerve.Log(), 30))
	if err := s.start(); err != nil {
		s.journal.broken(time.Now(), s.truth.all(), "it does not start again: %v", err)
	}
	s.truth.ended(n)
}

// lastLines returns the end of a log.
func lastLines(log string, n int) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// client is one of the LAN's.
type client struct {
	*traffic.Client
	family failover.Family
	held   bool // to what is promised
}

// The clients of each family: those of sessions are held to the promise, the streams
// are there to be moved. A TCP session that loses its first segment sends it again
// after a second.
var clientKinds = []struct {
	kind    traffic.Kind
	options traffic.Options
	held    bool
}{
	{traffic.UDPSessions, traffic.Options{Rate: 25, Timeout: time.Second}, true},
	{traffic.TCPSessions, traffic.Options{Rate: 10, Timeout: 3 * time.Second}, true},
	{traffic.UDPStream, traffic.Options{Rate: 10}, false},
	{traffic.TCPStream, traffic.Options{Rate: 10}, false},
}

func (s *stage) startClients() error {
	for _, family := range failover.Families {
		for _, k := range clientKinds {
			c, err := traffic.Start(s.lab.Client, k.kind, servers[family], k.options)
			if err != nil {
				return err
			}
			s.clients = append(s.clients, client{c, family, k.held})
		}
	}
	return nil
}

// felt is what a client had of the storm.
type felt struct {
	name                 string
	requests, unanswered int
	longest, owed        time.Duration
}

// judge holds the clients' logs against what was promised.
func (s *stage) judge(storm interval) (all []felt, obliged [2]float64) {
	h := s.truth.all()
	var working [2][][]interval
	for _, family := range failover.Families {
		for i := range s.lab.Uplinks {
			working[family] = append(working[family], h.working(i, family, storm))
		}
		obliged[family] = share(storm, working[family])
	}
	for _, c := range s.clients {
		all = append(all, s.judgeClient(c, storm, h, working[c.family]))
	}
	return all, obliged
}

// stuck is how long a stream may be unanswered while an uplink works without a word of it.
const stuck = 2 * time.Second

// judgeClient holds a client's log against the times in which uplinks worked.
func (s *stage) judgeClient(c client, storm interval, h history, working [][]interval) felt {
	log := c.Log()
	o := traffic.Measure(log, storm.from, storm.to)
	f := felt{name: string(c.Kind) + " " + c.family.String(), requests: o.Requests, unanswered: o.Unanswered}
	for _, g := range gapsOf(log, storm) {
		f.longest = max(f.longest, g.lasts())
		owed := g.owed(working)
		d := owed.to.Sub(owed.from)
		f.owed = max(f.owed, d)
		if !c.held && d > stuck {
			s.journal.noteAt(owed.from, "%s: none answered for %v, up to %.3f, though an uplink worked; nor from %.3f to %.3f", f.name,
				d.Round(ms), owed.to.Sub(s.journal.zero).Seconds(), g.from.Sub(s.journal.zero).Seconds(), g.to.Sub(s.journal.zero).Seconds())
		}
		if !c.held || d <= promised {
			continue
		}
		if paused := s.pauses.in(interval{owed.from.Add(-promised), owed.to}); d <= promised+paused {
			s.journal.void(owed.from, "%s: none answered for %v, with pauses of %v", f.name, d.Round(ms), paused.Round(ms))
			continue
		}
		s.journal.broken(owed.from, h, "%s: none answered for %v, up to %.3f, though an uplink worked",
			f.name, d.Round(ms), owed.to.Sub(s.journal.zero).Seconds())
	}
	if c.held {
		s.journal.checked("new sessions", o.Requests)
	}
	return f
}
