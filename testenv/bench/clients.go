package main

import (
	"context"
	"fmt"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// session is a client of one kind in one family.
type session struct {
	*traffic.Client
	family failover.Family
}

// clients are the usual traffic of the LAN: new sessions, one UDP and one TCP session, and
// one TCP session on which the client only listens, in both families. The index is the
// family.
type clients struct {
	server                  *traffic.Server
	fresh, udp, tcp, listen [2]*session
}

// The rates of requests, a second. New sessions come faster, so that their interruption
// is measured more precisely.
const (
	freshRate  = 200
	streamRate = 100
)

// startClients starts clients and waits until each is answered by fiber.
func startClients(ctx context.Context, g *lab.Swerve) (*clients, error) {
	server, err := traffic.Serve(g.Internet, lab.Servers[:]...)
	if err != nil {
		return nil, err
	}
	c := &clients{server: server}
	for _, f := range failover.Families {
		for _, s := range []struct {
			to   **session
			kind traffic.Kind
			rate float64
		}{{&c.fresh[f], traffic.UDPSessions, freshRate}, {&c.udp[f], traffic.UDPStream, streamRate}, {&c.tcp[f], traffic.TCPStream, streamRate}, {&c.listen[f], traffic.TCPListen, streamRate}} {
			client, err := traffic.Start(g.Client, s.kind, lab.Servers[f], traffic.Options{Rate: s.rate})
			if err != nil {
				c.stop()
				return nil, err
			}
			*s.to = &session{client, f}
		}
	}
	if err := c.awaitAnswers(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// all lists the sessions that were started.
func (c *clients) all() (all []*session) {
	for _, f := range failover.Families {
		for _, s := range []*session{c.fresh[f], c.udp[f], c.tcp[f], c.listen[f]} {
			if s != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

func (c *clients) stop() {
	for _, s := range c.all() {
		s.Stop()
	}
	c.server.Close()
}

// settled is how many of a session's latest requests have to be answered.
const settled = 10

func (c *clients) awaitAnswers(ctx context.Context) error {
	for _, s := range c.all() {
		what := fmt.Sprintf("%s %s to be answered", s.family, s.Kind)
		if err := wait.Until(ctx, what, s.flows); err != nil {
			return err
		}
	}
	return nil
}

// flows reports whether the latest requests that can have an answer have one.
func (s *session) flows() bool {
	row, due := 0, time.Now().Add(-100*time.Millisecond)
	for _, r := range s.Log() {
		switch {
		case r.Due.After(due):
		case r.Answered.IsZero():
			row = 0
		default:
			row++
		}
	}
	return row >= settled
}
