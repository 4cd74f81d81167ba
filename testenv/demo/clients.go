package main

import (
	"fmt"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// session is one of a client's sessions, in one family.
type session struct {
	kind   traffic.Kind
	family failover.Family
	*traffic.Client
}

// kinds are the kinds of sessions, in the table's order, with their names there.
var kinds = []struct {
	kind traffic.Kind
	name string
}{
	{traffic.UDPSessions, "new sessions"},
	{traffic.UDPStream, "one UDP session"},
	{traffic.TCPStream, "one TCP session"},
	{traffic.TCPListen, "one that listens"},
	{traffic.TCPDownload, "a download"},
}

// clients are all sessions of the LAN's client, and the server that answers them.
type clients struct {
	server   *traffic.Server
	sessions []session
}

func startClients(l *lab.Lab) (*clients, error) {
	server, err := traffic.Serve(l.Internet, lab.Servers[:]...)
	if err != nil {
		return nil, err
	}
	c := &clients{server: server}
	for _, k := range kinds {
		for _, f := range failover.Families {
			client, err := traffic.Start(l.Client, k.kind, lab.Servers[f], traffic.Options{})
			if err != nil {
				c.stop()
				return nil, fmt.Errorf("start the client of %s by %s: %w", k.name, f, err)
			}
			c.sessions = append(c.sessions, session{kind: k.kind, family: f, Client: client})
		}
	}
	return c, nil
}

func (c *clients) stop() {
	for _, s := range c.sessions {
		s.Stop()
	}
	if c.server != nil {
		c.server.Close()
	}
}

// effect is the effect of a fault on one session.
type effect struct {
	traffic.Outcome
	// reset is how long after the client's next packet a TCP session was reset;
	// negative if it was not.
	reset time.Duration
}

// effects measures the effect on all sessions, in their order.
func (c *clients) effects(onset, end time.Time) []effect {
	out := make([]effect, 0, len(c.sessions))
	for _, s := range c.sessions {
		out = append(out, effect{Outcome: s.Measure(onset, end), reset: s.reset(onset, end)})
	}
	return out
}

// reset returns the time from the client's last segment to the reset it caused.
func (s session) reset(onset, end time.Time) time.Duration {
	for _, b := range s.Breaks() {
		if !b.Reset.IsZero() && b.Reset.After(onset) && b.Reset.Before(end) && !b.LastSent().IsZero() {
			return b.Reset.Sub(b.LastSent())
		}
	}
	return -1
}
