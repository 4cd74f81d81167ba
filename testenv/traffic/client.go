package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/realtime"
)

// Kind selects how a client sends its requests.
type Kind string

const (
	UDPSessions Kind = "udp-sessions"
	UDPStream   Kind = "udp-stream"
	TCPStream   Kind = "tcp-stream"
	TCPSessions Kind = "tcp-sessions"
	TCPListen   Kind = "tcp-listen"
	TCPDownload Kind = "tcp-download"
)

// Options of a client.
type Options struct {
	Rate    float64       // requests a second; 0: 100
	Timeout time.Duration // after it a request counts as unanswered, and a dial as failed; 0: 1 s
	Keep    int           // requests in the log; 0: DefaultKeep
}

// Client sends requests until Stop.
type Client struct {
	Kind Kind
	To   netip.AddrPort

	ns     *netns.NS
	opts   Options
	stream uint64
	log    requestLog
	load   load
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once
}

// load is what differs between the kinds.
type load interface {
	// send sends a request of the log, or records why it cannot. It must not wait for
	// the network.
	send(seq uint64)
	// close ends the load once no more requests come and none is pending.
	close()
}

// Start starts a client inside a namespace; the server is at Port of an address.
func Start(ns *netns.NS, kind Kind, to netip.Addr, opts Options) (*Client, error) {
	if opts.Rate == 0 {
		opts.Rate = 100
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Second
	}
	if opts.Keep == 0 {
		opts.Keep = DefaultKeep
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		Kind: kind, To: netip.AddrPortFrom(to, Port),
		ns: ns, opts: opts, stream: rand.Uint64(), log: requestLog{keep: opts.Keep}, cancel: cancel,
	}
	var err error
	if c.load, err = c.newLoad(); err != nil {
		cancel()
		return nil, fmt.Errorf("traffic: start %s to %s: %w", kind, c.To, err)
	}
	c.tasks.Go(func() { c.pace(ctx) })
	c.tasks.Go(func() { c.expire(ctx) })
	return c, nil
}

func (c *Client) newLoad() (load, error) {
	switch c.Kind {
	case UDPSessions:
		return newUDPSessions(c), nil
	case TCPSessions:
		return newTCPSessions(c), nil
	case UDPStream:
		return newUDPStream(c)
	case TCPStream, TCPListen, TCPDownload:
		return newTCPStream(c)
	}
	return nil, fmt.Errorf("unknown kind")
}

// pace sends requests, each at its time, or as soon as the one before was sent.
func (c *Client) pace(ctx context.Context) {
	every(ctx, c.ns, c.opts.Rate, func(due time.Time) { c.load.send(c.log.add(due)) })
}

// longestSleep bounds how long a client takes to notice that it has to stop.
const longestSleep = 20 * time.Millisecond

// every calls fn inside a namespace at a rate until the context ends, with the instant
// at which each call was due. It makes up for missed calls.
func every(ctx context.Context, ns *netns.NS, rate float64, fn func(due time.Time)) {
	loop := func() {
		began := time.Now()
		for n := 0; ; n++ {
			due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			if !sleep(ctx, due) {
				return
			}
			fn(due)
		}
	}
	if ns.Inside(loop) != nil {
		loop() // the namespace is closed: fn will report that
	}
}

// sleep waits until an instant. It reports false if the context has ended.
func sleep(ctx context.Context, until time.Time) bool {
	for wait := time.Until(until); wait > 0 && ctx.Err() == nil; wait = time.Until(until) {
		realtime.SleepUntil(time.Now().Add(min(wait, longestSleep)))
	}
	return ctx.Err() == nil
}

// expire fails requests that have timed out.
func (c *Client) expire(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.log.expire(now.Add(-c.opts.Timeout))
		case <-ctx.Done():
			return
		}
	}
}

// Stop stops sending, waits until the result of every request is known, for at most
// the timeout, and closes the sockets. A second Stop does nothing.
func (c *Client) Stop() {
	c.once.Do(func() {
		c.cancel()
		c.tasks.Wait()
		for end := time.Now().Add(c.opts.Timeout); c.log.pending(end) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		c.log.expire(time.Now())
		c.load.close()
	})
}

// Stream is the client's number, for Server.Received.
func (c *Client) Stream() uint64 { return c.stream }

// Log returns a copy of the log, in the order of sending.
func (c *Client) Log() []Request { return c.log.requests() }

// Answered reports whether so many consecutive requests, due from an instant on, were
// answered, each by a way that is wanted.
func (c *Client) Answered(consecutive int, since time.Time, wanted func(via netip.Addr) bool) bool {
	row := 0
	for _, r := range c.Log() {
		switch {
		case r.Due.Before(since):
		case r.Answered.IsZero() || !wanted(r.Via):
			row = 0
		default:
			if row++; row == consecutive {
				return true
			}
		}
	}
	return false
}

// Measure waits until the results of the requests sent before end are known, and
// returns the effect of a fault on them.
func (c *Client) Measure(onset, end time.Time) Outcome {
	time.Sleep(time.Until(end))
	for limit := end.Add(c.opts.Timeout + 100*time.Millisecond); c.log.pending(end) && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	return Measure(c.Log(), onset, end)
}

// Breaks returns the ends of the connections of the kinds that keep one, so far; none for
// other kinds.
func (c *Client) Breaks() []Break {
	if s, ok := c.load.(*tcpStream); ok {
		return s.breaksSoFar()
	}
	return nil
}
