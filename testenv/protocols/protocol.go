package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
)

// promise is what a protocol's sessions are promised when their uplink is lost. At every
// other event all of them go on, unbroken.
type promise string

const (
	// goesOn: packets follow the uplink that carries; no connection is lost.
	goesOn promise = "goes on"
	// reset: the connection's client is told soon, and connects again.
	reset promise = "has its reset"
)

// protocol is a kind of session, a row of the tables.
type protocol struct {
	name    string
	promise promise
	// atGateway: the client runs on the gateway, not in the LAN.
	atGateway bool
	// start starts the server and the client. See the package comment.
	start func(*stage) error
}

// protocols lists them in the order of the tables.
func protocols() []protocol {
	return slices.Concat(
		[]protocol{
			{name: "ICMP echo", promise: goesOn, start: startPing},
			{name: "DNS", promise: goesOn, start: startDNS},
			{name: "RTP both ways", promise: goesOn, start: startCall},
			{name: "RTP one way down", promise: goesOn, start: startBroadcast},
			{name: "SIP over UDP", promise: goesOn, start: startSIP},
		},
		quicProtocols,
		bulkProtocols,
		httpProtocols,
		[]protocol{
			{name: "RTP both ways, on the gateway", promise: goesOn, atGateway: true, start: startCall},
			{name: "QUIC, streams both ways, on the gateway", promise: goesOn, atGateway: true, start: startStreams},
			{name: "TCP upload, on the gateway", promise: reset, atGateway: true, start: startUpload},
			{name: "TCP download, on the gateway", promise: reset, atGateway: true, start: startDownload},
		},
		programProtocols(),
	)
}

// stage is where a session of one protocol in one family plays, and what it reports to.
type stage struct {
	meter
	scene          *scene
	client, server *netns.NS
	at             netip.AddrPort // the server's address, with a port of its own
	family         failover.Family
	protocol       protocol

	ctx      context.Context // ends with the session
	happened chan struct{}   // closed when the event has taken effect
	notes    tail            // of programs that ended
	tasks    sync.WaitGroup
}

// firstPort is that of the first protocol's server; the next one has the next port.
const firstPort = 20000

// newStage prepares the stage of a protocol, the n-th, in a family. It ends with ctx.
func newStage(ctx context.Context, on *scene, p protocol, n int, family failover.Family) *stage {
	client := on.Client
	if p.atGateway {
		client = on.Gateway
	}
	return &stage{
		scene: on, client: client, server: on.Internet, family: family, ctx: ctx, protocol: p, happened: make(chan struct{}),
		at: netip.AddrPortFrom(lab.Servers[family], firstPort+uint16(n)),
	}
}

func (s *stage) String() string { return s.protocol.name + " over " + s.family.String() }

// run runs a function that returns when the stage's context has ended.
func (s *stage) run(fn func()) { s.tasks.Go(fn) }

// over reports whether the session is to end.
func (s *stage) over() bool { return s.ctx.Err() != nil }

// start starts a program inside a namespace, kills it when the session is to end, and
// waits for it. It calls ended, unless that is nil, with the program's result if that
// came before.
func (s *stage) start(ns *netns.NS, cmd *exec.Cmd, ended func(error)) error {
	cmd.WaitDelay = time.Second // a grandchild may keep a pipe open
	if err := ns.Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	stop := context.AfterFunc(s.ctx, func() { _ = cmd.Process.Kill() })
	s.run(func() {
		err := cmd.Wait()
		if stop(); !s.over() && ended != nil {
			ended(err)
		}
	})
	return nil
}

// each calls fn at an interval, at once for the first time, until the session is to end
// or fn reports false.
func (s *stage) each(interval time.Duration, fn func() bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for fn() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// pause waits, or returns false when the session is to end.
func (s *stage) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// closeAtEnd closes something when the session is to end, or when the returned function is
// called.
func (s *stage) closeAtEnd(c interface{ Close() error }) (closeNow func()) {
	once := sync.OnceFunc(func() { _ = c.Close() })
	stop := context.AfterFunc(s.ctx, once)
	return func() { stop(); once() }
}

// listen listens for TCP at the server's address, until the session ends.
func (s *stage) listen() (net.Listener, error) {
	l, err := s.server.Listen("tcp", s.at.String())
	if err == nil {
		s.closeAtEnd(l)
	}
	return l, err
}

// serveTCP has serve answer each connection to the server's address, until it returns.
func (s *stage) serveTCP(serve func(net.Conn)) error {
	l, err := s.listen()
	if err != nil {
		return err
	}
	s.run(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			done := s.closeAtEnd(c)
			s.run(func() {
				defer done()
				serve(c)
			})
		}
	})
	return nil
}

// A client gives up a dial after dialTimeout, and tries again after dialPause.
const (
	dialTimeout = 3 * time.Second
	dialPause   = 100 * time.Millisecond
)

// dial makes one attempt to connect to the server.
func (s *stage) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.client.DialTCP(ctx, s.at)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// stayConnected connects the client to the server, has use work with the connection
// until it fails, and begins again, until the session is to end.
func (s *stage) stayConnected(use func(net.Conn) error) {
	s.run(func() {
		for !s.over() {
			c, err := s.dial(s.ctx)
			if err != nil {
				s.pause(dialPause)
				continue
			}
			s.connected()
			done := s.closeAtEnd(c)
			err = use(c)
			done()
			if !s.over() {
				s.broke(err)
			}
		}
	})
}

// openPackets opens the server's UDP socket, until the session ends.
func (s *stage) openPackets() (*net.UDPConn, error) {
	c, err := s.server.ListenPacket("udp", s.at.String())
	if err != nil {
		return nil, err
	}
	s.closeAtEnd(c)
	return c.(*net.UDPConn), nil
}

// dialPackets opens the client's UDP socket, until the session ends.
func (s *stage) dialPackets() (*net.UDPConn, error) {
	c, err := s.client.DialUDP(s.at)
	if err == nil {
		s.closeAtEnd(c)
	}
	return c, err
}
