package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"swerve/testenv/netns"
)

// Shorts are clients with an address each that download one flow after another, each for
// a random time and as fast as the path allows.
type Shorts struct {
	listener net.Listener
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	received atomic.Uint64
	begun    atomic.Uint64
	late     atomic.Uint64
	broken   atomic.Uint64
}

// ShortOptions say what the flows are.
type ShortOptions struct {
	// Least and Most are how long each lasts, uniform between the two.
	Least, Most time.Duration
	// Port of the server; 0 for any.
	Port uint16
	Seed uint64
}

// StartShorts starts a client at each of some addresses of a namespace, which downloads
// from an address of the server's until Stop.
func StartShorts(client, server *netns.NS, from []netip.Addr, to netip.Addr, opts ShortOptions) (*Shorts, error) {
	listener, err := server.Listen("tcp", netip.AddrPortFrom(to, opts.Port).String())
	if err != nil {
		return nil, fmt.Errorf("traffic: start short flows to %s: %w", to, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Shorts{listener: listener, cancel: cancel}
	s.tasks.Go(s.serve)
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	for i, addr := range from {
		r := rand.New(rand.NewPCG(opts.Seed, uint64(i)))
		s.tasks.Go(func() { s.play(ctx, client, addr, netip.AddrPortFrom(to, port), opts, r) })
	}
	return s, nil
}

// serve sends to each client until it has enough.
func (s *Shorts) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.tasks.Go(func() {
			defer c.Close()
			b := make([]byte, 16<<10)
			for {
				// One that is lost in the middle must not hold the end up.
				if err := c.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		})
	}
}

// play is one client.
func (s *Shorts) play(ctx context.Context, client *netns.NS, from netip.Addr, to netip.AddrPort, opts ShortOptions, r *rand.Rand) {
	b := make([]byte, 16<<10)
	for ctx.Err() == nil {
		length := opts.Least + time.Duration(r.Int64N(int64(opts.Most-opts.Least)+1))
		dialling, cancel := context.WithTimeout(ctx, length)
		c, err := client.DialTCPFrom(dialling, netns.Origin{Addr: from}, to)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				s.late.Add(1)
			}
			continue
		}
		s.begun.Add(1)
		stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		_ = c.SetReadDeadline(time.Now().Add(length))
		for {
			n, err := c.Read(b)
			s.received.Add(uint64(n))
			if err != nil {
				if timeout, ok := err.(net.Error); (!ok || !timeout.Timeout()) && ctx.Err() == nil {
					s.broken.Add(1)
				}
				break
			}
		}
		stop()
		_ = c.SetLinger(0) // what is still in the queue is of no use to anybody
		c.Close()
	}
}

// Received returns how many bytes arrived so far, Begun how many flows began.
func (s *Shorts) Received() uint64 { return s.received.Load() }

// Begun returns how many flows have begun so far.
func (s *Shorts) Begun() uint64 { return s.begun.Load() }

// Late returns how many were not connected in their time, as where a full queue drops
// their first segments.
func (s *Shorts) Late() uint64 { return s.late.Load() }

// Broken returns how many flows ended before their time.
func (s *Shorts) Broken() uint64 { return s.broken.Load() }

// Stop ends the clients and the server. A second Stop does nothing.
func (s *Shorts) Stop() {
	s.cancel()
	s.listener.Close()
	s.tasks.Wait()
}
