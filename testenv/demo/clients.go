package main

import (
	"fmt"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// session is one kind of session that a client holds, in one family.
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

// felt is what a fault did to one session.
type felt struct {
	traffic.Outcome
	// reset is how long after the client's next packet a TCP session had its
	// reset; negative where there was none.
	reset time.Duration
}

// felt measures all sessions, in their order.
func (c *clients) felt(onset, end time.Time) []felt {
	out := make([]felt, 0, len(c.sessions))
	for _, s := range c.sessions {
		out = append(out, felt{Outcome: s.Measure(onset, end), reset: s.reset(onset, end)})
	}
	return out
}

// reset is the time from the client's last segment to the reset that it met.
func (s session) reset(onset, end time.Time) time.Duration {
	for _, b := range s.Breaks() {
		if !b.Reset.IsZero() && b.Reset.After(onset) && b.Reset.Before(end) && !b.LastSent().IsZero() {
			return b.Reset.Sub(b.LastSent())
		}
	}
	return -1
}
