package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// bulkRate is how many packets a second a stream sends; each is answered, so both
// directions count.
const bulkRate = 1000

// times is how often the daemon is reloaded, restarted or killed in one run.
const times = 10

// lifePart is an event in the daemon's life that must not disturb traffic.
type lifePart struct {
	what string
	do   func(ctx context.Context, g lab.Gateway, random *rand.Rand) error
}

var lifeParts = []lifePart{
	{fmt.Sprintf("packets lost over %d reloads of a changed file", times), reloads},
	{fmt.Sprintf("packets lost over %d stops and starts, as of an upgrade", times), restarts},
	{fmt.Sprintf("packets lost over %d × kill -9 at random instants", times), kills},
}

// lives counts what is lost while the daemon is reloaded, restarted and killed
// under 1,000 packets a second each way and in each family.
func (m *measurer) lives(ctx context.Context) error {
	random := rand.New(rand.NewPCG(m.report.Seed, 9))
	for _, p := range lifeParts {
		figure := &Figure{Group: "at 1,000 packets a second each way", What: p.what, Unit: "packets", Floor: worstAtMost(0)}
		for i := range max(1, m.runs/20) {
			lost, err := m.playLife(ctx, p, random)
			if err != nil {
				return fmt.Errorf("%s: %w", p.what, err)
			}
			figure.add(float64(lost))
			m.progress("%s: %d", p.what, i+1)
		}
		m.report.add(figure)
	}
	return nil
}

// playLife makes one run, and returns how many requests had no answer.
func (m *measurer) playLife(ctx context.Context, p lifePart, random *rand.Rand) (lost int, err error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	server, err := traffic.Serve(g.Internet, lab.Servers[:]...)
	if err != nil {
		return 0, err
	}
	defer server.Close()
	var all []*session
	for _, f := range failover.Families {
		// A late answer is no loss: this machine was slow.
		c, err := traffic.Start(g.Client, traffic.UDPStream, lab.Servers[f], traffic.Options{Rate: bulkRate, Timeout: 3 * time.Second})
		if err != nil {
			return 0, err
		}
		defer c.Stop()
		all = append(all, &session{c, f})
	}
	if err := wait.Until(ctx, "the streams to be answered", func() bool { return all[0].flows() && all[1].flows() }); err != nil {
		return 0, err
	}
	if err := p.do(ctx, g, random); err != nil {
		return 0, err
	}
	for _, s := range all {
		s.Stop()
		for _, r := range s.Log() {
			if r.Answered.IsZero() {
				lost++
			}
		}
	}
	return lost, nil
}

func reloads(ctx context.Context, g lab.Gateway, _ *rand.Rand) error {
	for i := range times {
		text := lab.TwoUplinks
		if i%2 == 0 {
			text += "failback: {after: 20s}\n"
		}
		if err := g.Configure(text); err != nil {
			return err
		}
		if _, err := g.API().Reload(ctx, 0); err != nil {
			return err
		}
		if err := wait.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func restarts(ctx context.Context, g lab.Gateway, _ *rand.Rand) error {
	for range times {
		if err := g.Stop(ctx); err != nil {
			return err
		}
		if err := g.Start(); err != nil {
			return err
		}
		if err := awaitUp(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// kills kills the daemon at random instants: half of them while it starts.
func kills(ctx context.Context, g lab.Gateway, random *rand.Rand) error {
	for i := range times {
		span := 100 * time.Millisecond
		if i%2 == 0 {
			span = 800 * time.Millisecond
		}
		if err := wait.Sleep(ctx, time.Duration(random.Int64N(int64(span)))); err != nil {
			return err
		}
		if err := g.Kill(); err != nil {
			return err
		}
		if err := g.Start(); err != nil {
			return err
		}
	}
	return awaitUp(ctx, g)
}
